//! Names in DNS that lead to the node which has the group: A and AAAA records of each name, PTR records of the nodes' addresses.
//!
//! Records are changed at the zone's primary server by signed dynamic updates (RFC 2136, RFC 8945), or in the directory (`objects`). Each
//! change says what the records were when they were read, so one by somebody else in between is noticed and not overwritten unseen.
//!
//! A stop changes nothing: while there is no record at all, resolvers would remember that. The next node's start takes the names over.

mod exchange;
mod key;
mod objects;
mod records;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use standin_common::id::NodeName;
use standin_config::group::{Dns, DnsAuthority};

use super::{Condition, Memo, Resource, Step, Trouble};
use crate::directory::Directory;
use crate::preflight::Finding;
use exchange::{DnsError, Primary};
use objects::Objects;
use records::{Change, Names, RrSet, Standing};

/// Longest wait for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// From one attempt to the next, while the server cannot be reached.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// So many changes by somebody else in between are borne; then a person has to look.
const MAX_COLLISIONS: u32 = 3;

/// The records of a zone, as somebody keeps them.
trait Authority: Send + Sync {
    /// Whether what a change needs on this node is there.
    fn is_ready(&self) -> Result<(), DnsError> {
        Ok(())
    }

    /// The records of a name and type, as the primary has them; with no values where there are none.
    fn read(&self, wanted: &RrSet, deadline: Instant) -> Result<RrSet, DnsError>;

    /// Changes records of one zone, all or none, if all still are what they were.
    fn change(&self, zone: &str, changes: &[Change], deadline: Instant) -> Result<(), DnsError>;
}

/// Names that lead to this node while it has the group.
struct DnsResource<A> {
    authority: A,
    names: Names,
}

/// Makes the resource of these settings; `None` for a node that is not the group's, and for zones in the directory.
pub(super) fn build(dns: &Dns, node: &NodeName) -> Option<Box<dyn Resource>> {
    let DnsAuthority::Server { server, key_file, key, algorithm } = &dns.authority else { return None };
    let authority = Primary::new(server, key_file, key.as_deref(), algorithm.as_deref());
    Some(Box::new(DnsResource { authority, names: Names::new(dns, node)? }))
}

/// The same for a zone in the directory.
pub(super) fn build_in_directory(dns: &Dns, node: &NodeName, directory: Arc<dyn Directory>) -> Option<Box<dyn Resource>> {
    Some(Box::new(DnsResource { authority: Objects::new(directory), names: Names::new(dns, node)? }))
}

impl<A: Authority> DnsResource<A> {
    fn what(&self) -> String {
        format!("names {}", self.names.names.join(", "))
    }

    fn trouble(&self, error: DnsError) -> Trouble {
        Trouble::new(self.what(), error.to_string(), error.mend())
    }

    /// The records as they are, in the order of [`Names::wanted`].
    fn read(&self, sets: &[RrSet], deadline: Instant) -> Result<Vec<RrSet>, DnsError> {
        sets.iter().map(|set| self.authority.read(set, deadline.min(Instant::now() + ANSWER_TIME))).collect()
    }

