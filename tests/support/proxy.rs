//! A line between two nodes that can be cut.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the threads look whether they are to end.
const LOOK: Duration = Duration::from_millis(50);

/// Forwards datagrams between whoever sends to it and one node, unless it is cut. Both threads end when it is dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    cut: AtomicBool,
    ended: AtomicBool,
    /// How long a datagram takes in each direction, in milliseconds.
    delay_ms: AtomicU64,
    /// Bytes that went towards the node.
    forwarded: AtomicU64,
}

impl Proxy {
    /// In front of `node`.
    pub(crate) fn start(node: SocketAddr) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = front.local_addr().unwrap();
        let shared = Arc::new(Shared { cut: false.into(), ended: false.into(), delay_ms: 0.into(), forwarded: 0.into() });
        let forwarding = shared.clone();
        let threads = vec![thread::spawn(move || forward(&front, node, &forwarding))];
        Self { address, shared, threads }
    }

    /// Drops everything from now on.
    pub(crate) fn cut(&self) {
        self.shared.cut.store(true, Relaxed);
    }

    /// Lets everything through again.
    pub(crate) fn mend(&self) {
        self.shared.cut.store(false, Relaxed);
    }

    /// Makes the line longer by so much in each direction, from now on. Few datagrams get through at a time then.
    pub(crate) fn lengthen(&self, delay: Duration) {
        self.shared.delay_ms.store(delay.as_millis() as u64, Relaxed);
    }

    /// Bytes that went towards the node so far.
    pub(crate) fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Shared {
    /// The time that a datagram is under way.
    fn travel(&self) {
        let arrives = Instant::now() + Duration::from_millis(self.delay_ms.load(Relaxed));
        while let Some(left) = arrives.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
    }
}

/// One socket towards the node for each address that sends here, each with a thread for the way back.
fn forward(front: &UdpSocket, node: SocketAddr, shared: &Shared) {
    front.set_read_timeout(Some(LOOK)).unwrap();
    let mut buffer = vec![0; 65_536];
    let mut backs: Vec<(SocketAddr, UdpSocket)> = Vec::new();
    thread::scope(|scope| {
        while !shared.ended.load(Relaxed) {
            let Ok((len, from)) = front.recv_from(&mut buffer) else { continue };
            if shared.cut.load(Relaxed) {
                continue;
            }
            if !backs.iter().any(|(address, _)| *address == from) {
                let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                back.connect(node).unwrap();
                let (answering, towards) = (back.try_clone().unwrap(), front.try_clone().unwrap());
                scope.spawn(move || bring_back(&answering, &towards, from, shared));
                backs.push((from, back));
            }
            shared.travel();
            let (_, back) = backs.iter().find(|(address, _)| *address == from).unwrap();
            // A node that is down refuses; that is as good as lost.
            if back.send(&buffer[..len]).is_ok() {
                shared.forwarded.fetch_add(len as u64, Relaxed);
            }
        }
    });
}

fn bring_back(back: &UdpSocket, front: &UdpSocket, to: SocketAddr, shared: &Shared) {
    back.set_read_timeout(Some(LOOK)).unwrap();
    let mut buffer = vec![0; 65_536];
    while !shared.ended.load(Relaxed) {
        if let Ok(len) = back.recv(&mut buffer)
            && !shared.cut.load(Relaxed)
        {
            shared.travel();
            drop(front.send_to(&buffer[..len], to));
        }
    }
}
