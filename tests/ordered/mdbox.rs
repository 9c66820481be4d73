//! Dovecot with mdbox on ordered roots, cut off at any moment: what the standby has opens as it is, and has all that was promised.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::database::cuts;
use crate::material::Random;
use crate::roots::Roots;
use crate::shell;
use crate::support::{Done, PATIENCE, can_run, seed, wait_until};

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
        shell(base, &format!("chmod 755 .; mkdir run; chown {OWNER} run"));
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

/// What those who deliver do.
#[derive(Default)]
struct Orders {
    /// Nothing, while a clone is looked at: the more there is, the longer that takes.
    resting: AtomicBool,
    ended: AtomicBool,
}

/// The body of a message: some lines, up to 2 KiB.
fn body(mailbox: &str, number: u64) -> String {
    format!("Message {number} of {mailbox}.\r\n").repeat(1 + (number as usize * 7919) % 80)
}

/// Saves one message after the other in a mailbox until it is told to end; `saved` is the last that the client saw saved.
fn deliver(dovecot: &Dovecot, index: usize, saved: &AtomicU64, orders: &Orders) {
    let mut session = Session::new(dovecot, index / MAILBOXES);
    let mailbox = format!("box{index}");
    session.ask(&format!("create {mailbox}"));
    for number in 1.. {
        while orders.resting.load(SeqCst) && !orders.ended.load(SeqCst) {
            thread::park_timeout(Duration::from_millis(1)); // poll
        }
        if orders.ended.load(SeqCst) {
            break;
        }
        let message = format!("Subject: {number}\r\n\r\n{}", body(&mailbox, number));
        session.ask(&format!("append {mailbox} {{{}+}}\r\n{message}", message.len()));
        saved.store(number, SeqCst);
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

/// Cuts the line at random moments while messages are saved, promotes a clone of the standby each time, and looks into its mailboxes.
/// With `at_mark`, a point is asked for before each cut, and only what was saved before that is promised.
fn cut_while_messages_are_saved(keys: &str, at_mark: bool) {
    if !can_run(&TOOLS) {
        return;
    }
    let mut random = Random::new(seed());
    let mut ground = Roots::new(2, &format!("{keys}\nhistory_points = 20"));
    let proxy = ground.over_a_line();
    shell(ground.dir.path(), &format!("chmod 755 .; chown {OWNER} source*"));
    ground.mirror();
    let dovecot = Dovecot::new(ground.dir.path(), vec![ground.source(0), ground.source(1)]);
    let orders = Orders::default();
    let saved: Vec<_> = (0..USERS * MAILBOXES).map(|_| AtomicU64::new(0)).collect();
    let counts = || saved.iter().map(|saved| saved.load(SeqCst)).collect::<Vec<_>>();
    let began = Instant::now();
    thread::scope(|scope| {
        let (dovecot, orders) = (&dovecot, &orders);
        let deliver = |(index, saved)| scope.spawn(move || deliver(dovecot, index, saved, orders));
        let delivering: Vec<_> = saved.iter().enumerate().map(deliver).collect();
        let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for cut in 0..cuts() {
                // The line is there again.
                ground.point();
                orders.resting.store(false, SeqCst);
                let before = counts();
                let all_went_on = || counts().iter().zip(&before).all(|(now, before)| now > before);
                let one_failed = || delivering.iter().any(|thread| thread.is_finished());
                wait_until("each mailbox gets messages", PATIENCE, || all_went_on() || one_failed());
                let mut seen = counts();
                if at_mark {
                    ground.point();
                }
                thread::park_timeout(Duration::from_micros(random.below(100_000)));
                proxy.cut();
                if !at_mark {
                    seen = counts();
                }
                orders.resting.store(true, SeqCst);
                let base = tempfile::tempdir().unwrap();
                let (replicas, point) = ground.promoted(base.path());
                let has = check(base.path(), replicas);
                println!("cut {cut}, point {}: {seen:?} seen saved, {has:?} on the standby", point["number"]);
                assert!(seen.iter().zip(&has).all(|(seen, has)| has >= seen), "{has:?} of {seen:?}");
                proxy.mend();
            }
        }));
        orders.ended.store(true, SeqCst);
        proxy.mend();
        let delivered: Vec<_> = delivering.into_iter().map(thread::ScopedJoinHandle::join).collect();
        struck.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        delivered.into_iter().for_each(|delivered| delivered.unwrap());
    });
    println!("{:?} messages in {:?}; {}", counts(), began.elapsed(), ground.status()["layer"]);
    assert_eq!(ground.point()["consistent"], json!(true));
    ground.assert_equal();
    let base = tempfile::tempdir().unwrap();
    let (replicas, _) = ground.promoted(base.path());
    assert_eq!(check(base.path(), replicas), counts());
}

#[test]
fn dovecots_mdbox_has_every_message_that_was_seen_saved() {
    cut_while_messages_are_saved("acknowledge = \"durable\"\non_disconnect = \"block\"", false);
}

#[test]
fn dovecots_mdbox_has_every_message_that_was_saved_before_the_last_mark() {
    cut_while_messages_are_saved("acknowledge = \"local\"", true);
}
