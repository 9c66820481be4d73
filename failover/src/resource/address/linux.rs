//! Linux: addresses by netlink, neighbours by raw sockets.

#[path = "linux/netlink.rs"]
mod netlink;

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::wire::{self, BROADCAST, Mac};
use super::{Assigned, Interface, Network, State};

/// ARP among the protocols of Ethernet.
const ETH_P_ARP: u16 = 0x0806;

/// The network of this machine, or of the namespace that the thread is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel;

impl Network for Kernel {
    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let links = netlink::list(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let links = links.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => interface(&link),
            _ => None,
        });
        Ok(links.collect())
    }

    fn addresses(&self) -> io::Result<Vec<Assigned>> {
        Ok(messages()?.iter().filter_map(assigned).collect())
    }

    fn add(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewAddress(message(index, address, prefix));
        match netlink::order(message, NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn remove(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let before = messages()?;
        let removed = netlink::order(RouteNetlinkMessage::DelAddress(message(index, address, prefix)), 0);
        match removed {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return Ok(()),
            other => other?,
        }
        if address.is_ipv4() {
            put_back(index, address, &before)?;
        }
        Ok(())
    }

    fn who_has(&self, interface: &Interface, address: IpAddr, wait: Duration) -> io::Result<Option<Mac>> {
        let (IpAddr::V4(address), Some(own)) = (address, interface.mac) else { return Ok(None) };
        let socket = arp_socket(interface)?;
        socket.send_to(&wire::arp_probe(own, address), &link_address(interface.index, BROADCAST)?)?;
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            socket.set_read_timeout(Some(left))?;
            let mut packet = [MaybeUninit::uninit(); 128];
            let count = match socket.recv(&mut packet) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(None),
                Err(error) => return Err(error),
            };
            // Sound: `recv` has written the first `count` bytes.
            #[allow(unsafe_code)]
            let packet: Vec<u8> = packet[..count].iter().map(|byte| unsafe { byte.assume_init() }).collect();
            if let Some(mac) = wire::arp_conflict(&packet, own, address) {
                return Ok(Some(mac));
            }
        }
    }

    fn announce(&self, interface: &Interface, address: IpAddr) -> io::Result<()> {
        // Where there are no hardware addresses, no neighbour has a table of them.
        let Some(own) = interface.mac else { return Ok(()) };
        match address {
            IpAddr::V4(address) => announce_v4(interface, own, address),
            IpAddr::V6(address) => announce_v6(interface, own, address),
        }
    }
}

fn announce_v4(interface: &Interface, own: Mac, address: Ipv4Addr) -> io::Result<()> {
    let socket = arp_socket(interface)?;
    for packet in wire::arp_announcements(own, address) {
        socket.send_to(&packet, &link_address(interface.index, BROADCAST)?)?;
    }
    Ok(())
}

fn announce_v6(interface: &Interface, own: Mac, address: Ipv6Addr) -> io::Result<()> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    // Others are dropped by who gets them (RFC 4861, section 7.1.2).
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(interface.index)?;
    socket.bind(&SocketAddrV6::new(address, 0, 0, interface.index).into())?;
    let packet = wire::neighbour_advertisement(own, address);
    socket.send_to(&packet, &SocketAddrV6::new(ALL_NODES, 0, 0, interface.index).into())?;
    Ok(())
}

/// With an IPv4 address, the kernel takes those of the same network away that came after it (`promote_secondaries` is 0). They are
/// others' and have to stay.
fn put_back(index: u32, removed: IpAddr, before: &[AddressMessage]) -> io::Result<()> {
    let after = messages()?;
    for lost in before.iter().filter(|message| message.header.index == index) {
        let is_lost = assigned(lost).is_some_and(|one| one.address != removed && one.address.is_ipv4())
            && !after.iter().any(|message| assigned(message) == assigned(lost));
        if !is_lost {
            continue;
        }
        let mut message = AddressMessage::default();
        message.header = lost.header.clone();
        message.header.flags = AddressHeaderFlags::empty();
        let kept = lost.attributes.iter().filter(|attribute| {
            use AddressAttribute::{Address, Broadcast, Label, Local};
            matches!(attribute, Address(_) | Local(_) | Broadcast(_) | Label(_))
        });
        message.attributes = kept.cloned().collect();
        match netlink::order(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    Ok(())
}

fn messages() -> io::Result<Vec<AddressMessage>> {
    let messages = netlink::list(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let messages = messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewAddress(message) => Some(message),
        _ => None,
    });
    Ok(messages.collect())
}

/// Exactly this address, for an order.
fn message(index: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if let IpAddr::V4(address) = address
        && prefix < 31
    {
        let broadcast = Ipv4Addr::from_bits(address.to_bits() | (u32::MAX >> prefix));
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    message
}

fn assigned(message: &AddressMessage) -> Option<Assigned> {
    let mut address = None;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            // On a line with two ends, `Address` is the other one's.
            AddressAttribute::Local(local) => address = Some(*local),
            AddressAttribute::Address(other) => address = address.or(Some(*other)),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let state = match () {
        () if flags.contains(AddressFlags::Dadfailed) => State::Duplicate,
        () if flags.contains(AddressFlags::Tentative) => State::Tentative,
        () => State::Ready,
    };
    Some(Assigned { index: message.header.index, address: address?, prefix: message.header.prefix_len, state })
}

fn interface(link: &LinkMessage) -> Option<Interface> {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    let mac = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
        _ => None,
    });
    let speaks_arp = link.header.link_layer_type == LinkLayerType::Ether && !link.header.flags.contains(LinkFlags::Noarp);
    let is_up = link.header.flags.contains(LinkFlags::Up);
    Some(Interface { index: link.header.index, name: name?, mac: mac.filter(|_| speaks_arp), is_up })
}

fn arp_socket(interface: &Interface) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(ETH_P_ARP.to_be()))))?;
    socket.bind(&link_address(interface.index, BROADCAST)?)?;
    Ok(socket)
}

/// An interface and a hardware address on it, for ARP.
fn link_address(index: u32, mac: Mac) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    // Sound: `sockaddr_ll` is plain data, all zeroes are a value of it, and socket2 checks that the storage has room for it.
    #[allow(unsafe_code)]
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ETH_P_ARP.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    address.sll_halen = 6;
    address.sll_addr[..6].copy_from_slice(&mac.0);
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // Sound: the storage holds a `sockaddr_ll`, whose length is told, and which its family names.
    #[allow(unsafe_code)]
    Ok(unsafe { SockAddr::new(storage, length) })
}
