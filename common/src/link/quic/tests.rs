//! Two or three nodes on loopback.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::codec::{CodecError, HEAD_LEN, MAX_PAYLOAD_LEN};
use crate::link::{Frame, Priority, ReceiveHalf, SendHalf};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Gate {
    trusted: Mutex<Vec<Fingerprint>>,
    open: AtomicBool,
}

impl TrustCheck for Gate {
    fn trusted(&self, fingerprint: &Fingerprint) -> bool {
        self.trusted.lock().unwrap().contains(fingerprint)
    }

    fn pairing_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }
}

struct Node {
    endpoint: Arc<Endpoint>,
    key: Fingerprint,
    gate: Arc<Gate>,
    addresses: Vec<SocketAddr>,
}

fn node_at(listen: &[&str]) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let identity = Arc::new(Identity::load_or_create(dir.path(), &"node".parse().unwrap()).unwrap());
    let gate = Arc::new(Gate::default());
    let listen: Vec<_> = listen.iter().map(|address| address.parse().unwrap()).collect();
    let key = identity.fingerprint();
    let endpoint = Arc::new(Endpoint::bind(&listen, identity, gate.clone()).unwrap());
    let addresses = endpoint.local_addrs().unwrap();
    Node { endpoint, key, gate, addresses }
}

fn node() -> Node {
    node_at(&["127.0.0.1:0"])
}

impl Node {
    fn trust(&self, other: &Self) {
        self.gate.trusted.lock().unwrap().push(other.key);
    }

    fn dial(&self, other: &Self) -> Result<Connection, LinkError> {
        self.endpoint.dial(&other.addresses, Expect::Pinned(other.key))
    }
}

/// Two nodes that trust each other, and a connection between them.
fn connected() -> (Node, Node, Connection, Connection) {
    let (a, b) = (node(), node());
    a.trust(&b);
    b.trust(&a);
    let here = a.dial(&b).unwrap();
    let there = b.endpoint.accept().unwrap();
    (a, b, here, there)
}

/// Runs what may block on a thread of its own, and fails rather than hangs.
fn soon<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(work()));
    told.recv_timeout(DEADLINE).expect("it did not end in time")
}

#[test]
fn frames_cross_both_ways_between_nodes_that_trust_each_other() {
    let (a, b, here, there) = connected();
    assert_eq!((here.peer(), there.peer()), (b.key, a.key));
    assert_eq!((here.purpose(), there.purpose()), (Purpose::Work, Purpose::Work));
    let (mut send, mut receive) = here.open().unwrap();
    let echo = thread::spawn(move || {
        let (mut send, mut receive) = there.accept().unwrap();
        send.set_priority(Priority::Urgent).unwrap();
        let mut frame = Frame::default();
        while receive.receive_into(&mut frame).unwrap() {
            send.send(&frame.header, &frame.payload).unwrap();
        }
        send.finish_and_wait().unwrap();
    });
    for (len, takes_time) in
        [(0, false), (1, false), (1000, false), (100_000, false), (MAX_PAYLOAD_LEN, false), (MAX_PAYLOAD_LEN, true), (3, true)]
    {
        if takes_time {
            receive.take_time();
        }
        let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        send.send(b"header", &payload).unwrap();
        assert_eq!(receive.receive().unwrap(), Some(Frame { header: b"header".to_vec(), payload }), "{len}");
    }
    send.finish().unwrap();
    assert_eq!(receive.receive().unwrap(), None);
    echo.join().unwrap();
    let path = here.path();
    assert!(path.sent_bytes > MAX_PAYLOAD_LEN as u64 && path.received_bytes > MAX_PAYLOAD_LEN as u64, "{path:?}");
    assert_eq!(path.remote, b.addresses[0]);
}

#[test]
fn a_stranger_is_refused_and_nobody_is_told_of_it() {
    let (a, b) = (node(), node());
    a.trust(&b);
    let error = a.dial(&b).unwrap_err();
    assert!(error.is_refusal(), "{error}");
    assert!(error.to_string().contains("pair"), "{error}");
    // Not for pairing either, as long as nobody waits for it.
    let error = a.endpoint.dial(&b.addresses, Expect::AnyForPairing).unwrap_err();
    assert!(error.is_refusal(), "{error}");
    // The first that is taken is the one that was let in.
    b.trust(&a);
    let kept = a.dial(&b).unwrap();
    assert_eq!(soon(move || b.endpoint.accept().map(|connection| connection.peer())), Some(a.key));
    drop(kept);
}

