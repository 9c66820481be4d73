use std::net::TcpListener;
use std::thread;

use super::*;

/// A server that says `before` at once, and `after` when it was asked something; hangs up then. Its address.
fn server(before: &'static [u8], after: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(before);
        if !after.is_empty() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(after);
        }
    });
    address
}

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn greetings_are_understood() {
    let smtp = |said| ask(&Probe::Smtp(server(said, b"")), LIMIT);
    assert_eq!(smtp(b"220 mail.example.org ESMTP\r\n"), Ok(()));
    assert_eq!(smtp(b"220-hello\r\n220 mail\r\n"), Ok(()));
    let busy = smtp(b"421 too busy\r\n").unwrap_err();
    assert!(busy.ends_with("says \"421 too busy\""), "{busy}");
    assert!(smtp(b"220-hello\r\n").unwrap_err().ends_with("hung up before it had answered"));
    assert!(smtp(b"SSH-2.0-x\r\n").is_err());
    let imap = |said| ask(&Probe::Imap(server(said, b"")), LIMIT);
    assert_eq!((imap(b"* OK ready\r\n"), imap(b"* preauth\r\n")), (Ok(()), Ok(())));
    assert!(imap(b"* BYE full\r\n").is_err() && imap(b"* OKAY\r\n").is_err() && imap(b"").is_err());
}

#[test]
fn pages_and_root_objects_are_understood() {
    let http = |said| ask(&Probe::Http(format!("http://{}/health?x=1", server(b"", said))), LIMIT);
    assert_eq!((http(b"HTTP/1.1 200 OK\r\n\r\n"), http(b"HTTP/1.0 301 Moved\r\n\r\n")), (Ok(()), Ok(())));
    assert!(http(b"HTTP/1.1 503 No\r\n\r\n").is_err() && http(b"hello\r\n").is_err());
    let ldap = |said| ask(&Probe::Ldap(server(b"", said)), LIMIT);
    assert_eq!(ldap(b"\x30\x09\x02\x01\x01\x64\x04\x04\x00\x30\x00"), Ok(()));
    assert_eq!(ldap(b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00"), Ok(()));
    assert!(ldap(b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x34\x04\x00\x04\x00").unwrap_err().ends_with("result 52"));
    assert!(ldap(b"\x30\x84\xff\xff\xff\xff\x02").is_err() && ldap(b"220 mail\r\n").is_err());
    assert_eq!(http_parts("http://a:1/b/c"), ("a:1", "/b/c"));
    assert_eq!(http_parts("http://[::1]"), ("[::1]", "/"));
}

#[test]
fn silence_ends_in_time_and_nobody_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    assert_eq!(ask(&Probe::Tcp(target.clone()), LIMIT), Ok(()));
    let begun = Instant::now();
    let silent = ask(&Probe::Smtp(target.clone()), Duration::from_millis(100)).unwrap_err();
    assert!(silent.ends_with("did not answer in time"), "{silent}");
    assert!(begun.elapsed() < LIMIT);
    // Held by somebody who does not listen, so that nobody else can.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    held.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let target = held.local_addr().unwrap().as_socket().unwrap().to_string();
    let refused = ask(&Probe::Tcp(target), LIMIT).unwrap_err();
    assert!(refused.contains("takes no connection"), "{refused}");
    let unknown = ask(&Probe::Tcp("name.invalid:25".to_owned()), LIMIT).unwrap_err();
    assert!(unknown.contains("is not found"), "{unknown}");
}

#[test]
fn a_flood_without_an_end_of_line_is_not_read_for_ever() {
    const FLOOD: &[u8] = &[b'x'; 4 * MAX_ANSWER_BYTES];
    assert!(ask(&Probe::Smtp(server(FLOOD, b"")), LIMIT).is_err());
}

#[test]
fn a_command_answers_by_its_code() {
    let command = |script: &str| Probe::Command(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
    assert_eq!(ask(&command("exit 0"), LIMIT), Ok(()));
    assert!(ask(&command("echo no mail; exit 1"), LIMIT).unwrap_err().ends_with("it ended with 1: no mail"));
    assert!(ask(&command("exec sleep 1000"), Duration::from_millis(100)).unwrap_err().contains("did not end in time"));
    assert!(ask(&Probe::Command(vec!["/no/such".to_owned()]), LIMIT).unwrap_err().contains("cannot be started"));
}
