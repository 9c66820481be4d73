//! Questions and orders to the kernel by netlink, each on a socket of its own.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Lists everything that a question is about.
pub(super) fn list(question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    // An interface's message alone can be larger than a page.
    let mut found = Vec::new();
    ask(question, NLM_F_REQUEST | NLM_F_DUMP, |message| found.push(message))?;
    Ok(found)
}

/// Gives an order and waits until it is acknowledged.
pub(super) fn order(order: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    ask(order, NLM_F_REQUEST | NLM_F_ACK | flags, |_| {})
}

fn ask(message: RouteNetlinkMessage, flags: u16, mut found: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut packet = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
    packet.header.flags = flags;
    packet.header.sequence_number = 1;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let packet = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            match packet.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Error(_) => return Ok(()),
                NetlinkPayload::InnerMessage(message) => found(message),
                _ => {}
            }
            // Messages begin at multiples of four bytes.
            let length = (packet.header.length as usize).next_multiple_of(4);
            rest = if length == 0 { &[] } else { rest.get(length..).unwrap_or_default() };
        }
    }
}
