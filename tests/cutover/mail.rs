//! A mail server of a few lines, and a client that delivers and reads all the while. Both are this test's own program, started with another
//! task in the environment.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::group::runs;
use crate::support::machines::FLOATING;

/// Which of the two a process is.
const TASK: &str = "STANDIN_TEST_TASK";
const PORT: u16 = 2525;
/// How long the client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// A command line that runs a task of this program.
pub(crate) fn task(task: &str, arguments: &[&Path]) -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    let mut words = vec!["env".to_owned(), format!("{TASK}={task}")];
    let names = ["A", "B"].iter().zip(arguments);
    words.extend(names.map(|(name, path)| format!("STANDIN_TEST_{name}={}", path.display())));
    words.extend([
        program,
        "--exact".to_owned(),
        "mail::the_other_processes_of_these_tests".to_owned(),
        "--nocapture".to_owned(),
    ]);
    words
}

/// Start, stop and state of the server of a node whose directory this is, as scripts. `monitor` as for [`serve`].
pub(crate) fn server(dir: &Path, monitor: &Path) -> [String; 3] {
    let line = task("server", &[&dir.join("store"), monitor]);
    let quoted = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let pid = dir.join("server.pid").display().to_string();
    let alive = runs(&pid);
    [
        format!("setsid {quoted} >{pid}.log 2>&1 & echo $! >{pid}"),
        format!("kill -9 $(cat {pid}); while {alive}; do sleep 0.01; done; rm -f {pid}"),
        format!("test -f {pid} && {alive} && exit 0; exit 3"),
    ]
}

/// Does nothing but for a process that was started with a task.
#[test]
fn the_other_processes_of_these_tests() {
    let argument = |name: &str| PathBuf::from(std::env::var(format!("STANDIN_TEST_{name}")).unwrap_or_default());
    match std::env::var(TASK).as_deref() {
        Ok("server") => serve(&argument("A"), &argument("B")),
        Ok("client") => deliver(&argument("A")),
        Ok("sink") => sink(&argument("A")),
        _ => {}
    }
}

/// Takes `PUT n` and answers `OK n` when it is on the disk; answers `GET` with how many there are. `monitor` is on no node: whoever finds
/// another one at work writes that down.
fn serve(store: &Path, monitor: &Path) {
    let lock = OpenOptions::new().create(true).append(true).open(monitor).unwrap();
    if lock.try_lock().is_err() {
        (&lock).write_all(format!("two at once: {}\n", store.display()).as_bytes()).unwrap();
        return;
    }
    let messages = store.join("messages");
    let mut file = OpenOptions::new().create(true).append(true).open(&messages).unwrap();
    let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
    for stream in listener.incoming().flatten() {
        // A client that goes away is its own affair.
        let _ = answer(stream, &mut file, &messages);
    }
}

fn answer(stream: TcpStream, file: &mut File, messages: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let told = match line.trim().strip_prefix("PUT ") {
        Some(number) => {
            file.write_all(format!("{number}\n").as_bytes())?;
            file.sync_all()?;
            format!("OK {number}\n")
        }
        None => format!("{}\n", std::fs::read_to_string(messages)?.lines().count()),
    };
    (&stream).write_all(told.as_bytes())
}

/// Delivers and reads in turn, and writes down what was accepted, and how long nobody answered.
fn deliver(record: &Path) {
    let mut record = OpenOptions::new().create(true).append(true).open(record).unwrap();
    let mut number = 0_u64;
    let mut answered = Instant::now();
    loop {
        let put = ask(&format!("PUT {number}\n"));
        let read = ask("GET\n");
        if put.as_deref() == Some(&format!("OK {number}\n")) {
            writeln!(record, "accepted {number} gap_ms {}", answered.elapsed().as_millis()).unwrap();
            answered = Instant::now();
            number += 1;
        } else {
            number += u64::from(put.is_some());
        }
        drop(read);
        std::thread::sleep(Duration::from_millis(5)); // poll
    }
}

fn ask(question: &str) -> Option<String> {
    let address: SocketAddr = format!("{FLOATING}:{PORT}").parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(question.as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    (!line.is_empty()).then_some(line)
}

/// Where [`sink`] listens.
pub(crate) const SINK_PORT: u16 = 2526;

/// A mail server (RFC 5321) that takes everything, and writes down who sent what to whom.
fn sink(record: &Path) {
    let listener = TcpListener::bind(("0.0.0.0", SINK_PORT)).unwrap();
    for stream in listener.incoming().flatten() {
        // Who goes away in the midst of it is known by what is missing.
        let _ = take_mail(&stream, record);
    }
}

fn take_mail(mut stream: &TcpStream, record: &Path) -> std::io::Result<()> {
    let mut record = OpenOptions::new().create(true).append(true).open(record)?;
    let mut lines = BufReader::new(stream).lines();
    stream.write_all(b"220 sink\r\n")?;
    while let Some(line) = lines.next() {
        let line = line?;
        let answer = match line.split(' ').next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                for line in lines.by_ref() {
                    let line = line?;
                    writeln!(record, "{line}")?;
                    if line == "." {
                        break;
                    }
                }
                "250 taken"
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n"),
            _ => {
                writeln!(record, "{line}")?;
                "250 yes"
            }
        };
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}

/// What the client wrote down: numbers of accepted messages, and the longest time without an answer since `from` of them.
pub(crate) fn accepted(record: &Path) -> Vec<(u64, u64)> {
    let text = std::fs::read_to_string(record).unwrap_or_default();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        Some((words.get(1)?.parse().ok()?, words.get(3)?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}
