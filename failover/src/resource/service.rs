//! Services: in order, with optional ones, by the system's service manager or by commands.
//!
//! systemd is spoken to through `systemctl`, not over D-Bus: a client of D-Bus in Rust brings some fifty crates and a runtime of its own,
//! `systemctl` is wherever systemd is, and it also works where the bus does not.

#[cfg_attr(target_os = "linux", path = "service/linux.rs")]
#[cfg_attr(windows, path = "service/windows.rs")]
mod platform;
mod restarts;
#[cfg(any(windows, test))]
mod scm;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName, ResourceName};
use standin_config::group::{Command, Service, ServiceControl, StartUp};

use super::{Condition, Memo, Resource, Step, Trouble, command};
use crate::preflight::Finding;

pub use restarts::Restarts;

/// How a service stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    /// Whether it runs.
    condition: Condition,
    /// Whether it starts with the system; `None` where that is not for us to say (static units, generated ones).
    starts_with_system: Option<bool>,
}

/// The system's manager of services.
trait Manager: Send + Sync {
    /// How it stands. A service that is not there is a trouble.
    fn standing(&self, service: &str) -> Result<Standing, Trouble>;

    /// Starts it, and waits for that.
    fn start(&self, service: &str, step: &dyn Step) -> Result<(), Trouble>;

    /// Stops it, and waits for that.
    fn stop(&self, service: &str, step: &dyn Step) -> Result<(), Trouble>;

    /// Ends all its processes at once, and starts nothing in their place.
    fn kill(&self, service: &str) -> Result<(), Trouble>;

    /// Lets it start with the system, or not.
    fn set_start_up(&self, service: &str, with_system: bool, step: &dyn Step) -> Result<(), Trouble>;
}

/// Makes the resource of these settings.
pub(super) fn build(name: ResourceName, service: Service, group: &GroupName, node: &NodeName) -> Box<dyn Resource> {
    match service.control {
        ServiceControl::System { services, optional, start_up } => {
            Box::new(SystemServices { manager: platform::manager(), services, optional, start_up })
        }
        ServiceControl::Commands { start, stop, state } => {
            let always = [
                ("STANDIN_GROUP", group.to_string()),
                ("STANDIN_NODE", node.to_string()),
                ("STANDIN_RESOURCE", name.to_string()),
            ];
            let always = always.map(|(name, value)| (name.to_owned(), value)).to_vec();
            Box::new(CommandService { name, start, stop, state, always })
        }
    }
}

/// What is remembered of services: those that started with the system before the group took them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    started_with_system: Vec<String>,
}

/// Services of the system's manager.
struct SystemServices<M> {
    manager: M,
    services: Vec<String>,
    optional: Vec<String>,
    start_up: StartUp,
}

impl<M: Manager> SystemServices<M> {
    fn is_optional(&self, service: &str) -> bool {
        self.optional.iter().any(|optional| optional == service)
    }