    /// Brings the records to what `goal` makes of how they are. What was there before the first change is kept.
    fn bring(&self, step: &dyn Step, sets: &[RrSet], goal: &dyn Fn(&RrSet) -> RrSet, keeps: bool) -> Result<(), Trouble> {
        let mut collisions = 0;
        loop {
            let done = self.read(sets, step.deadline()).and_then(|now| {
                if keeps && step.memo().is_none() {
                    keep(step, &now)?;
                }
                self.bring_once(step, &now, goal)
            });
            let error = match done {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match &error {
                DnsError::Changed => collisions += 1,
                DnsError::Unreachable(_) => {}
                _ => return Err(self.trouble(error)),
            }
            if collisions >= MAX_COLLISIONS || step.is_cancelled() || Instant::now() + TRY_AGAIN >= step.deadline() {
                return Err(self.trouble(error));
            }
            step.tell(format_args!("{}: {error}; trying again", self.what()));
            std::thread::sleep(TRY_AGAIN);
        }
    }

    fn bring_once(&self, step: &dyn Step, now: &[RrSet], goal: &dyn Fn(&RrSet) -> RrSet) -> Result<(), DnsError> {
        let changes = now.iter().map(|before| Change { before: before.clone(), after: goal(before) });
        let changes: Vec<Change> = changes.filter(|change| !change.is_nothing()).collect();
        let mut zones: Vec<&str> = changes.iter().map(|change| change.before.zone.as_str()).collect();
        zones.dedup();
        for zone in zones {
            let of_zone: Vec<Change> = changes.iter().filter(|change| change.before.zone == zone).cloned().collect();
            let deadline = step.deadline().min(Instant::now() + ANSWER_TIME);
            match self.authority.change(zone, &of_zone, deadline) {
                Ok(()) => of_zone.iter().for_each(|change| tell(step, change)),
                // Mail comes and goes without them; so they are told, and nothing is held up.
                Err(error) if zone != self.names.zone && !matches!(error, DnsError::Changed | DnsError::Unreachable(_)) => {
                    step.tell(format_args!("the reverse zone {zone} stays as it is: {error}; {}", error.mend()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn keep(step: &dyn Step, before: &[RrSet]) -> Result<(), DnsError> {
    let value = serde_json::to_value(before).map_err(std::io::Error::from);
    value.and_then(|value| step.keep(Memo(value))).map_err(|error| DnsError::NotKept(error.to_string()))
}

fn tell(step: &dyn Step, change: &Change) {
    step.tell(format_args!("{change}"));
    // Whoever asked just before the change has the old answer for that long (RFC 1035, section 3.2.1).
    if !change.before.values.is_empty() && change.before.values != change.after.values {
        let until = SystemTime::now() + Duration::from_secs(u64::from(change.before.ttl_s));
        let until = humantime::format_rfc3339_seconds(until);
        step.tell(format_args!("{}: clients may hold the old answer until {until}", change.before.name));
    }
}

impl<A: Authority> Resource for DnsResource<A> {
    fn condition(&self) -> Result<Condition, Trouble> {
        let sets = self.names.sets();
        let now = self.read(&sets, Instant::now() + ANSWER_TIME).map_err(|error| self.trouble(error))?;
        Ok(match self.names.standing(&now) {
            Standing::Ours => Condition::Online,
            Standing::Others => Condition::Offline,
            Standing::Mixed(how) => Condition::Partly(how),
        })
    }

    fn start(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.bring(step, &self.names.sets(), &|before| self.names.wanted(before), true)
    }

    fn stop(&self, step: &dyn Step) -> Result<(), Trouble> {
        step.tell(format_args!("{}: they stay until another node takes them", self.what()));
        Ok(())
    }

    fn restore(&self, step: &dyn Step) -> Result<(), Trouble> {
        let Some(Memo(value)) = step.memo() else { return Ok(()) };
        let kept: Vec<RrSet> = serde_json::from_value(value)
            .map_err(|error| Trouble::new(self.what(), format!("what was remembered cannot be read: {error}"), ""))?;
        let goal = |now: &RrSet| match kept.iter().find(|kept| kept.is_of(now)) {
            // Only what this group wrote is taken back.
            Some(before) if self.names.wanted(before).same_values(now) => before.clone(),
            Some(before) if !before.same_values(now) => {
                step.tell(format_args!("{now} was changed by somebody else, so it stays"));
                now.clone()
            }
            _ => now.clone(),
        };
        self.bring(step, &kept, &goal, false)
    }

    fn check(&self) -> Vec<Finding> {
        let set = self.names.sets().into_iter().next();
        let read = |set: RrSet| self.authority.is_ready().and_then(|()| self.authority.read(&set, Instant::now() + ANSWER_TIME));
        let read = set.map(read);
        vec![match read {
            Some(Err(error)) => Finding::fail("dns", format!("{}: {error}", self.what()), error.mend()),
            Some(Ok(set)) if set.ttl_s > self.names.ttl_s && !set.values.is_empty() => Finding::warn(
                "dns",
                format!("{} may be remembered for {} s, more than the {} s of a takeover", set.name, set.ttl_s, self.names.ttl_s),
                "bring the group online once while all is well: that sets the time",
            ),
            _ => Finding::ok("dns", format!("{}: the zone's primary server answers", self.what())),
        }]
    }
}

#[cfg(test)]
mod tests;
