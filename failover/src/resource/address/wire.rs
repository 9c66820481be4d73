//! What is said on a network about who has an address. Pure.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A hardware address of Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mac(pub(super) [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([a, b, c, d, e, g]) = self;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Everybody on a network of Ethernet.
pub(super) const BROADCAST: Mac = Mac([0xff; 6]);

/// Hardware Ethernet, protocol IPv4, six and four bytes of address. Source: RFC 826.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ARP_BYTES: usize = 28;

/// Asks who has `address`, without saying so of ourselves: no table of a neighbour changes. Source: RFC 5227, section 2.1.1.
pub(super) fn arp_probe(own: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp(REQUEST, own, Ipv4Addr::UNSPECIFIED, Mac([0; 6]), address)
}

/// Tells that `address` is here, as a request and as a reply, since some take only one of the two. Source: RFC 5227, section 3, and
/// RFC 2002, section 4.6.
pub(super) fn arp_announcements(own: Mac, address: Ipv4Addr) -> [Vec<u8>; 2] {
    [arp(REQUEST, own, address, Mac([0; 6]), address), arp(REPLY, own, address, BROADCAST, address)]
}

fn arp(operation: u8, sender: Mac, sender_address: Ipv4Addr, target: Mac, target_address: Ipv4Addr) -> Vec<u8> {
    let mut packet = Vec::with_capacity(ARP_BYTES);
    packet.extend(ARP_HEAD);
    packet.extend([0, operation]);
    packet.extend(sender.0);
    packet.extend(sender_address.octets());
    packet.extend(target.0);
    packet.extend(target_address.octets());
    packet
}

/// Whoever says in this packet that `address` is theirs, or asks for it as we do to take it (RFC 5227, section 2.1.1); never ourselves.
pub(super) fn arp_conflict(packet: &[u8], own: Mac, address: Ipv4Addr) -> Option<Mac> {
    let packet = packet.get(..ARP_BYTES).filter(|packet| packet.starts_with(&ARP_HEAD))?;
    let mac = Mac(packet[8..14].try_into().ok()?);
    let sender: [u8; 4] = packet[14..18].try_into().ok()?;
    let target: [u8; 4] = packet[24..28].try_into().ok()?;
    let is_probe = packet[7] == REQUEST && sender == [0; 4] && target == address.octets();
    (mac != own && (sender == address.octets() || is_probe)).then_some(mac)
}

/// An unsolicited neighbour advertisement that overrides what neighbours have. The kernel adds the checksum. Source: RFC 4861, sections
/// 4.4 and 7.2.6.
pub(super) fn neighbour_advertisement(own: Mac, address: Ipv6Addr) -> Vec<u8> {
    const ADVERTISEMENT: u8 = 136;
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_LAYER: u8 = 2;
    let mut packet = vec![ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    packet.extend(address.octets());
    packet.extend([TARGET_LINK_LAYER, 1]);
    packet.extend(own.0);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);

    #[test]
    fn packets_are_as_the_rfcs_draw_them() {
        let probe = arp_probe(OWN, ADDRESS);
        assert_eq!(probe[..14], [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(probe[14..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 50]);
        let [request, reply] = arp_announcements(OWN, ADDRESS);
        assert_eq!((request[7], reply[7]), (1, 2));
        for packet in [request, reply] {
            assert_eq!((packet.len(), &packet[14..18], &packet[24..28]), (28, &[10, 0, 0, 50][..], &[10, 0, 0, 50][..]));
        }
        let advertisement = neighbour_advertisement(OWN, "fd00::50".parse().unwrap());
        assert_eq!((advertisement.len(), advertisement[0], advertisement[4]), (32, 136, 0x20));
        assert_eq!(Mac([0xa, 0, 0, 0, 0xff, 1]).to_string(), "0a:00:00:00:ff:01");
    }

    #[test]
    fn only_others_who_claim_the_address_are_in_the_way() {
        let conflict = |packet: &[u8]| arp_conflict(packet, OWN, ADDRESS);
        assert_eq!(conflict(&arp(REPLY, OTHER, ADDRESS, OWN, Ipv4Addr::UNSPECIFIED)), Some(OTHER));
        assert_eq!(conflict(&arp(REQUEST, OTHER, ADDRESS, BROADCAST, Ipv4Addr::new(10, 0, 0, 1))), Some(OTHER));
        assert_eq!(conflict(&arp_probe(OTHER, ADDRESS)), Some(OTHER));
        // Somebody who only looks for it, ourselves, another's answer, and what is no ARP.
        assert_eq!(conflict(&arp(REQUEST, OTHER, Ipv4Addr::new(10, 0, 0, 1), BROADCAST, ADDRESS)), None);
        assert_eq!(conflict(&arp_probe(OWN, ADDRESS)), None);
        assert_eq!(conflict(&arp(REPLY, OTHER, Ipv4Addr::new(10, 0, 0, 51), OWN, ADDRESS)), None);
        assert_eq!(conflict(&[0; 28]), None);
        assert_eq!(conflict(&arp_probe(OTHER, ADDRESS)[..27]), None);
    }
}