    /// From now on only the group starts them: a machine that comes back must not have them running beside those of the other node.
    fn take_start_up(&self, step: &dyn Step) -> Result<(), Trouble> {
        let mut standing = BTreeMap::new();
        for service in &self.services {
            match self.manager.standing(service) {
                Ok(stands) => drop(standing.insert(service.clone(), stands.starts_with_system)),
                Err(_) if self.is_optional(service) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let ours: Vec<String> = standing.into_iter().filter(|(_, with)| *with == Some(true)).map(|(name, _)| name).collect();
        if ours.is_empty() {
            return Ok(());
        }
        if step.memo().is_none() {
            keep(step, &Before { started_with_system: ours.clone() })?;
        }
        for service in &ours {
            step.tell(format_args!("service {service}: it does not start with the system any more, only with the group"));
            self.manager.set_start_up(service, false, step)?;
        }
        Ok(())
    }
}

fn keep(step: &dyn Step, before: &Before) -> Result<(), Trouble> {
    let value = serde_json::to_value(before).map_err(std::io::Error::from);
    value.and_then(|value| step.keep(Memo(value))).map_err(|error| {
        let why = format!("how they started cannot be remembered, so nothing was changed: {error}");
        Trouble::new("services", why, "make room in the state directory")
    })
}

impl<M: Manager> Resource for SystemServices<M> {
    fn condition(&self) -> Result<Condition, Trouble> {
        let mut parts = Vec::new();
        for service in &self.services {
            match self.manager.standing(service) {
                Ok(stands) if stands.condition != Condition::Online && self.is_optional(service) => {}
                Ok(stands) => parts.push((service.as_str(), stands.condition)),
                Err(_) if self.is_optional(service) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        // With only optional ones that do not run, there is nothing here.
        Ok(if parts.is_empty() { Condition::Offline } else { Condition::of_parts(parts) })
    }

    fn start(&self, step: &dyn Step) -> Result<(), Trouble> {
        if self.start_up == StartUp::Group {
            self.take_start_up(step)?;
        }
        for service in &self.services {
            let started = match self.manager.standing(service) {
                Ok(stands) if stands.condition == Condition::Online => Ok(()),
                Ok(_) => self.manager.start(service, step),
                Err(trouble) => Err(trouble),
            };
            match started {
                Ok(()) => step.tell(format_args!("service {service}: runs")),
                Err(trouble) if self.is_optional(service) => {
                    step.tell(format_args!("{trouble} (it is optional, so the group goes on)"));
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    fn stop(&self, step: &dyn Step) -> Result<(), Trouble> {
        let mut first = None;
        for service in self.services.iter().rev() {
            let stopped = match self.manager.standing(service) {
                Ok(stands) if stands.condition == Condition::Offline => Ok(()),
                Ok(_) => self.manager.stop(service, step),
                // What is not there does not run.
                Err(_) if self.is_optional(service) => Ok(()),
                Err(trouble) => Err(trouble),
            };
            match stopped {
                Ok(()) => step.tell(format_args!("service {service}: does not run")),
                // Those before it in the list are still stopped: each one less is one less that writes.
                Err(trouble) => {
                    step.tell(format_args!("{trouble}"));
                    first.get_or_insert(trouble);
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn kill(&self) -> Result<bool, Trouble> {
        let killed: Vec<_> = self.services.iter().rev().map(|service| self.manager.kill(service)).collect();
        killed.into_iter().collect::<Result<(), _>>().map(|()| true)
    }

    fn restore(&self, step: &dyn Step) -> Result<(), Trouble> {
        let Some(Memo(value)) = step.memo() else { return Ok(()) };
        let before: Before = serde_json::from_value(value)
            .map_err(|error| Trouble::new("services", format!("what was remembered of them cannot be read: {error}"), ""))?;
        for service in &before.started_with_system {
            self.manager.set_start_up(service, true, step)?;
        }
        Ok(())
    }

    fn check(&self) -> Vec<Finding> {
        let finding = |service: &String| match self.manager.standing(service) {
            Err(trouble) if self.is_optional(service) => Finding::warn("service", trouble.to_string(), "it is optional"),
            Err(trouble) => Finding::fail("service", trouble.to_string(), "install it on this node, or take it off the list"),
            Ok(stands) if stands.starts_with_system == Some(true) && self.start_up == StartUp::Group => Finding::warn(
                "service",
                format!("{service} starts with the system"),
                "the group takes that over when it is first online here; until then, stop it from starting by itself",
            ),
            Ok(_) => Finding::ok("service", format!("{service} is on this node")),
        };
        self.services.iter().map(finding).collect()
    }
}

/// A service by commands.
struct CommandService {
    name: ResourceName,
    start: Command,
    stop: Command,
    state: Command,
    /// What its commands are told, also where they are only to look: a script may serve several nodes.
    always: Vec<(String, String)>,
}

impl CommandService {
    /// Runs a command, and looks whether it came to what was wanted.
    fn to(&self, wanted: Condition, words: &[String], step: &dyn Step) -> Result<(), Trouble> {
        let what = format!("service {}", self.name);
        let mut variables = step.variables();
        variables.extend(self.always.iter().cloned());
        let state = || command::state_of(&self.state, &variables, &what, step);
        // In haste it is not asked first: to stop what does not run changes nothing.
        if step.haste().is_none() && state().is_ok_and(|stands| stands == wanted) {
            return Ok(());
        }
        command::must(words, &variables, &what, step)?;
        loop {
            let stands = state()?;
            if stands == wanted {
                return Ok(());
            }
            if std::time::Instant::now() >= step.deadline() || step.is_cancelled() {
                let why = format!("the command ended well, but then {stands}");
                return Err(Trouble::new(what, why, "look at what the service itself logs"));
            }
            std::thread::sleep(platform::ASK_EVERY);
        }
    }
}

impl Resource for CommandService {
    fn condition(&self) -> Result<Condition, Trouble> {
        command::state(&self.state, &self.always, &format!("service {}", self.name))
    }

    fn start(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.to(Condition::Online, &self.start, step)
    }

    fn stop(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.to(Condition::Offline, &self.stop, step)
    }

    fn check(&self) -> Vec<Finding> {
        let missing = [&self.start, &self.stop, &self.state].into_iter().filter_map(|words| command::missing(words));
        missing.map(|missing| missing.of("service", &self.name)).collect()
    }
}

#[cfg(test)]
mod tests;
