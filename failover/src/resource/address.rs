//! A floating address: put on an interface of this node if nobody else has it, and told to the neighbours, so that their tables change at
//! once.

#[cfg_attr(target_os = "linux", path = "address/linux.rs")]
mod platform;
mod wire;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Condition, Resource, Step, Trouble};
use crate::preflight::Finding;

use wire::Mac;

/// Questions whether somebody has the address, and how long each is waited for. RFC 5227 would take some six seconds, which are
/// six seconds without mail; on the switched networks of today an answer takes less than one millisecond.
const PROBES: u32 = 3;
const PROBE_WAIT: Duration = Duration::from_millis(200);
/// Tellings that it is here now, since one may be lost, and their distance.
const ANNOUNCEMENTS: u32 = 3;
const ANNOUNCE_EVERY: Duration = Duration::from_millis(100);
/// How often the kernel is asked whether its own check of an IPv6 address is done.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// What to do about an address that is here, but not as the group has it.
const TAKE_AWAY: &str = "take it away there: only the group may set it";

/// An interface of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interface {
    index: u32,
    name: String,
    mac: Option<Mac>,
    is_up: bool,
}

/// An address on an interface of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assigned {
    index: u32,
    address: IpAddr,
    prefix: u8,
    state: State,
}

/// How far an IPv6 address is; one of IPv4 is always ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// The kernel still asks whether somebody has it.
    Tentative,
    /// Somebody has it.
    Duplicate,
}

/// The network as the operating system has it.
trait Network: Send + Sync {
    fn interfaces(&self) -> io::Result<Vec<Interface>>;
    fn addresses(&self) -> io::Result<Vec<Assigned>>;
    /// Puts it there. An address that is there already is no error.
    fn add(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()>;
    /// Takes exactly this one away, and leaves all others. One that is not there is no error.
    fn remove(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()>;
    /// Who else on the interface's network has the address; asks once, and waits so long for an answer.
    fn who_has(&self, interface: &Interface, address: IpAddr, wait: Duration) -> io::Result<Option<Mac>>;
    /// Tells the interface's network that the address is here.
    fn announce(&self, interface: &Interface, address: IpAddr) -> io::Result<()>;
}

/// A floating address on this node.
struct AddressResource<N> {
    network: N,
    address: IpAddr,
    prefix: u8,
    interface: String,
}

/// Makes the resource of an address and the interface of this node.
pub(super) fn build(address: IpAddr, prefix: u8, interface: &str) -> Box<dyn Resource> {
    Box::new(AddressResource { network: platform::Kernel, address, prefix, interface: interface.to_owned() })
}

impl<N> fmt::Display for AddressResource<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {}/{} on {}", self.address, self.prefix, self.interface)
    }
}

fn elsewhere(other: &Assigned) -> String {
    format!("it is on this node already, on interface {} with /{}", other.index, other.prefix)
}

