//! UDP sockets with large buffers: at 2 GB/s the usual 208 KiB are full within 0.1 ms, and what does not fit is lost.

use std::net::{SocketAddr, UdpSocket};

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use super::error::local;
use crate::link::LinkError;

/// Asked for in each direction, in bytes.
const BUFFER_LEN: usize = 8 * 1024 * 1024;
/// What is enough not to complain, in bytes: measured, more brings little.
const ENOUGH: usize = 2 * 1024 * 1024;

/// What the system grants to a socket, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffers {
    /// For what was sent and waits for the network card.
    pub send_bytes: usize,
    /// For what came and waits to be read.
    pub receive_bytes: usize,
}

impl Buffers {
    /// Whether they are too small for a fast line; then the settings `net.core.rmem_max` and `net.core.wmem_max` are to be raised.
    pub fn are_small(&self) -> bool {
        self.send_bytes.min(self.receive_bytes) < ENOUGH
    }
}

/// A bound socket, and what its buffers hold.
pub(super) fn bind(address: SocketAddr) -> Result<(UdpSocket, Buffers), LinkError> {
    let attempt = || local(format!("listen on UDP {address}"));
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).map_err(|why| attempt()(&why))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be listened on with one port.
        socket.set_only_v6(true).map_err(|why| attempt()(&why))?;
    }
    let buffers = enlarge(&socket).map_err(|why| attempt()(&why))?;
    socket.bind(&address.into()).map_err(|why| attempt()(&why))?;
    Ok((socket.into(), buffers))
}

/// Too small buffers make it slow, not wrong.
fn enlarge(socket: &Socket) -> std::io::Result<Buffers> {
    // Root may have more than the settings grant; for all others this fails, and the second way gets what is granted.
    if sockopt::set_socket_recv_buffer_size_force(socket, BUFFER_LEN).is_err() {
        socket.set_recv_buffer_size(BUFFER_LEN)?;
    }
    if sockopt::set_socket_send_buffer_size_force(socket, BUFFER_LEN).is_err() {
        socket.set_send_buffer_size(BUFFER_LEN)?;
    }
    let buffers = Buffers { send_bytes: socket.send_buffer_size()?, receive_bytes: socket.recv_buffer_size()? };
    if buffers.are_small() {
        tracing::warn!(
            ?buffers,
            "the system grants only small UDP socket buffers, transfers will be slow: \
             run `sysctl -w net.core.rmem_max={BUFFER_LEN} net.core.wmem_max={BUFFER_LEN}`"
        );
    } else {
        tracing::debug!(?buffers, "UDP socket");
    }
    Ok(buffers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_granted_is_told() {
        let (socket, buffers) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let socket = socket2::SockRef::from(&socket);
        assert_eq!(buffers.receive_bytes, socket.recv_buffer_size().unwrap());
        assert_eq!(buffers.send_bytes, socket.send_buffer_size().unwrap());
        let small = Buffers { receive_bytes: 208 * 1024, ..buffers };
        assert!(small.are_small());
    }
}
