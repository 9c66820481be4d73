//! One question to a service, and what its answer means.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use standin_config::group::Probe;

use crate::resource::command::{Ended, Limited};

/// Most of an answer that is read, in bytes: a greeting or a status line is far shorter.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// A search for the root object, as anybody may make: `SearchRequest` with base `""`, scope base, filter `(objectClass=*)`, attribute
/// `1.1` (none). Source: RFC 4511, sections 4.1.1 and 4.5.1.
const LDAP_QUESTION: &[u8] = &[
    0x30, 0x2a, 0x02, 0x01, 0x01, 0x63, 0x25, 0x04, 0x00, 0x0a, 0x01, 0x00, 0x0a, 0x01, 0x00, 0x02, 0x01, 0x01, 0x02, 0x01, 0x00,
    0x01, 0x01, 0x00, 0x87, 0x0b, b'o', b'b', b'j', b'e', b'c', b't', b'C', b'l', b'a', b's', b's', 0x30, 0x05, 0x04, 0x03, b'1',
    b'.', b'1',
];

/// Asks once, and waits at most `limit` for the whole answer.
///
/// # Errors
/// What came instead of a good answer, in words.
pub fn ask(probe: &Probe, limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit.min(Duration::from_secs(24 * 3600));
    match probe {
        Probe::Tcp(target) => connect(target, deadline).map(drop),
        Probe::Smtp(target) => talk(target, b"", deadline, smtp),
        Probe::Imap(target) => talk(target, b"", deadline, imap),
        Probe::Ldap(target) => talk(target, LDAP_QUESTION, deadline, ldap),
        Probe::Http(url) => {
            let (host, path) = http_parts(url);
            let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: standin\r\nConnection: close\r\n\r\n");
            let authority = host.rsplit_once(':').filter(|(name, _)| name.ends_with(']') || !name.contains(':'));
            let target = if authority.is_some() { host.to_owned() } else { format!("{host}:80") };
            talk(&target, request.as_bytes(), deadline, http)
        }
        Probe::Command(words) => {
            let mut last = String::new();
            let limited = Limited { words, variables: &[], deadline, is_cancelled: &|| false };
            match limited.run(&mut |line| last = line.to_owned()) {
                Ok(Ended::Code(0)) => Ok(()),
                Ok(ended) if last.is_empty() => Err(format!("{}: {ended}", words.join(" "))),
                Ok(ended) => Err(format!("{}: {ended}: {last}", words.join(" "))),
                Err(error) => Err(format!("{} cannot be started: {error}", words.join(" "))),
            }
        }
    }
}

/// Host with its port, if it has one, and path of an `http://` address.
fn http_parts(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash))
}

fn connect(target: &str, deadline: Instant) -> Result<TcpStream, String> {
    let addresses = target.to_socket_addrs().map_err(|error| format!("{target} is not found: {error}"))?;
    let mut why = format!("{target} has no address");
    for address in addresses {
        let left = left(deadline).ok_or_else(|| format!("{target} did not answer in time"))?;
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("{target} takes no connection: {error}"),
        }
    }
    Err(why)
}

fn left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

/// What an answer so far means: nothing yet, or good, or bad and how.
type Meaning = Option<Result<(), String>>;

fn talk(target: &str, question: &[u8], deadline: Instant, meaning: fn(&[u8], bool) -> Meaning) -> Result<(), String> {
    let mut stream = connect(target, deadline)?;
    let late = || format!("{target} took the connection and did not answer in time");
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(),
        _ => format!("{target}: {error}"),
    };
    stream.set_write_timeout(left(deadline)).map_err(failed)?;
    stream.write_all(question).map_err(failed)?;
    let mut answer = Vec::new();
    loop {
        stream.set_read_timeout(Some(left(deadline).ok_or_else(late)?)).map_err(failed)?;
        let mut piece = [0; 1024];
        let count = match stream.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        answer.extend_from_slice(&piece[..count]);
        let is_whole = count == 0 || answer.len() >= MAX_ANSWER_BYTES;
        if let Some(said) = meaning(&answer, is_whole) {
            return said.map_err(|said| format!("{target} {said}"));
        }
        if is_whole {
            return Err(format!("{target} hung up before it had answered"));
        }
    }
}

/// The lines that are there in full.
fn lines(answer: &[u8], is_whole: bool) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let mut lines: Vec<String> = text.split('\n').map(|line| line.trim_end_matches('\r').chars().take(200).collect()).collect();
    if !is_whole || lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

fn said(line: &str) -> String {
    format!("says {:?}", line)
}

/// A greeting of SMTP: `220`, perhaps over several lines. Source: RFC 5321, sections 4.2 and 4.3.1.
fn smtp(answer: &[u8], is_whole: bool) -> Meaning {
    for line in lines(answer, is_whole) {
        match (line.get(..3), line.as_bytes().get(3)) {
            (Some("220"), Some(b'-')) => {}
            (Some("220"), Some(b' ') | None) => return Some(Ok(())),
            _ => return Some(Err(said(&line))),
        }
    }
    None
}

/// A greeting of IMAP. Source: RFC 3501, section 7.1.
fn imap(answer: &[u8], is_whole: bool) -> Meaning {
    let lines = lines(answer, is_whole);
    let line = lines.first()?.to_ascii_uppercase();
    let is_well = ["* OK", "* PREAUTH"]
        .iter()
        .any(|good| line.strip_prefix(good).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')));
    Some(if is_well { Ok(()) } else { Err(said(lines.first()?)) })
}

/// A status line of HTTP. Source: RFC 9112, section 4.
fn http(answer: &[u8], is_whole: bool) -> Meaning {
    let lines = lines(answer, is_whole);
    let line = lines.first()?;
    let code = line.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.parse::<u16>().ok());
    Some(if code.is_some_and(|code| (200..400).contains(&code)) { Ok(()) } else { Err(said(line)) })
}

/// The root object, or the end of a search with result 0. Source: RFC 4511, sections 4.1.1, 4.1.9 and 4.5.2.
fn ldap(answer: &[u8], _: bool) -> Meaning {
    let inner = element(answer)?;
    let Some((0x30, message)) = inner else { return Some(Err("does not speak LDAP".to_owned())) };
    let Some(Some((0x02, number))) = element(message) else { return Some(Err("does not speak LDAP".to_owned())) };
    let after = message.get(2 + number.len()..).unwrap_or_default();
    Some(match element(after) {
        Some(Some((0x64, _))) => Ok(()),
        Some(Some((0x65, result))) => match result.get(..3) {
            Some([0x0a, 1, 0]) => Ok(()),
            Some([0x0a, 1, code]) => Err(format!("answers with result {code}")),
            _ => Err("does not speak LDAP".to_owned()),
        },
        _ => Err("does not speak LDAP".to_owned()),
    })
}

/// Tag and content of the first element of BER. `None`: not all of it is there yet; `Some(None)`: it is none.
fn element(bytes: &[u8]) -> Option<Option<(u8, &[u8])>> {
    let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
    let (length, head) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let digits = bytes.get(2..2 + count)?;
            (digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit)), 2 + count)
        }
        _ => return Some(None),
    };
    if length > MAX_ANSWER_BYTES {
        return Some(None);
    }
    Some(Some((tag, bytes.get(head..head + length)?)))
}

#[cfg(test)]
mod tests;
