//! Those whom nobody knows: keys that are not paired, and bytes that are no QUIC.

use std::net::{Ipv4Addr, UdpSocket};

use standin_common::link::quic::Expect;

use crate::material::Random;
use crate::raw::Stolen;
use crate::support::{Node, Pair, peak_rss_kib, seed, shell};

/// Datagrams of each kind.
const DATAGRAMS: u64 = 20_000;
/// Handshakes that are begun and not gone on with, more than a node takes at a time.
const HANDSHAKES: usize = 200;
/// The most memory that a node may take because of strangers, in KiB.
const MOST_KIB: u64 = 200 * 1024;

#[test]
fn strangers_get_nothing_and_hinder_nobody() {
    let mut pair = Pair::new("");
    shell(&pair.source, "echo 1 > file; head -c 5000000 /dev/urandom > large");
    pair.mirror(&[]);
    let other = Node::init(pair.dir.path(), "gamma");
    let stranger = Stolen::of(&other.state_dir(), &[]);
    for node in [&pair.alpha, &pair.beta] {
        let expected = Expect::Pinned(node.fingerprint().parse().unwrap());
        for _ in 0..5 {
            let refused = stranger.endpoint.dial(&[node.listen], expected).unwrap_err();
            assert!(refused.is_refusal() && refused.to_string().contains("does not trust this node's key"), "{refused}");
        }
        let pairing = stranger.endpoint.dial(&[node.listen], Expect::AnyForPairing).unwrap_err();
        assert!(pairing.is_refusal(), "{pairing}");
        assert!(node.log().contains("refused a node that is not paired"), "it is said");
    }
    shell(&pair.source, "echo 2 > file");
    pair.mirror(&[]);
    pair.assert_equal();

    shell(&pair.source, "echo 3 > file; head -c 5000000 /dev/urandom > large");
    pair.alpha.run(&["mirror", "start", "mail", "--limit", "5 MB/s"]).expect(0);
    send_garbage(&[&pair.alpha, &pair.beta]);
    pair.mirror(&["--limit", "5 MB/s"]);
    pair.assert_equal();
    for node in [&mut pair.alpha, &mut pair.beta] {
        assert!(node.is_running(), "{}", node.name);
        let kib = peak_rss_kib(node.pid()).unwrap();
        assert!(kib < MOST_KIB, "{}: {kib} KiB", node.name);
        assert!(!node.log().contains("panicked"), "{}", node.name);
    }
}

/// Bytes of any kind, and such as look like QUIC's first packets.
fn send_garbage(nodes: &[&Node]) {
    let mut random = Random::new(seed());
    let mut data = vec![0; 1500];
    for node in nodes {
        let sockets: Vec<_> = (0..HANDSHAKES).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        for number in 0..DATAGRAMS {
            random.fill(&mut data);
            let len = if number % 2 == 0 { 1200 + random.below(300) } else { random.below(1500) };
            if number % 3 != 0 {
                // A long header of version 1, type Initial, with connection identities of 8 bytes (RFC 9000, 17.2.2).
                let first = 0xc0 | data[0] & 0x0f;
                data[..6].copy_from_slice(&[first, 0, 0, 0, 1, 8]);
                data[14] = 8;
                data[23] = 0;
            }
            // What finds no room is lost, as anywhere.
            drop(sockets[number as usize % HANDSHAKES].send_to(&data[..len as usize], node.listen));
        }
    }
}
