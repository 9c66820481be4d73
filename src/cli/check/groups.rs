//! What hinders this node from taking its part in a group, as far as that shows without the daemon and the other nodes: what
//! `standin group check` looks at here, too.

use std::path::Path;

use standin_config::group::{Group, Kind, MovingAddress, Resource as Written, ServiceControl};
use standin_config::{Settings, line_of};
use standin_failover::group::perform::kept_state;
use standin_failover::preflight::{Finding, Grade};
use standin_failover::resource::{self, Condition, Resource};

use crate::daemon::group::missing_hooks;

/// All of it, each with where it is written.
pub(super) fn problems(config: &Path, settings: &Settings, group: &Group) -> Vec<String> {
    let written = Place { config, group };
    let mut problems = Vec::new();
    if let Some(fault) = group.witness.as_ref().and_then(standin_failover::witness::fault) {
        problems.push(written.at(&["witness"], "witness", &fault, ""));
    }
    for (of, missing) in missing_hooks(group) {
        let keys: &[&str] = if of == "alert" { &["alert", "command"] } else { &[of] };
        problems.push(written.at(keys, &keys.join("."), &missing.what, &missing.mend));
    }
    for (index, part) in group.resources.iter().enumerate() {
        for Finding { what, mend, .. } in findings(settings, group, part) {
            let key = if matches!(part.kind, Kind::Address(_)) { ".interface" } else { "" };
            let keys = ["resources", part.name.as_str(), key.trim_start_matches('.')];
            let keys = if key.is_empty() { &keys[..2] } else { &keys[..] };
            problems.push(written.at(keys, &format!("resources[{index}]{key}"), &what, &mend));
        }
    }
    problems
}

/// Where something is written.
struct Place<'a> {
    config: &'a Path,
    group: &'a Group,
}

impl Place<'_> {
    /// A problem, as those of the settings alone are told.
    fn at(&self, keys: &[&str], key: &str, what: &str, mend: &str) -> String {
        let all = [&["groups", self.group.name.as_str()][..], keys].concat();
        let line = line_of(self.config, &all).map_or(String::new(), |line| format!(":{line}"));
        let mend = if mend.is_empty() { String::new() } else { format!("; {mend}") };
        format!("{}{line}: groups.{}.{key}: {what}{mend}", self.config.display(), self.group.name)
    }
}

/// What is wrong with a resource on this node. Nothing that asks other machines, or the system's services, which may start late.
fn findings(settings: &Settings, group: &Group, part: &Written) -> Vec<Finding> {
    let is_local = match &part.kind {
        Kind::Address(_) | Kind::Share(_) | Kind::Script(_) | Kind::Check(_) => true,
        Kind::Service(service) => matches!(service.control, ServiceControl::Commands { .. }),
        Kind::Volume(_) | Kind::Dns(_) | Kind::Directory(_) => false,
    };
    let built = resource::build(part, &group.name, &settings.node.name);
    let Some(built) = built.ok().filter(|_| is_local) else { return Vec::new() };
    let mut found: Vec<Finding> = built.check().into_iter().filter(|finding| finding.grade == Grade::Fail).collect();
    if let Kind::Address(moving) = &part.kind
        && found.is_empty()
    {
        found.extend(own_address(settings, group, moving, built.as_ref()));
    }
    found
}

/// An address that is here although the group is not: the machine has it by itself, and would lose it when the group leaves.
fn own_address(settings: &Settings, group: &Group, moving: &MovingAddress, built: &dyn Resource) -> Option<Finding> {
    let state = kept_state(&settings.node.state_dir.join("groups").join(group.name.as_str())).ok()?;
    let may_be_here = state.online.as_ref() == Some(&settings.node.name) || state.claim.is_some();
    let is_here = !may_be_here && built.condition().is_ok_and(|condition| condition != Condition::Offline);
    let what = format!("this machine has {} by itself, although the group is not online here", moving.address);
    let mend = "write an address that no node has by itself, or take it out of this machine's network settings";
    is_here.then(|| Finding::fail("address", what, mend))
}