#[test]
fn a_peer_with_another_key_is_refused_by_the_dialler() {
    let (a, b, c) = (node(), node(), node());
    b.trust(&a);
    let error = a.endpoint.dial(&b.addresses, Expect::Pinned(c.key)).unwrap_err();
    assert!(error.is_refusal(), "{error}");
    let text = error.to_string();
    assert!(text.contains(&b.key.to_string()) && text.contains(&c.key.to_string()), "{text}");
}

#[test]
fn while_pairing_one_stranger_is_let_in_for_that_only() {
    let (a, b, c) = (node(), node(), node());
    b.gate.open.store(true, Ordering::SeqCst);
    assert!(a.dial(&b).unwrap_err().is_refusal());
    let first = a.endpoint.dial(&b.addresses, Expect::AnyForPairing).unwrap();
    assert_eq!((first.purpose(), first.peer()), (Purpose::Pairing, b.key));
    let taken = b.endpoint.accept().unwrap();
    assert_eq!((taken.purpose(), taken.peer()), (Purpose::Pairing, a.key));
    let error = c.endpoint.dial(&b.addresses, Expect::AnyForPairing).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("another"), "{error}");
    drop(taken);
    assert!(matches!(first.closed(DEADLINE), Some(LinkError::Closed { code: 0, .. })));
    assert_eq!(c.endpoint.dial(&b.addresses, Expect::AnyForPairing).unwrap().peer(), b.key);
}

#[test]
fn closing_wakes_whoever_waits_on_either_side() {
    let (_a, _b, here, there) = connected();
    let (mut send, mut receive) = here.open().unwrap();
    send.send(b"x", b"").unwrap();
    let (mut their_send, _their_receive) = there.accept().unwrap();
    let reader = thread::spawn(move || receive.receive());
    let writer = thread::spawn(move || {
        loop {
            if let Err(why) = send.send(b"x", &[0; 1 << 20]) {
                return why;
            }
        }
    });
    let also_here = here.clone();
    let accepter = thread::spawn(move || also_here.accept().map(|_| ()));
    their_send.send(b"", b"").unwrap();
    there.close(CloseCode(107), "enough\u{7}");
    let is_theirs = |why: &LinkError| matches!(why, LinkError::Closed { code: 107, reason } if reason == "enough");
    let (writer, accepter) = soon(move || (writer.join().unwrap(), accepter.join().unwrap().unwrap_err()));
    assert!(is_theirs(&writer) && is_theirs(&accepter), "{writer} / {accepter}");
    // The frame may have come before the end.
    let _ = soon(move || reader.join().unwrap());
    assert!(matches!(there.close_reason(), Some(LinkError::ClosedHere)));
    assert!(there.is_closed());
}

#[test]
fn dropping_the_last_handle_closes_the_connection() {
    let (_a, _b, here, there) = connected();
    let (mut send, mut receive) = here.open().unwrap();
    let second = here.clone();
    drop(here);
    send.send(b"x", b"").unwrap();
    drop(second);
    assert!(soon(move || receive.receive()).is_err());
    assert!(there.closed(DEADLINE).is_some());
}

#[test]
fn a_stream_that_was_not_finished_does_not_look_complete() {
    let (_a, _b, here, there) = connected();
    let (mut send, _receive) = here.open().unwrap();
    send.send(b"one", b"").unwrap();
    let (_their_send, mut their_receive) = there.accept().unwrap();
    assert!(their_receive.receive().unwrap().is_some());
    drop(send);
    assert!(matches!(soon(move || their_receive.receive()), Err(LinkError::Abandoned)));
}

#[test]
fn one_half_may_end_while_the_other_goes_on() {
    let (_a, _b, here, there) = connected();
    let (mut send, mut receive) = here.open().unwrap();
    send.send(b"ask", b"").unwrap();
    send.finish().unwrap();
    let (mut their_send, mut their_receive) = there.accept().unwrap();
    assert!(their_receive.receive().unwrap().is_some());
    assert!(their_receive.receive().unwrap().is_none());
    for _ in 0..3 {
        their_send.send(b"answer", &[1; 50_000]).unwrap();
        assert!(receive.receive().unwrap().is_some());
    }
    drop(receive);
    let stopped = soon(move || {
        loop {
            if let Err(why) = their_send.send(b"answer", &[1; 50_000]) {
                return why;
            }
        }
    });
    assert!(matches!(stopped, LinkError::Abandoned), "{stopped}");
    assert!(matches!(send.send(b"more", b""), Err(LinkError::ClosedHere)));
}