impl<N: Network> AddressResource<N> {
    fn failed(&self, attempt: &'static str) -> impl Fn(io::Error) -> Trouble + '_ {
        move |error| {
            let mend = match error.kind() {
                io::ErrorKind::PermissionDenied => "run the daemon as root, or with CAP_NET_ADMIN and CAP_NET_RAW",
                _ => "",
            };
            Trouble::new(self.to_string(), format!("{attempt}: {error}"), mend)
        }
    }

    fn interface(&self) -> Result<Interface, Trouble> {
        let interfaces = self.network.interfaces().map_err(self.failed("the interfaces cannot be listed"))?;
        let found = interfaces.iter().find(|interface| interface.name == self.interface);
        found.cloned().ok_or_else(|| {
            let names: Vec<_> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
            let mend = format!("name one of {} as its interface", names.join(", "));
            Trouble::new(self.to_string(), "there is no such interface on this node", mend)
        })
    }

    fn here(&self) -> Result<Vec<Assigned>, Trouble> {
        let all = self.network.addresses().map_err(self.failed("the addresses cannot be listed"))?;
        Ok(all.into_iter().filter(|assigned| assigned.address == self.address).collect())
    }

    fn is_ours(&self, assigned: &Assigned, interface: &Interface) -> bool {
        assigned.index == interface.index && assigned.prefix == self.prefix
    }

    fn duplicate(&self, mac: Option<Mac>) -> Trouble {
        let who = mac.map_or("another machine".to_owned(), |mac| format!("the machine with {mac}"));
        let why = format!("{who} has it, so it was not taken");
        Trouble::new(
            self.to_string(),
            why,
            "take it away there; if that is the node that was lost, it is not as lost as it seemed",
        )
    }

    /// IPv4: asks before the address is put here. The kernel does that itself for IPv6, after it is put here.
    fn probe(&self, interface: &Interface, step: &dyn Step) -> Result<(), Trouble> {
        if self.address.is_ipv6() || interface.mac.is_none() {
            return Ok(());
        }
        for _ in 0..PROBES {
            let failed = self.failed("it cannot be asked who has it");
            if let Some(mac) = self.network.who_has(interface, self.address, PROBE_WAIT).map_err(failed)? {
                return Err(self.duplicate(Some(mac)));
            }
            self.go_on(step)?;
        }
        Ok(())
    }

    /// Until the kernel has made sure that nobody has it.
    fn settle(&self, interface: &Interface, step: &dyn Step) -> Result<(), Trouble> {
        loop {
            let here = self.here()?;
            let ours = here.iter().find(|assigned| self.is_ours(assigned, interface));
            match ours.map(|assigned| assigned.state) {
                Some(State::Ready) => return Ok(()),
                Some(State::Tentative) => {}
                Some(State::Duplicate) => {
                    let failed = self.failed("it cannot be taken away");
                    self.network.remove(interface.index, self.address, self.prefix).map_err(failed)?;
                    return Err(self.duplicate(None));
                }
                None => {
                    return Err(Trouble::new(self.to_string(), "it vanished again", "see who else sets addresses on this node"));
                }
            }
            self.go_on(step)?;
            std::thread::sleep(ASK_EVERY);
        }
    }

    fn go_on(&self, step: &dyn Step) -> Result<(), Trouble> {
        if step.is_cancelled() {
            return Err(Trouble::new(self.to_string(), "the run was cancelled", ""));
        }
        if Instant::now() >= step.deadline() {
            return Err(Trouble::new(self.to_string(), "time was up", "see whether the interface has a carrier"));
        }
        Ok(())
    }
}

impl<N: Network> Resource for AddressResource<N> {
    fn condition(&self) -> Result<Condition, Trouble> {
        let interface = self.interface()?;
        let here = self.here()?;
        let Some(ours) = here.iter().find(|assigned| self.is_ours(assigned, &interface)) else {
            return Ok(match here.first() {
                Some(other) => {
                    let where_it_is = format!("{} is on interface {} with /{}", self.address, other.index, other.prefix);
                    Condition::Partly(format!("{where_it_is}, not on {} with /{}", self.interface, self.prefix))
                }
                None => Condition::Offline,
            });
        };
        match ours.state {
            State::Tentative => return Ok(Condition::Partly(format!("{self} is still being checked"))),
            State::Duplicate => return Ok(Condition::Partly(format!("{self} is on another machine, too"))),
            State::Ready if !interface.is_up => return Ok(Condition::Partly(format!("{self}: the interface is down"))),
            State::Ready => {}
        }
        let failed = self.failed("it cannot be asked who has it");
        let other = match (self.address, interface.mac) {
            (IpAddr::V4(_), Some(_)) => self.network.who_has(&interface, self.address, PROBE_WAIT).map_err(failed)?,
            _ => None,
        };
        Ok(other.map_or(Condition::Online, |mac| Condition::Partly(format!("{self} is on the machine with {mac}, too"))))
    }

    fn start(&self, step: &dyn Step) -> Result<(), Trouble> {
        let interface = self.interface()?;
        if !interface.is_up {
            let mend = format!("ip link set {} up", self.interface);
            return Err(Trouble::new(self.to_string(), "the interface is down", mend));
        }
        let here = self.here()?;
        if let Some(other) = here.iter().find(|assigned| !self.is_ours(assigned, &interface)) {
            return Err(Trouble::new(self.to_string(), elsewhere(other), TAKE_AWAY));
        }
        if here.is_empty() {
            self.probe(&interface, step)?;
            let failed = self.failed("it cannot be put there");
            self.network.add(interface.index, self.address, self.prefix).map_err(failed)?;
        }
        self.settle(&interface, step)?;
        for turn in 0..ANNOUNCEMENTS {
            if turn > 0 {
                std::thread::sleep(ANNOUNCE_EVERY);
            }
            let failed = self.failed("the neighbours cannot be told");
            self.network.announce(&interface, self.address).map_err(failed)?;
        }
        step.tell(format_args!("{self}: it is here, and the neighbours were told"));
        Ok(())
    }

    fn stop(&self, step: &dyn Step) -> Result<(), Trouble> {
        let interface = match self.interface() {
            Ok(interface) => interface,
            // Without its interface it cannot be here; that it is nowhere else is looked at all the same.
            Err(trouble) => return if self.here()?.is_empty() { Ok(()) } else { Err(trouble) },
        };
        let failed = self.failed("it cannot be taken away");
        self.network.remove(interface.index, self.address, self.prefix).map_err(failed)?;
        if let Some(left) = self.here()?.first() {
            let why = format!("it is still on interface {} with /{}, where this group did not put it", left.index, left.prefix);
            return Err(Trouble::new(self.to_string(), why, "take it away by hand: ip address del"));
        }
        step.tell(format_args!("{self}: it is not here any more"));
        Ok(())
    }

    fn check(&self) -> Vec<Finding> {
        let finding = match self.interface() {
            Err(trouble) => Finding::fail("address", format!("{}: {}", trouble.what, trouble.why), trouble.mend),
            Ok(interface) if !interface.is_up => {
                Finding::fail("address", format!("{self}: the interface is down"), format!("ip link set {} up", self.interface))
            }
            Ok(interface) => {
                match self.here().map(|here| here.into_iter().find(|assigned| !self.is_ours(assigned, &interface))) {
                    Err(trouble) => Finding::fail("address", format!("{}: {}", trouble.what, trouble.why), trouble.mend),
                    Ok(Some(other)) => Finding::fail("address", format!("{self}: {}", elsewhere(&other)), TAKE_AWAY),
                    Ok(None) => Finding::ok("address", format!("{self}: the interface is there")),
                }
            }
        };
        vec![finding]
    }
}

#[cfg(test)]
mod tests;
