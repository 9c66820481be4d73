//! The tested files, and the trait that they are behind.

use super::{Condition, Step, Trouble};

#[path = "../../../failover/src/resource/service/windows.rs"]
#[allow(unused_imports)]
mod platform;
#[path = "../../../failover/src/resource/service/scm.rs"]
mod scm;

use scm::{Control, Process};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) condition: Condition,
    pub(crate) starts_with_system: Option<bool>,
}

pub(crate) trait Manager: Send + Sync {
    fn standing(&self, service: &str) -> Result<Standing, Trouble>;
    fn start(&self, service: &str, step: &dyn Step) -> Result<(), Trouble>;
    fn stop(&self, service: &str, step: &dyn Step) -> Result<(), Trouble>;
    fn kill(&self, service: &str) -> Result<(), Trouble>;
    fn set_start_up(&self, service: &str, with_system: bool, step: &dyn Step) -> Result<(), Trouble>;
}

/// The manager of this machine.
pub(crate) fn manager() -> impl Manager {
    platform::manager()
}

/// What runs and depends on a service, as far as the system tells.
pub(crate) fn dependents(service: &str) -> Vec<String> {
    platform::ControlManager.dependents(service).unwrap()
}

/// The services that live in the process of this one; none if it has no process.
pub(crate) fn tenants(service: &str) -> Vec<String> {
    let process = platform::ControlManager.process(service).unwrap();
    process.map_or_else(Vec::new, |process| {
        assert!(!process.is_shared() && !process.has_ended().unwrap());
        platform::ControlManager.tenants(&process).unwrap()
    })
}

/// Ends the process of a service, as a fault of it would.
pub(crate) fn end_process(service: &str) {
    platform::ControlManager.process(service).unwrap().unwrap().end().unwrap();
}
