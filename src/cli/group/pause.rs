//! `standin group pause` and `resume`.

use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use standin_common::id::GroupName;
use standin_failover::group::facts::{Facts, Seen};

use super::{ask, automatic, begin, status};
use crate::cli::{Failure, Scene};
use crate::daemon::group::{Ask, MonitorAsk, Told};

/// How long a pause is there, for `group show`.
pub(in crate::cli) fn words(since_unix_ms: u64) -> String {
    let since = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(since_unix_ms));
    format!("nothing is done by itself since {since}: `standin group resume` ends it")
}

/// Automatic failover goes off first: nobody takes the group from whoever works on it.
pub(super) fn pause(scene: &Scene<'_>, group: &GroupName) -> Result<ExitCode, Failure> {
    if is_automatic(scene, group)? {
        automatic(scene, group, false, false)?;
    }
    set(scene, group, true)
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
    let was_paused = facts.iter().flat_map(|facts| facts.there()).any(|(_, view)| view.paused_unix_ms.is_some());
    let mut ended = if was_paused { set(scene, group, false)? } else { ExitCode::SUCCESS };
    if was_paused && is_automatic(scene, group)? {
        match facts.iter().flat_map(|facts| facts.away()).next() {
            None => drop(automatic(scene, group, true, false)?),
            Some((node, why)) => {
                let value = serde_json::json!({ "automatic": "off", "away": { "node": node, "why": why } });
                scene.print(&value, || {
                    format!(
                        "automatic failover of {group} stays off, as {node} does not answer ({}): `standin group automatic {group} on` when it is back\n",
                        crate::cli::show::harmless(why)
                    )
                })?;
                ended = ExitCode::from(4);
            }
        }
    }
    if !was_paused || is_unfinished(scene, group)? {
        return begin(scene, group, Ask::Resume, true);
    }
    Ok(ended)
}

/// On every node that answers; those that do not are named, and the exit code is 4.
fn set(scene: &Scene<'_>, group: &GroupName, paused: bool) -> Result<ExitCode, Failure> {
    let facts = facts(scene, group)?;
    let mut rows = Vec::new();
    for (node, seen) in facts.into_iter().flat_map(|facts| facts.nodes) {
        let done = match seen {
            Seen::Away(why) => Err(why),
            Seen::There(_) => {
                ask(scene, group, Some(node.clone()), Ask::Pause(paused)).map(drop).map_err(|failure| failure.to_string())
            }
        };
        rows.push((node, done.err()));
    }
    let is_done = rows.iter().all(|(_, failed)| failed.is_none());
    let value: Vec<_> =
        rows.iter().map(|(node, failed)| serde_json::json!({ "node": node, "paused": paused, "failed": failed })).collect();
    let said = if paused { "paused: nothing is done for the group by itself there" } else { "looks after the group again" };
    scene.print(&value, || {
        let line = |(node, failed): &(_, Option<String>)| match failed {
            None => format!("{node}  {said}\n"),
            Some(why) => format!("{node}  NOT REACHED, say it again when it is back: {}\n", crate::cli::show::harmless(why)),
        };
        rows.iter().map(line).collect()
    })?;
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(4) })
}
