//! `standin group pause` and `resume`.

use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use standin_common::id::{GroupName, NodeName};
use standin_failover::group::facts::{Facts, Seen};

use super::{ask, automatic, begin, is_done, status, switch, switched_words};
use crate::cli::show::harmless;
use crate::cli::{Failure, Scene};
use crate::daemon::group::{Ask, MonitorAsk, Told};
use crate::daemon::monitor::Switched;

/// How long a pause is there, for `group show`.
pub(in crate::cli) fn words(since_unix_ms: u64) -> String {
    let since = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(since_unix_ms));
    format!("nothing is done by itself since {since}: `standin group resume` ends it")
}

/// What became of a pause, or of its end.
#[derive(Serialize)]
struct Outcome {
    group: GroupName,
    paused: bool,
    nodes: Vec<Row>,
    /// What became of automatic failover; `None` where it stays as it is.
    automatic: Option<Switch>,
}

#[derive(Serialize)]
struct Row {
    node: NodeName,
    /// Why nothing is different there.
    failed: Option<String>,
}

#[derive(Serialize)]
struct Switch {
    on: bool,
    #[serde(flatten)]
    done: Option<Switched>,
    /// Who is away, and why: so it is not switched on.
    waits_for: Option<(NodeName, String)>,
}

impl Outcome {
    fn is_whole(&self) -> bool {
        let switched = self.automatic.as_ref().is_none_or(|switch| switch.done.as_ref().is_some_and(is_done));
        switched && self.nodes.iter().all(|row| row.failed.is_none())
    }

    fn code(&self) -> ExitCode {
        if self.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(4) }
    }

    fn describe(&self) -> String {
        let group = &self.group;
        let mut text = String::new();
        for Row { node, failed } in &self.nodes {
            text += &match (failed, self.paused) {
                (None, true) => format!("{node}  paused: nothing is done for the group by itself there\n"),
                (None, false) => format!("{node}  looks after the group again\n"),
                (Some(why), _) => format!("{node}  NOT REACHED, say it again when it is back: {}\n", harmless(why)),
            };
        }
        match &self.automatic {
            Some(Switch { on, done: Some(done), .. }) => text += &switched_words(group, *on, done),
            Some(Switch { waits_for: Some((node, _)), .. }) => {
                text += &format!(
                    "automatic failover of {group} stays off, as {node} does not answer: `standin group automatic {group} on` when it is back\n"
                );
            }
            _ => {}
        }
        text
    }
}

/// Automatic failover goes off first: nobody takes the group from whoever works on it.
pub(super) fn pause(scene: &Scene<'_>, group: &GroupName) -> Result<ExitCode, Failure> {
    let switch_off = || Ok::<_, Failure>(Switch { on: false, done: Some(switch(scene, group, false, false)?), waits_for: None });
    let automatic = is_automatic(scene, group)?.then(switch_off).transpose()?;
    let facts = facts(scene, group)?;
    let outcome = Outcome { group: group.clone(), paused: true, nodes: set(scene, group, facts, true), automatic };
    scene.print(&outcome, || outcome.describe())?;
    Ok(outcome.code())
}

/// Not where somebody works on it.
pub(super) fn automatic_on(scene: &Scene<'_>, group: &GroupName) -> Result<ExitCode, Failure> {
    let facts = facts(scene, group)?;
    let paused = facts.iter().flat_map(|facts| facts.there()).find_map(|(node, view)| Some((node.clone(), view.paused_unix_ms?)));
    match paused {
        None => automatic(scene, group, true, false),
        Some((node, since)) => {
            Err(Failure::Refused(format!("group {group} is paused on {node}: {}, and switches this on, too", words(since))))
        }
    }
}

/// What every node says now, if this one has the group.
fn facts(scene: &Scene<'_>, group: &GroupName) -> Result<Option<Facts>, Failure> {
    let all = status(scene, Some(group.clone()))?;
    Ok(all.into_iter().find(|status| status.group == *group).map(|status| status.facts))
}

/// Whether a cutover is not finished, now.
fn is_unfinished(scene: &Scene<'_>, group: &GroupName) -> Result<bool, Failure> {
    let facts = facts(scene, group)?;
    Ok(facts.iter().flat_map(|facts| facts.there()).any(|(_, view)| view.unfinished.is_some()))
}

fn is_automatic(scene: &Scene<'_>, group: &GroupName) -> Result<bool, Failure> {
    let told = ask(scene, group, None, Ask::Monitor(MonitorAsk::Status))?;
    Ok(matches!(told, Told::Monitor(status) if status.view.automatic))
}

/// Ends a pause, switches automatic failover on again, and goes on with a cutover that is not finished. Where there was no pause, there has
/// to be one.
pub(super) fn resume(scene: &Scene<'_>, group: &GroupName) -> Result<ExitCode, Failure> {
    let facts = facts(scene, group)?;
    if !facts.iter().flat_map(|facts| facts.there()).any(|(_, view)| view.paused_unix_ms.is_some()) {
        return begin(scene, group, Ask::Resume, true);
    }
    let waits_for = facts.iter().flat_map(|facts| facts.away()).next().map(|(node, why)| (node.clone(), why.to_owned()));
    let nodes = set(scene, group, facts, false);
    let automatic = match (is_automatic(scene, group)?, waits_for) {
        (false, _) => None,
        (true, Some(node)) => Some(Switch { on: false, done: None, waits_for: Some(node) }),
        (true, None) => Some(Switch { on: true, done: Some(switch(scene, group, true, false)?), waits_for: None }),
    };
    let outcome = Outcome { group: group.clone(), paused: false, nodes, automatic };
    let goes_on = is_unfinished(scene, group)?;
    // For programs there is one document: the report says what they wait for.
    if !(goes_on && scene.json) {
        scene.print(&outcome, || outcome.describe())?;
    }
    match goes_on.then(|| begin(scene, group, Ask::Resume, true)).transpose()? {
        Some(code) if code != ExitCode::SUCCESS => Ok(code),
        _ => Ok(outcome.code()),
    }
}

/// On every node that answers.
fn set(scene: &Scene<'_>, group: &GroupName, facts: Option<Facts>, paused: bool) -> Vec<Row> {
    let one = |(node, seen): (NodeName, Seen)| {
        let done = match seen {
            Seen::Away(why) => Err(why),
            Seen::There(_) => {
                ask(scene, group, Some(node.clone()), Ask::Pause(paused)).map(drop).map_err(|failure| failure.to_string())
            }
        };
        Row { node, failed: done.err() }
    };
    facts.into_iter().flat_map(|facts| facts.nodes).map(one).collect()
}
