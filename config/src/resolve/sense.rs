//! What a group says in several places, each right by itself, that does not go together.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use standin_common::id::NodeName;

use super::Resolver;
use crate::address::{Address, AddressError};
use crate::group::{Failover, Witness};
use crate::model::{Node, Peer};
use crate::problem::quote;
use crate::raw::groups::RawGroup;
use crate::read::Placed;
use crate::units::print_span;

/// Addresses that nodes have by themselves, as far as they are written as numbers.
pub(super) fn hosts(node: Option<&Node>, peers: &BTreeMap<NodeName, Peer>) -> BTreeMap<IpAddr, NodeName> {
    let own = node.into_iter().flat_map(|node| node.listen.iter().map(|address| (address, &node.name)));
    let others = peers.iter().flat_map(|(name, peer)| peer.addresses.iter().map(move |address| (address, name)));
    own.chain(others).filter_map(|(address, name)| Some((address.host().parse().ok()?, name.clone()))).collect()
}

/// The first and last address of hosts in a network; `None` where all are.
fn hosts_of(address: IpAddr, prefix: u8) -> Option<(IpAddr, IpAddr)> {
    match address {
        // Two ends of a line, or one host, have neither a network nor a broadcast address (RFC 3021).
        IpAddr::V4(address) if prefix < 31 => {
            let hosts = u32::MAX >> prefix;
            let network = address.to_bits() & !hosts;
            Some((Ipv4Addr::from_bits(network + 1).into(), Ipv4Addr::from_bits(network + hosts - 1).into()))
        }
        // The first is every router's (RFC 4291, section 2.6.1); nothing is sent to all.
        IpAddr::V6(address) if prefix < 127 => {
            let hosts = u128::MAX >> prefix;
            let network = address.to_bits() & !hosts;
            Some((Ipv6Addr::from_bits(network + 1).into(), Ipv6Addr::from_bits(network + hosts).into()))
        }
        _ => None,
    }
}

/// Why a host and a port cannot be meant, if it is the port.
pub(super) fn port_fault(host_and_port: &str) -> Option<String> {
    match host_and_port.parse::<Address>() {
        Err(AddressError::Port(port)) => Some(format!("{} is not a port from 1 to 65535", quote(&port))),
        Ok(address) if address.port() == 0 => Some("0 is not a port from 1 to 65535".to_owned()),
        _ => None,
    }
}

impl Resolver<'_> {
    /// Whether an address can be one that moves: a host's, and no node's own.
    pub(super) fn can_float(
        &self,
        written: &Placed<String>,
        (address, prefix): (IpAddr, u8),
        hosts: &BTreeMap<IpAddr, NodeName>,
    ) -> bool {
        if let Some((first, last)) = hosts_of(address, prefix)
            && (address < first || address > last)
        {
            let is_network = address < first;
            let what = if is_network { "the network itself" } else { "everybody in its network (the broadcast address)" };
            let wrong = format!("{} is {what}, not one host", quote(&written.value));
            let instead = format!("write a free address from {first} to {last}, with /{prefix}");
            self.problems.add(written.at, &written.key, wrong, instead);
            return false;
        }
        let Some(node) = hosts.get(&address) else { return true };
        let wrong = format!("{address} is an address of node {node} itself, by which the others reach it, and cannot move");
        let instead = "write another address, which no node has by itself and which clients use";
        self.problems.add(written.at, &written.key, wrong, instead);
        false
    }

    /// Spans with which a group that goes by itself would never do so, or stop without need. ARCHITECTURE.md, "Monitor", has the rule.
    pub(super) fn check_spans(
        &self,
        raw: &RawGroup,
        failover: Failover,
        (heartbeat_ms, accept_loss_ms): (u64, Option<u64>),
        witness: Option<&Witness>,
    ) {
        let Some(lease_ms) = witness.filter(|_| failover == Failover::Automatic).map(Witness::lease_ms) else { return };
        let lease = print_span(lease_ms);
        // That of the directory is as it is.
        let or_lease =
            |how: &str| if matches!(witness, Some(Witness::Etcd(_))) { format!(", or a {how} lease") } else { String::new() };
        let place = |written: &Option<Placed<String>>, key: &str| {
            let lease = raw.witness.as_ref().and_then(|witness| witness.lease.as_ref());
            let own = written.as_ref().or(lease).map(|written| (written.at, written.key.clone()));
            own.unwrap_or_else(|| (raw.name.at, format!("{}.{key}", raw.name.key)))
        };
        if heartbeat_ms.saturating_mul(2) > lease_ms {
            let (at, key) = place(&raw.heartbeat, "heartbeat");
            let wrong = format!(
                "with a heartbeat every {} and a lease of {lease}, one heartbeat that is lost while the witness is silent stops the group",
                print_span(heartbeat_ms)
            );
            let instead = format!("write heartbeat = {:?} or less{}", print_span(lease_ms / 4), or_lease("longer"));
            self.problems.add(at, &key, wrong, instead);
        }
        if let Some(most) = accept_loss_ms.filter(|most| *most < lease_ms) {
            let (at, key) = place(&raw.accept_loss, "accept_loss");
            let wrong = format!(
                "the node that has the group may serve for a lease ({lease}) after it was last heard, so no failover loses {} or less: \
                 none would ever go by itself",
                print_span(most)
            );
            let instead =
                format!("write accept_loss = {:?} or more{}", print_span(lease_ms.saturating_mul(2)), or_lease("shorter"));
            self.problems.add(at, &key, wrong, instead);
        }
    }
}