#[test]
fn frames_that_are_too_long_are_refused_on_both_sides() {
    let (_a, _b, here, there) = connected();
    let (mut send, _receive) = here.open().unwrap();
    assert!(matches!(send.send(b"", &vec![0; MAX_PAYLOAD_LEN + 1]), Err(LinkError::Codec(CodecError::LongPayload(_)))));
    send.send(b"", b"").unwrap();
    let (_their_send, mut their_receive) = there.accept().unwrap();
    assert!(their_receive.receive().unwrap().is_some());
    send.write_raw(&[0xff; HEAD_LEN]).unwrap();
    assert!(matches!(their_receive.receive(), Err(LinkError::Codec(CodecError::LongHeader(_)))));
}

#[test]
fn a_stream_that_ends_within_a_frame_is_an_error() {
    let (_a, _b, here, there) = connected();
    for raw in [&[1, 0, 0][..], &[1, 0, 0, 0, 2, 0, 0, 0], &[1, 0, 0, 0, 2, 0, 0, 0, 9, 9]] {
        let (mut send, _receive) = here.open().unwrap();
        send.write_raw(raw).unwrap();
        send.finish().unwrap();
        let (_their_send, mut their_receive) = there.accept().unwrap();
        assert!(matches!(their_receive.receive(), Err(LinkError::Codec(CodecError::Truncated))), "{raw:?}");
    }
}

#[test]
fn streams_that_nobody_reads_do_not_stop_the_others() {
    let (_a, _b, here, there) = connected();
    let stuck: Vec<_> = (0..3).map(|_| here.open().unwrap().0).collect();
    let senders: Vec<_> =
        stuck.into_iter().map(|mut send| thread::spawn(move || while send.send(b"x", &[0; 1 << 20]).is_ok() {})).collect();
    let unread: Vec<_> = (0..3).map(|_| there.accept().unwrap()).collect();
    let (mut send, _receive) = here.open().unwrap();
    let sender = thread::spawn(move || {
        (0..64).try_for_each(|_| send.send(b"y", &[0; 1 << 20]))?;
        send.finish_and_wait()
    });
    let (_their_send, mut their_receive) = there.accept().unwrap();
    let frames = soon(move || {
        let mut frames = 0;
        while let Some(frame) = their_receive.receive().unwrap() {
            assert_eq!(frame.payload.len(), 1 << 20);
            frames += 1;
        }
        frames
    });
    assert_eq!(frames, 64);
    sender.join().unwrap().unwrap();
    drop(unread);
    here.close(CloseCode::DONE, "");
    soon(move || senders.into_iter().for_each(|sender| sender.join().unwrap()));
}

#[test]
fn addresses_are_tried_in_turn_and_all_failures_told() {
    let (a, b) = (node(), node_at(&["127.0.0.1:0", "127.0.0.1:0"]));
    a.trust(&b);
    b.trust(&a);
    let wrong = node();
    wrong.trust(&a);
    let connection = a.endpoint.dial(&[wrong.addresses[0], b.addresses[1]], Expect::Pinned(b.key)).unwrap();
    assert_eq!(connection.path().remote, b.addresses[1]);
    let error = a.endpoint.dial(&[wrong.addresses[0]], Expect::Pinned(b.key)).unwrap_err().to_string();
    assert!(error.contains(&wrong.addresses[0].to_string()), "{error}");
    assert!(matches!(a.endpoint.dial(&[], Expect::Pinned(b.key)), Err(LinkError::Unreachable(_))));
}

#[test]
fn closing_an_endpoint_ends_its_connections_and_whoever_waits_for_more() {
    let (_a, b, here, there) = connected();
    let waiting = b.endpoint.clone();
    let accept = thread::spawn(move || waiting.accept().is_none());
    b.endpoint.close(CloseCode::STOPPING, "bye");
    assert!(soon(move || accept.join().unwrap()));
    assert!(matches!(here.closed(DEADLINE), Some(LinkError::Closed { code: 2, .. })));
    assert!(there.is_closed());
    assert!(here.open().is_err());
}

#[test]
fn a_node_that_goes_says_so() {
    let (_a, b, here, there) = connected();
    drop((b, there));
    assert!(matches!(here.closed(Duration::from_secs(5)), Some(LinkError::Closed { .. })));
}

