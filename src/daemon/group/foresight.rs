//! What a node says before something happens: what starts would change, and the records that they would go by.

use standin_common::id::{NodeName, ResourceName};
use standin_common::words::sentence;
use standin_config::group::Group;
use standin_failover::group::decide::Wish;
use standin_failover::group::facts::Facts;
use standin_failover::group::perform::Local;
use standin_failover::group::plan::Plan;
use standin_failover::preflight::Grade;
use standin_failover::resource::hook;

use super::asked::{Checked, Foreseen, Refused, Told};
use super::directory::{Office, Question};
use crate::control::FailedKind;

/// What the starts of all resources here would change outside this node.
pub(super) fn foresee(local: &Local, from: Option<&NodeName>) -> Vec<Foreseen> {
    let parts = local.group().resources.iter();
    let of = |name| {
        let what = local.resources().get(name)?.foresee(from).map_err(|trouble| trouble.to_string()).transpose()?;
        Some(Foreseen { resource: name.clone(), what })
    };
    parts.filter_map(|part| of(&part.name)).collect()
}

/// Where the settings of a group differ between this node and the first other one that answers; `None` if they do not.
pub(super) fn compare(written: &Group, here: &NodeName, facts: &Facts) -> Option<String> {
    let others = written.by_priority().into_iter().filter(|node| *node != here);
    let (there, view) = others.filter_map(|node| Some((node, facts.view(node)?))).find(|(_, view)| !view.settings.is_empty())?;
    let differences = written.unlike(&view.settings);
    (!differences.is_empty())
        .then(|| format!("they differ between {here} (here) and {there} (there): {}", differences.join("; ")))
}

/// Refuses what nobody is in a hurry for, if it is known beforehand that a start here would fail: services would be down for nothing.
pub(super) fn refuse_blind(written: &Group, local: &Local, facts: &Facts, plan: &Plan, wish: &Wish) -> Result<(), Refused> {
    if !matches!(wish, Wish::Handoff { force: false, .. } | Wish::Failback) || plan.to() != Some(local.node()) {
        return Ok(());
    }
    let refused = |why: String| {
        let text = format!("{} Nothing was stopped; `standin group check {}` looks again", sentence(&why), written.name);
        Err(Refused::new(FailedKind::Refused, text))
    };
    if let Some(why) = compare(written, local.node(), facts) {
        return refused(format!("settings of the group that have to be the same are not: {why}"));
    }
    let blind = foresee(local, plan.from.as_ref()).into_iter().find_map(|one| Some((one.resource, one.what.err()?)));
    let blind = blind.or_else(|| failing(local).next());
    blind.map_or(Ok(()), |(resource, why)| refused(format!("the start of {resource} on {} would fail: {why}", local.node())))
}

/// What is run in an emergency, or for practice, and is not on this node.
pub(super) fn missing_programs(written: &Group) -> Vec<Checked> {
    missing_hooks(written).map(|(of, missing)| Checked::program(of, missing)).collect()
}

/// The group's own commands whose programs cannot be run on this node, each with its key in the settings.
pub(crate) fn missing_hooks(written: &Group) -> impl Iterator<Item = (&'static str, hook::Missing)> {
    let hooks = [("fence", &written.fence), ("drill", &written.drill), ("alert", &written.alert.command)];
    hooks.into_iter().filter_map(|(of, command)| Some((of, hook::missing(command.as_ref()?)?)))
}

/// What a start here could not do without, and lacks.
fn failing(local: &Local) -> impl Iterator<Item = (ResourceName, String)> {
    let parts = local.group().resources.iter().filter(|part| !part.optional);
    let findings = |name: &ResourceName| local.resources().get(name).map(|resource| resource.check()).unwrap_or_default();
    parts.flat_map(move |part| {
        let fails = findings(&part.name).into_iter().filter(|finding| finding.grade == Grade::Fail);
        fails.map(|finding| (part.name.clone(), format!("{} ({})", finding.what, finding.mend)))
    })
}

/// Answers another node about records of the directory.
pub(super) fn records(office: Option<&Office>, question: Question) -> Result<Told, Refused> {
    let none = || Refused::new(FailedKind::Refused, "this group moves nothing in the directory, by the settings of this node");
    let answer = office.ok_or_else(none)?.answer(question);
    answer.map(Told::Records).map_err(|why| Refused::new(FailedKind::Failed, why))
}

/// Fetches what other nodes have; whether all of them could be asked.
pub(super) fn collect(office: &Office) -> bool {
    office.collect(None).into_iter().all(|(node, done)| match done {
        Ok(()) => true,
        Err(why) => {
            tracing::debug!(%node, %why, "its records of the directory are not known yet");
            false
        }
    })
}
