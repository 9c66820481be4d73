//! What somebody sees who sits at a terminal, and what a pipe gets.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::forest::{ADMINISTRATOR, PASSWORD};
use crate::halfway::{failed, planned};
use crate::live::desk;
use crate::support::{Done, PATIENCE, wait_until};

/// A program at a terminal, which the test looks at and types into.
struct Terminal {
    child: Child,
    keys: File,
    /// The terminal's other end, to ask how it is set.
    screen: File,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let screen = File::options().read(true).write(true).open(std::ffi::OsStr::from_bytes(name.as_bytes())).unwrap();
        tcsetwinsize(&screen, Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || OwnedFd::from(screen.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keys = File::from(master);
        let mut reading = keys.try_clone().unwrap();
        let (sender, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len) = reading.read(&mut bytes) {
                if len == 0 || sender.send(bytes[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keys, screen, shown, text: String::new() }
    }

    fn look(&mut self) {
        while let Ok(bytes) = self.shown.recv_timeout(Duration::from_millis(10)) {
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Waits until this is to be read.
    fn wait_for(&mut self, text: &str) {
        wait_until(&format!("the terminal shows {text:?}"), PATIENCE, || {
            self.look();
            self.text.contains(text)
        });
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.screen).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    fn type_line(&mut self, text: &str) {
        writeln!(self.keys, "{text}").unwrap();
    }

    /// Its end: exit code, and all that was to be seen.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        self.look();
        assert!(self.echoes(), "the terminal is left as it was");
        (status.code(), self.text)
    }
}

#[test]
fn a_password_is_asked_for_and_not_shown_and_a_bar_is_drawn() {
    let Some(desk) = desk() else { return };
    let program = |words: &[&str]| {
        let mut command = desk.bare_program();
        command.args(words).args(["--user", ADMINISTRATOR]);
        command
    };
    let mut asked = Terminal::start(program(&["directory", "show", "EX1"]));
    asked.wait_for(&format!("Password of {ADMINISTRATOR}: "));
    assert!(!asked.echoes());
    asked.type_line(PASSWORD);
    let (code, text) = asked.end();
    assert!(code == Some(0) && text.contains("First Storage Group") && !text.contains(PASSWORD), "{code:?}: {text}");
    // A changed one is asked for twice, as nobody sees it.
    let file = desk.file("password");
    let mut changed = Terminal::start(program(&["directory", "password", "--password-file", file.to_str().unwrap()]));
    changed.wait_for("New password");
    changed.type_line(PASSWORD);
    changed.wait_for("Once more: ");
    changed.type_line("something else");
    let (code, text) = changed.end();
    assert!(code == Some(2) && text.contains("not the same") && !text.contains(PASSWORD) && !file.exists(), "{text}");
    // The bar, at a terminal only.
    let (plan, steps) = planned(&desk);
    let list = failed(&desk);
    let mut command = program(&["directory", "apply", &plan, "--failed", &list]);
    command.env("STANDIN_DIRECTORY_PASSWORD", PASSWORD);
    let (code, text) = Terminal::start(command).end();
    assert!(code == Some(0) && text.contains(&format!("of {steps} objects")) && text.contains(" %"), "{code:?}: {text}");
    let mut command = program(&["directory", "undo", "--failed", &list]);
    command.env("STANDIN_DIRECTORY_PASSWORD", PASSWORD);
    let piped = Done::of(command).expect(0);
    assert!(piped.stderr.is_empty() && !piped.stdout.contains('%') && !piped.stdout.contains('\u{1b}'), "{piped:#?}");
    // Without a terminal nobody is asked.
    let silent = Done::of(program(&["directory", "show", "EX1"])).expect(2);
    assert!(silent.stderr.contains("nobody to ask"), "{}", silent.stderr);
}