#[test]
fn a_connection_may_be_given_a_deadline_and_keep_on_without() {
    let (_a, _b, here, there) = connected();
    drop(here.close_after(Duration::ZERO, CloseCode::BUSY, "never"));
    let _deadline = here.close_after(Duration::from_millis(10), CloseCode(200), "too late");
    assert!(matches!(there.closed(DEADLINE), Some(LinkError::Closed { code: 200, .. })));
}

#[test]
fn a_port_in_use_is_said_with_its_address() {
    let b = node();
    let dir = tempfile::tempdir().unwrap();
    let identity = Arc::new(Identity::load_or_create(dir.path(), &"node".parse().unwrap()).unwrap());
    let error = Endpoint::bind(&b.addresses, identity, Arc::new(Gate::default())).unwrap_err().to_string();
    assert!(error.contains(&b.addresses[0].to_string()), "{error}");
}

#[test]
fn what_is_urgent_goes_before_bulk() {
    const LANES: usize = 8;
    const URGENT_FRAMES: usize = 16;
    const URGENT_LEN: usize = 1024 * 1024;
    let payload = vec![7; 64 * 1024];
    let (_a, _b, here, there) = connected();
    let (stop, bulk) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let (mut send, _receive) = here.open_with(Priority::Bulk).unwrap();
            let (stop, payload) = (stop.clone(), payload.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    send.send(b"bulk", &payload).unwrap();
                }
                send.finish_and_wait().unwrap();
            })
        })
        .collect();
    let readers: Vec<_> = (0..LANES)
        .map(|_| {
            let (_send, mut receive) = there.accept().unwrap();
            let bulk = bulk.clone();
            thread::spawn(move || {
                let mut frame = Frame::default();
                while receive.receive_into(&mut frame).unwrap() {
                    bulk.fetch_add(frame.payload.len() as u64, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let (mut send, _receive) = here.open_with(Priority::Urgent).unwrap();
    let urgent = thread::spawn(move || {
        let payload = vec![8; URGENT_LEN];
        (0..URGENT_FRAMES).for_each(|_| send.send(b"urgent", &payload).unwrap());
        send.finish_and_wait().unwrap();
    });
    let (_send, mut receive) = there.accept().unwrap();
    receive.receive().unwrap().unwrap();
    let before = bulk.load(Ordering::SeqCst);
    let mut frames = 1;
    while receive.receive().unwrap().is_some() {
        frames += 1;
    }
    let meanwhile = bulk.load(Ordering::SeqCst) - before;
    stop.store(true, Ordering::SeqCst);
    for thread in lanes.into_iter().chain(readers).chain([urgent]) {
        thread.join().unwrap();
    }
    assert_eq!(frames, URGENT_FRAMES);
    // With its fair share the urgent stream would see eight times its own bytes pass by.
    println!("bulk bytes meanwhile: {meanwhile}");
    assert!(meanwhile < 3 * (URGENT_FRAMES * URGENT_LEN) as u64, "{meanwhile}");
}

#[test]
fn a_peer_that_falls_silent_is_noticed_in_seconds_and_its_other_address_is_tried_first() {
    let (a, b) = (node(), node_at(&["127.0.0.1:0", "127.0.0.1:0"]));
    a.trust(&b);
    b.trust(&a);
    // Passes datagrams on in both directions until told otherwise.
    let relay = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let (cut, target) = (Arc::new(AtomicBool::new(false)), b.addresses[0]);
    let passing = {
        let (relay, cut) = (relay.clone(), cut.clone());
        thread::spawn(move || {
            let (mut buffer, mut dialler) = (vec![0; 65536], None);
            relay.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            while !cut.load(Ordering::SeqCst) {
                let Ok((len, from)) = relay.recv_from(&mut buffer) else { continue };
                let to = if from == target { dialler.unwrap() } else { target };
                dialler = if from == target { dialler } else { Some(from) };
                relay.send_to(&buffer[..len], to).unwrap();
            }
        })
    };
    let addresses = [relay.local_addr().unwrap(), b.addresses[1]];
    let connection = a.endpoint.dial(&addresses, Expect::Pinned(b.key)).unwrap();
    assert_eq!(connection.path().remote, addresses[0]);
    cut.store(true, Ordering::SeqCst);
    passing.join().unwrap();
    let start = Instant::now();
    let why = connection.closed(DEADLINE).unwrap();
    assert!(matches!(why, LinkError::Lost(_)), "{why}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    let again = a.endpoint.dial(&addresses, Expect::Pinned(b.key)).unwrap();
    assert_eq!(again.path().remote, addresses[1]);
}
