//! Who delivers, who reads, and who watches that only one node answers. All are this test's own program, started with another task in the
//! environment on the machine `client`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::machines::FLOATING;

const TASK: &str = "STANDIN_TEST_TASK";
/// How long a client waits for a connection, and for an answer.
const CONNECT: Duration = Duration::from_millis(300);
const ANSWER: Duration = Duration::from_secs(10);
/// How long the watcher does.
const GLANCE: Duration = Duration::from_millis(250);

/// A command line that runs a task of this program; it writes to `record`.
pub(crate) fn task(task: &str, record: &Path) -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    let words = ["env", &format!("{TASK}={task}"), &format!("STANDIN_TEST_RECORD={}", record.display()), &program];
    let rest = ["--exact", "clients::the_other_processes_of_these_tests", "--nocapture"];
    words.into_iter().chain(rest).map(str::to_owned).collect()
}

#[test]
fn the_other_processes_of_these_tests() {
    run_task();
}

/// Does nothing but for a process that was started with a task; that one does not come back.
pub(crate) fn run_task() {
    let Ok(task) = std::env::var(TASK) else { return };
    let record = PathBuf::from(std::env::var("STANDIN_TEST_RECORD").unwrap());
    let record = OpenOptions::new().create(true).append(true).open(record).unwrap();
    match task.split_once('-') {
        Some(("deliver", who)) => deliver(who, record),
        Some(("read", _)) => read(record),
        _ => watch(record),
    }
}

pub(crate) fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A conversation in lines.
struct Talk(BufReader<TcpStream>);

impl Talk {
    fn open(address: &str, port: u16, connect: Duration, answer: Duration) -> io::Result<Self> {
        let address: SocketAddr = format!("{address}:{port}").parse().unwrap();
        let stream = TcpStream::connect_timeout(&address, connect)?;
        stream.set_read_timeout(Some(answer))?;
        stream.set_write_timeout(Some(answer))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())
    }

    /// Says something of SMTP, and demands an answer that begins so.
    fn smtp(&mut self, text: &str, wanted: &str) -> io::Result<()> {
        self.say(text)?;
        loop {
            let line = self.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return if line.starts_with(wanted) { Ok(()) } else { Err(io::Error::other(line)) };
            }
        }
    }

    /// Says something of IMAP, for the lines before the tagged OK.
    fn imap(&mut self, text: &str) -> io::Result<Vec<String>> {
        self.say(&format!("t {text}\r\n"))?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            match line.strip_prefix("t ") {
                Some(end) if end.starts_with("OK") => return Ok(lines),
                Some(_) => return Err(io::Error::other(line)),
                None => lines.push(line),
            }
        }
    }
}

/// Delivers messages of one recipient, each with a number of its own, and writes down which were accepted and when: `accepted ID UNIX_MS`.
fn deliver(who: &str, mut record: File) {
    for number in 0_u64.. {
        let id = format!("{who}-{number}");
        if send(&id).is_ok() {
            // One write, so that those of several clients do not mix.
            record.write_all(format!("accepted {id} {}\n", unix_ms()).as_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20)); // poll
    }
}

/// Accepted is what was answered with 250 after the last dot.
fn send(id: &str) -> io::Result<()> {
    let mut talk = Talk::open(FLOATING, 25, CONNECT, ANSWER)?;
    talk.smtp("", "220")?;
    talk.smtp("EHLO client.example.org\r\n", "250")?;
    talk.smtp("MAIL FROM:<sender@example.org>\r\n", "250")?;
    talk.smtp("RCPT TO:<user@example.org>\r\n", "250")?;
    talk.smtp("DATA\r\n", "354")?;
    let body = "A line of a message that is as long as lines of messages are.\r\n".repeat(60);
    talk.smtp(
        &format!("Subject: id={id};\r\nMessage-Id: <{id}@client>\r\nFrom: <sender@example.org>\r\n\r\n{body}.\r\n"),
        "250",
    )?;
    // The answer to this one does not matter.
    let _ = talk.say("QUIT\r\n");
    Ok(())
}

fn open_mailbox(address: &str) -> io::Result<Talk> {
    let mut talk = Talk::open(address, 143, CONNECT, ANSWER)?;
    talk.line()?;
    talk.imap("LOGIN user@example.org secret")?;
    talk.imap("SELECT INBOX")?;
    Ok(talk)
}

/// Looks into the mailbox all the while, and reads its newest message: `read UNIX_MS`.
fn read(mut record: File) {
    loop {
        let newest = open_mailbox(FLOATING).and_then(|mut talk| talk.imap("FETCH * (UID BODY.PEEK[])"));
        if newest.is_ok() {
            record.write_all(format!("read {}\n", unix_ms()).as_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50)); // poll
    }
}

/// The subjects of all messages, as a client reads them; to be asked on the machine `client`.
pub(crate) fn ids_of_lines(lines: &str) -> Vec<String> {
    let id = |line: &str| Some(line.split_once("id=")?.1.split_once(';')?.0.to_owned());
    lines.lines().filter_map(id).collect()
}

/// A script of IMAP that shows all subjects.
pub(crate) fn all_subjects() -> String {
    format!(
        "{{ printf 'a LOGIN user@example.org secret\\r\\nb SELECT INBOX\\r\\nc UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]\\r\\nd LOGOUT\\r\\n' >&3; cat <&3; }} 3<>/dev/tcp/{FLOATING}/143"
    )
}

/// Asks both nodes by their own addresses, again and again, and writes down each answer: `PORT NODE UNIX_MS`.
fn watch(mut record: File) {
    loop {
        for (node, address) in [("alpha", "10.77.0.1"), ("beta", "10.77.0.2")] {
            for (port, greeting) in [(25, "220"), (143, "* OK")] {
                let greeted = Talk::open(address, port, GLANCE, GLANCE).and_then(|mut talk| talk.line());
                if greeted.is_ok_and(|line| line.starts_with(greeting)) {
                    record.write_all(format!("{port} {node} {}\n", unix_ms()).as_bytes()).unwrap();
                }
            }
        }
        std::thread::sleep(Duration::from_millis(20)); // poll
    }
}

/// Who answered on a port, one entry for each time that it became another.
pub(crate) fn answered_by(record: &Path, port: u16) -> Vec<String> {
    let text = std::fs::read_to_string(record).unwrap_or_default();
    let of_port = text.lines().filter_map(|line| line.strip_prefix(&format!("{port} ")));
    let mut nodes: Vec<String> = of_port.filter_map(|rest| Some(rest.split_once(' ')?.0.to_owned())).collect();
    nodes.dedup();
    nodes
}
