//! Passwords on Linux: asked for at a terminal without showing them, and taken off a command line.

use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The terminal as it was before.
struct Hidden(Termios);

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Asks on standard error, reads a line from standard input.
///
/// # Errors
/// Those of the terminal; also where there is none.
pub(crate) fn ask_password(question: &str) -> io::Result<String> {
    let before = tcgetattr(io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let hidden = Hidden(before);
    tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
    write!(io::stderr(), "{question}")?;
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    drop(hidden);
    writeln!(io::stderr())?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Starts this program again in its own place, under a name, with other words and one more variable. Comes back only if that fails.
pub(crate) fn start_again(name: &str, words: &[String], (variable, value): (&str, &str)) -> io::Error {
    match std::env::current_exe() {
        Ok(program) => Command::new(program).arg0(name).args(words).env(variable, value).exec(),
        Err(error) => error,
    }
}
