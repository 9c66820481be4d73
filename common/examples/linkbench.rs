//! Measures the link: two processes on loopback, frames one way.
//!
//! `cargo run --release -p standin-common --example linkbench -- [GIB [STREAMS [PAYLOAD_KIB]]]` prints GB/s and CPU seconds per GiB.
//! With `serve ADDRESS` and `dial ADDRESS FINGERPRINT …` the two ends can be put on two machines; everyone is trusted.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use standin_common::identity::{Fingerprint, Identity};
use standin_common::link::quic::{Connection, Endpoint, Expect, TrustCheck};
use standin_common::link::{CloseCode, Frame, ReceiveHalf, SendHalf};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Everyone;

impl TrustCheck for Everyone {
    fn trusted(&self, _: &Fingerprint) -> bool {
        true
    }

    fn pairing_open(&self) -> bool {
        false
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let gibs = |at: usize| arguments.get(at).map_or(Ok(4.0), |text| text.parse());
    match arguments.first().map(String::as_str) {
        Some("serve") => serve(arguments.get(1).ok_or("serve ADDRESS")?.parse()?),
        Some("dial") => {
            let (Some(address), Some(fingerprint)) = (arguments.get(1), arguments.get(2)) else {
                return Err("dial ADDRESS FINGERPRINT [GIB [STREAMS [PAYLOAD_KIB]]]".into());
            };
            dial(address.parse()?, fingerprint.parse()?, gibs(3)?, number(4, 1)?, number(5, 1024)?)
        }
        _ => both(gibs(0)?, number(1, 1)?, number(2, 1024)?),
    }
}

/// Starts the receiving process and sends to it.
fn both(gib: f64, streams: usize, payload_kib: usize) -> Outcome<()> {
    let mut child = Command::new(std::env::current_exe()?).args(["serve", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let first = lines.next().ok_or("the receiver did not start")??;
    let (address, fingerprint) = first.split_once(' ').ok_or("no address")?;
    dial(address.parse()?, fingerprint.parse()?, gib, streams, payload_kib)?;
    for line in lines {
        println!("{}", line?);
    }
    child.wait()?;
    Ok(())
}

fn endpoint(listen: &[SocketAddr]) -> Outcome<(Endpoint, Fingerprint)> {
    let dir = tempfile::tempdir()?;
    let identity = Arc::new(Identity::load_or_create(dir.path(), &"bench".parse()?)?);
    let fingerprint = identity.fingerprint();
    Ok((Endpoint::bind(listen, identity, Arc::new(Everyone))?, fingerprint))
}

fn serve(address: SocketAddr) -> Outcome<()> {
    let (endpoint, fingerprint) = endpoint(&[address])?;
    println!("{} {fingerprint}", endpoint.local_addrs()?[0]);
    let connection = endpoint.accept().ok_or("closed")?;
    let cpu = cpu_secs()?;
    let mut readers = Vec::new();
    while let Ok((mut answer, mut source)) = connection.accept() {
        readers.push(std::thread::spawn(move || -> Outcome<usize> {
            let (mut frame, mut bytes) = (Frame::default(), 0);
            while source.receive_into(&mut frame)? {
                bytes += frame.payload.len();
            }
            answer.send(b"", b"")?;
            answer.finish_and_wait()?;
            Ok(bytes)
        }));
    }
    let mut bytes = 0;
    for reader in readers {
        bytes += reader.join().map_err(|_| "a reader panicked")??;
    }
    println!("receiver: {:.2} CPU s a GiB", (cpu_secs()? - cpu) / gib(bytes));
    Ok(())
}

fn dial(address: SocketAddr, fingerprint: Fingerprint, gibs: f64, streams: usize, payload_kib: usize) -> Outcome<()> {
    let (endpoint, _) = endpoint(&[])?;
    let connection = endpoint.dial(&[address], Expect::Pinned(fingerprint))?;
    let frames = (gibs * 1024.0 * 1024.0) as usize / payload_kib / streams;
    let (start, cpu) = (Instant::now(), cpu_secs()?);
    std::thread::scope(|scope| -> Outcome<()> {
        let senders: Vec<_> = (0..streams).map(|_| scope.spawn(|| send(&connection, frames, payload_kib * 1024))).collect();
        senders.into_iter().try_for_each(|sender| sender.join().map_err(|_| "a sender panicked")?)
    })?;
    let (elapsed, bytes) = (start.elapsed().as_secs_f64(), frames * streams * payload_kib * 1024);
    println!("{streams} streams of {payload_kib} KiB payloads: {:.4} GB/s", bytes as f64 / elapsed / 1e9);
    println!("sender: {:.2} CPU s a GiB", (cpu_secs()? - cpu) / gib(bytes));
    println!("{:?}", connection.path());
    round_trips(&connection)?;
    connection.close(CloseCode::DONE, "done");
    connection.closed(Duration::from_secs(1));
    Ok(())
}

fn send(connection: &Connection, frames: usize, payload_len: usize) -> Outcome<()> {
    let (mut send, mut receive) = connection.open()?;
    let payload = vec![7; payload_len];
    for _ in 0..frames {
        send.send(b"header of a frame", &payload)?;
    }
    send.finish()?;
    receive.receive()?.ok_or("no answer")?;
    receive.receive()?.map_or(Ok(()), |_| Err("more than one answer".into()))
}

/// A stream opened, one frame there, one back.
fn round_trips(connection: &Connection) -> Outcome<()> {
    let mut took = Vec::new();
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let start = Instant::now();
        send(connection, 1, 1024)?;
        took.push(start.elapsed());
    }
    took.sort();
    println!("request and answer: median {:?}, 99 % within {:?}", took[took.len() / 2], took[took.len() * 99 / 100]);
    Ok(())
}

fn gib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// CPU time of this process (proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms).
fn cpu_secs() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no name")?.1;
    let ticks: Vec<f64> = after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
