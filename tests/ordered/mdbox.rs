//! Dovecot with mdbox on ordered roots, cut off at any moment: what the standby has opens as it is, and has all that was promised.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::cuts::{Promise, Work, assert_all_there, cut_while_working, cuts};
use crate::material::Random;
use crate::roots::Roots;
use crate::shell;
use crate::support::{Done, can_run, seed};

/// Users and their mailboxes. All mailboxes of a user share one storage and its map; the first user has the indexes beside the storage, the
/// second on another root.
const USERS: usize = 2;
const MAILBOXES: usize = 3;
const TOOLS: [&str; 2] = ["dovecot", "doveadm"];
/// `mail` of Debian: Dovecot serves nobody's mail as root.
const OWNER: u32 = 8;

/// Dovecot's settings for a store on these roots, written to `base`, which its own files are in.
struct Dovecot {
    base: PathBuf,
    roots: Vec<PathBuf>,
}

impl Dovecot {
    fn new(base: &Path, roots: Vec<PathBuf>) -> Self {
        shell(base, &format!("mkdir run; chown {OWNER} run"));
        // Small files of the storage, so that many are begun.
        let settings = format!(
            "protocols = imap\nbase_dir = {0}/run\nlog_path = {0}/run/log\nstats_writer_socket_path =\nssl = no\nfirst_valid_uid = 1\n\
             mdbox_rotate_size = 64k\n",
            base.display()
        );
        std::fs::write(base.join("dovecot.conf"), settings).unwrap();
        Self { base: base.to_owned(), roots }
    }

    /// A program of Dovecot's that works on the mail of a user.
    fn command(&self, program: &str, user: usize) -> Command {
        let mut location = format!("mail_location=mdbox:{}/user{user}", self.roots[0].display());
        if user > 0 {
            location += &format!(":INDEX={}/user{user}", self.roots[1].display());
        }
        let mut command = Command::new(program);
        command.arg("-c").arg(self.base.join("dovecot.conf")).arg("-o").arg(location);
        command.env("USER", "mail").env("HOME", self.base.join("run")).uid(OWNER).gid(OWNER);
        command
    }

    /// What is in the mailboxes of a user, in the order of their numbers: of each message its subject and its body.
    #[track_caller]
    fn read(&self, user: usize) -> BTreeMap<String, Vec<(String, String)>> {
        let mut command = self.command("doveadm", user);
        command.args(["-f", "json", "fetch", "mailbox hdr.subject body", "mailbox", "*", "all"]);
        let done = Done::of(command).expect(0);
        assert_eq!(done.stderr, "", "Dovecot found something to complain about");
        let mut mailboxes = BTreeMap::<_, Vec<_>>::new();
        for message in done.json().as_array().unwrap() {
            let word = |key: &str| message[key].as_str().unwrap_or_else(|| panic!("no {key} in {message}")).to_owned();
            mailboxes.entry(word("mailbox")).or_default().push((word("hdr.subject"), word("body")));
        }
        mailboxes
    }
}

/// An IMAP server that talks with one client, as after a login.
struct Session {
    server: Child,
    answers: BufReader<ChildStdout>,
}

impl Session {
    fn new(dovecot: &Dovecot, user: usize) -> Self {
        let mut command = dovecot.command("/usr/lib/dovecot/imap", user);
        let log = File::options().create(true).append(true).open(dovecot.base.join("imap.log")).unwrap();
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let answers = BufReader::new(server.stdout.take().unwrap());
        Self { server, answers }
    }

    /// Waits until the server says that it is done.
    fn ask(&mut self, command: &str) {
        self.server.stdin.as_mut().unwrap().write_all(format!("a {command}\r\n").as_bytes()).unwrap();
        let mut line = String::new();
        while !line.starts_with("a ") {
            line.clear();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the server ended");
        }
        assert!(line.starts_with("a OK"), "{line}");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// The body of a message: some lines, up to 2 KiB.
fn body(mailbox: &str, number: u64) -> String {
    format!("Message {number} of {mailbox}.\r\n").repeat(1 + (number as usize * 7919) % 80)
}

/// Saves one message after the other in a mailbox.
fn deliver(dovecot: &Dovecot, index: usize, work: &Work) {
    let mut session = Session::new(dovecot, index / MAILBOXES);
    let mailbox = format!("box{index}");
    session.ask(&format!("create {mailbox}"));
    for number in 1.. {
        if !work.goes_on() {
            break;
        }
        let message = format!("Subject: {number}\r\n\r\n{}", body(&mailbox, number));
        session.ask(&format!("append {mailbox} {{{}+}}\r\n{message}", message.len()));
        work.did(index, number);
    }
    drop(session.server.stdin.take());
    session.server.wait().unwrap();
}

/// Opens what a standby has: each mailbox has to hold all messages up to its last, as they were sent. Returns that of each.
///
/// What is removed before are locks that are files: their owners live, while those of a machine that lost power are dead. Nothing is
/// rebuilt (`doveadm force-resync`), and Dovecot may not complain about anything.
#[track_caller]
fn check(base: &Path, roots: Vec<PathBuf>) -> Vec<u64> {
    for root in &roots {
        shell(root, "find . -name '*lock*' -delete");
    }
    let dovecot = Dovecot::new(base, roots);
    let mut counts = vec![0; USERS * MAILBOXES];
    for user in 0..USERS {
        for (mailbox, messages) in dovecot.read(user) {
            for (number, (subject, text)) in (1..).zip(&messages) {
                assert_eq!(*subject, format!("{number}"), "a later message of {mailbox} without an earlier one");
                assert_eq!(
                    text.replace('\r', "").trim(),
                    body(&mailbox, number).replace('\r', "").trim(),
                    "of {mailbox}, {number}"
                );
            }
            counts[mailbox.strip_prefix("box").unwrap().parse::<usize>().unwrap()] = messages.len() as u64;
        }
    }
    counts
}

fn messages_are_saved(promise: Promise) {
    if !can_run(&TOOLS) {
        return;
    }
    let mut random = Random::new(seed());
    let mut ground = Roots::new(2, promise.keys());
    let proxy = ground.over_a_line();
    shell(ground.dir.path(), &format!("chmod 755 .; chown {OWNER} source*"));
    ground.mirror();
    let dovecot = Dovecot::new(ground.dir.path(), vec![ground.source(0), ground.source(1)]);
    let work = Work::new(USERS * MAILBOXES);
    cut_while_working((&ground, &proxy), (promise, cuts(), &mut random), &work, &|index| deliver(&dovecot, index, &work), &check);
    assert_all_there(&ground, &work, &check);
}

#[test]
fn dovecots_mdbox_has_every_message_that_was_seen_saved() {
    messages_are_saved(Promise::Seen);
}

#[test]
fn dovecots_mdbox_has_every_message_that_was_saved_before_the_last_mark() {
    messages_are_saved(Promise::Marked);
}
