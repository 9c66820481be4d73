//! UDP sockets with large buffers: at 2 GB/s the usual 208 KiB are full within 0.1 ms, and what does not fit is lost.

use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::error::local;
use crate::link::LinkError;

/// Asked for in each direction, in bytes.
const BUFFER_LEN: usize = 8 * 1024 * 1024;
/// What is enough not to complain, in bytes: measured, more brings little.
const ENOUGH: usize = 2 * 1024 * 1024;

pub(super) fn bind(address: SocketAddr) -> Result<UdpSocket, LinkError> {
    let attempt = || local(format!("listen on UDP {address}"));
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).map_err(|why| attempt()(&why))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be listened on with one port.
        socket.set_only_v6(true).map_err(|why| attempt()(&why))?;
    }
    enlarge(&socket);
    socket.bind(&address.into()).map_err(|why| attempt()(&why))?;
    Ok(socket.into())
}

/// Too small buffers make it slow, not wrong.
fn enlarge(socket: &Socket) {
    let (receive, send) = (socket.set_recv_buffer_size(BUFFER_LEN), socket.set_send_buffer_size(BUFFER_LEN));
    let granted = [
        ("net.core.rmem_max", receive.and_then(|()| socket.recv_buffer_size())),
        ("net.core.wmem_max", send.and_then(|()| socket.send_buffer_size())),
    ];
    for (setting, bytes) in granted {
        match bytes {
            Ok(bytes) if bytes >= ENOUGH => tracing::debug!(setting, bytes, "UDP socket buffer"),
            Ok(bytes) => tracing::warn!(
                granted_bytes = bytes,
                "the system grants only small UDP socket buffers, transfers will be slow: run `sysctl -w {setting}={BUFFER_LEN}`"
            ),
            Err(why) => {
                tracing::warn!(%why, "cannot enlarge the UDP socket buffers, transfers will be slow: see the setting {setting}")
            }
        }
    }
}
