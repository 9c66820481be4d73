//! `standin group`.

pub(super) mod pause;

use std::process::ExitCode;

use standin_common::id::{GroupName, NodeName, RunId};
use standin_config::group::{Template, template};
use standin_failover::group::facts::{Seen, SetView, Stand};
use standin_failover::group::run::report::Report;

use super::cutover::{self, ask, begin};
use super::{Failure, Scene, drill, show, unexpected};
use crate::control::{Answer, Request};
use crate::daemon::group::{Ask, GroupStatus, LastRun, MonitorAsk, Told};
use crate::daemon::monitor::Switched;

#[derive(Debug, clap::Subcommand)]
pub(super) enum GroupCommand {
    /// Show how groups stand, on each of their nodes.
    Show {
        /// The group; by default all of this node.
        group: Option<GroupName>,
    },
    /// Look on each node whether everything is right before the group is needed there. Changes nothing.
    Check {
        /// The group.
        group: GroupName,
    },
    /// Print the settings of a group for a kind of mail server, to be written into the settings of all its nodes.
    Template {
        /// For which: `postfix-dovecot`, `exchange-2003` or `exchange-2007`.
        kind: Template,
        /// The node where the group is at home.
        #[arg(long, default_value = "alpha")]
        home: NodeName,
        /// The node that stands in for it.
        #[arg(long, default_value = "beta")]
        standby: NodeName,
    },
    /// Switch automatic failover off for a while, or on again, on all nodes of the group. It stays so over restarts.
    Automatic {
        /// The group.
        group: GroupName,
        /// `on` or `off`.
        #[arg(action = clap::ArgAction::Set, value_name = "on|off", value_parser = clap::builder::BoolishValueParser::new())]
        on: bool,
        /// Off, although not all nodes answer: somebody made sure that none of those takes over. Otherwise they are named, and the exit code is 4.
        #[arg(long)]
        force: bool,
    },
    /// Do nothing for a group by itself, for maintenance: nothing that ends is started again, no failover, no handoff. Kept over a restart.
    Pause {
        /// The group.
        group: GroupName,
    },
    /// End a pause; go on with the cutover that is not finished.
    Resume {
        /// The group.
        group: GroupName,
    },
    /// Take back the cutover that is not finished, or is being carried out.
    Undo {
        /// The group.
        group: GroupName,
    },
    /// Show the report of a cutover, or of a drill.
    Report {
        /// The group.
        group: GroupName,
        /// The run, which may be a drill; by default the last cutover.
        run: Option<RunId>,
        /// The last drill.
        #[arg(long, conflicts_with = "run")]
        drill: bool,
    },
}

pub(super) fn run(scene: &Scene<'_>, command: &GroupCommand) -> Result<ExitCode, Failure> {
    match command {
        GroupCommand::Show { group } => show_groups(scene, group.clone()),
        GroupCommand::Check { group } => check(scene, group),
        GroupCommand::Template { kind, home, standby } => {
            let text = template(*kind, home, standby);
            scene.print(&serde_json::json!({ "settings": text }), || text.clone())?;
            Ok(ExitCode::SUCCESS)
        }
        GroupCommand::Automatic { group, on: true, force: false } => pause::automatic_on(scene, group),
        GroupCommand::Automatic { group, on, force } => automatic(scene, group, *on, *force),
        GroupCommand::Pause { group } => pause::pause(scene, group),
        GroupCommand::Resume { group } => pause::resume(scene, group),
        GroupCommand::Undo { group } => match begin(scene, group, Ask::Undo, true)? {
            // Taken back is what was asked for.
            code if code == ExitCode::from(1) => Ok(ExitCode::SUCCESS),
            code => Ok(code),
        },
        GroupCommand::Report { group, run, drill } => match run {
            Some(run) if run.as_str().ends_with("-drill") => drill_report(scene, group, Some(run)),
            None if *drill => drill_report(scene, group, None),
            run => report(scene, group, run.clone()),
        },
    }
}

fn automatic(scene: &Scene<'_>, group: &GroupName, on: bool, force: bool) -> Result<ExitCode, Failure> {
    let switched = switch(scene, group, on, force)?;
    scene.print(&switched, || switched_words(group, on, &switched))?;
    // With --force somebody knows better of the rest.
    Ok(if is_done(&switched) || force { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

fn switch(scene: &Scene<'_>, group: &GroupName, on: bool, force: bool) -> Result<Switched, Failure> {
    match ask(scene, group, None, Ask::Monitor(MonitorAsk::Automatic { on, force }))? {
        Told::Switched(switched) => Ok(switched),
        _ => Err(unexpected()),
    }
}

/// Whether it is so on all nodes.
fn is_done(switched: &Switched) -> bool {
    switched.away.is_empty()
}

fn switched_words(group: &GroupName, on: bool, switched: &Switched) -> String {
    let (word, there) = match on {
        true => ("on", "does not take over by itself yet"),
        false => ("off", "may still take over by itself, if the witness lets it"),
    };
    let mut text = format!("automatic failover of {group} is {word}\n");
    for (node, why) in &switched.away {
        text += &format!("{node}  NOT REACHED, and {there}; say it again when it is back: {}\n", show::harmless(why));
    }
    if !on && switched.stands_down {
        text += "so whoever serves and sees neither that node nor the witness stops its services still; --force ends that, too\n";
    }
    text
}

fn status(scene: &Scene<'_>, group: Option<GroupName>) -> Result<Vec<GroupStatus>, Failure> {
    match scene.ask(&Request::GroupStatus { group })? {
        Answer::Groups(groups) => Ok(groups),
        _ => Err(unexpected()),
    }
}

fn show_groups(scene: &Scene<'_>, group: Option<GroupName>) -> Result<ExitCode, Failure> {
    let groups = status(scene, group)?;
    scene.print(&groups, || match groups.is_empty() {
        true => "this node has no group\n".to_owned(),
        false => groups.iter().map(describe).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn describe(status: &GroupStatus) -> String {
    let state = status.facts.newest();
    let online = state.online.as_ref().map_or("nowhere".to_owned(), ToString::to_string);
    let mut text = format!("group       {}\nonline      {online}, generation {}\n", status.group, state.generation);
    if let Some(why) = &status.waits {
        text += &format!("waits       {}\n", show::harmless(why));
    }
    let mut rows = Vec::new();
    for (node, seen) in &status.facts.nodes {
        match seen {
            Seen::Away(why) => {
                rows.push(vec![node.to_string(), String::new(), format!("does not answer: {}", show::harmless(why))])
            }
            Seen::There(view) => {
                if let Some(why) = &view.failed {
                    rows.push(vec![node.to_string(), "FAILED here".to_owned(), show::harmless(why)]);
                }
                if let Some(since) = view.paused_unix_ms {
                    rows.push(vec![node.to_string(), "PAUSED".to_owned(), pause::words(since)]);
                }
                let sets = view.sets.iter().map(|(name, set)| (format!("set {name}"), set_words(node, set)));
                let resources = view.resources.iter().map(|(name, stand)| (name.to_string(), stand_words(stand)));
                rows.extend(sets.chain(resources).map(|(of, how)| vec![node.to_string(), of, how]));
                if !view.state.down.is_empty() {
                    let names: Vec<&str> = view.state.down.iter().map(|name| name.as_str()).collect();
                    let how = format!("a person took it offline; `standin online {}` brings it back", status.group);
                    rows.push(vec![node.to_string(), names.join(", "), how]);
                }
                let claim = view.state.claim.as_ref().filter(|claim| status.facts.view(&claim.runner).is_none());
                if let Some(claim) = claim {
                    let how = format!(
                        "not finished by {}, which does not answer: `standin failover {}` goes on without it",
                        claim.runner, status.group
                    );
                    rows.push(vec![node.to_string(), format!("run {}", claim.run), how]);
                }
                if let Some(unfinished) = &view.unfinished {
                    let how = cutover::unfinished(&status.group, unfinished.running, unfinished.crossed);
                    rows.push(vec![node.to_string(), format!("run {}", unfinished.run), how]);
                }
            }
        }
    }
    text += &show::table(&["NODE", "WHAT", "HOW"], &rows);
    for (word, seen) in [("last", &status.last), ("then", &status.rejoin)] {
        if let Some(LastRun { report, running }) = seen {
            text += &format!("{word:<11} {} {}: {}\n", report.kind, report.run, cutover::end(report, *running));
        }
    }
    text
}

fn stand_words(stand: &Stand) -> String {
    match stand {
        Stand::Online => "online".to_owned(),
        Stand::Offline => "offline".to_owned(),
        Stand::Partly(how) => format!("not well: {}", show::harmless(how)),
        Stand::Unknown(why) => format!("cannot be seen: {}", show::harmless(why)),
    }
}

fn set_words(node: &NodeName, set: &SetView) -> String {
    match set {
        SetView::Unknown(why) => format!("cannot be seen: {}", show::harmless(why)),
        SetView::Known { generation, source, newest, behind_ms, trouble, .. } => {
            let role = if source == node { "source" } else { "standby" };
            let newest = newest.map_or("no point yet".to_owned(), |point| format!("point {point}"));
            let behind = behind_ms.map_or(String::new(), |ms| format!(", {} behind", show::span(ms as f64 / 1000.0)));
            let trouble = if trouble.is_empty() { String::new() } else { format!("; {}", show::harmless(trouble)) };
            format!("{role} at generation {generation}, {newest}{behind}{trouble}")
        }
    }
}

fn check(scene: &Scene<'_>, group: &GroupName) -> Result<ExitCode, Failure> {
    let settings = scene.settings()?;
    let written =
        settings.groups.get(group).ok_or_else(|| Failure::Usage(format!("there is no group {group} in the settings")))?;
    let mut found: Vec<(String, String, String)> = Vec::new();
    // First, as all others are asked through it: that this daemon does not run says nothing about them.
    let own = ask(scene, group, None, Ask::Check)?;
    let here = &settings.node.name;
    for node in written.by_priority() {
        let told = if node == here { Ok(own.clone()) } else { ask(scene, group, Some(node.clone()), Ask::Check) };
        match told {
            Ok(Told::Checked(checked)) => found.extend(checked.into_iter().map(|checked| {
                let mend = if checked.mend.is_empty() { String::new() } else { format!("; {}", checked.mend) };
                (format!("{node} {}", checked.of), checked.grade, format!("{}{mend}", checked.what))
            })),
            Ok(_) => return Err(unexpected()),
            Err(error) => found.push((node.to_string(), "fail".to_owned(), error.to_string())),
        }
    }
    let fails = found.iter().any(|(_, grade, _)| grade == "fail");
    let value: Vec<_> =
        found.iter().map(|(of, grade, what)| serde_json::json!({ "of": of, "grade": grade, "what": what })).collect();
    let line = |(of, grade, what): &(String, String, String)| {
        let grade = if grade == "fail" { "FAIL" } else { grade };
        format!("{grade:<5} {of}: {}\n", show::harmless(what))
    };
    scene.print(&value, || found.iter().map(line).collect())?;
    Ok(if fails { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn report(scene: &Scene<'_>, group: &GroupName, run: Option<RunId>) -> Result<ExitCode, Failure> {
    let found = match &run {
        None => {
            status(scene, Some(group.clone()))?.into_iter().find_map(|status| status.last.map(|last| (last.report, last.running)))
        }
        Some(run) => find(scene, group, run)?,
    };
    let none = || match &run {
        None => Failure::Refused(format!("there was no cutover of group {group} yet")),
        Some(run) => Failure::Refused(format!("no node of group {group} that answers has a cutover {run}")),
    };
    let (report, is_running) = found.ok_or_else(none)?;
    cutover::print(scene, &report, is_running)?;
    Ok(ExitCode::SUCCESS)
}

/// The report of a run, on whichever node has it, and whether it is being carried out.
fn find(scene: &Scene<'_>, group: &GroupName, run: &RunId) -> Result<Option<(Report, bool)>, Failure> {
    let settings = scene.settings()?;
    let written =
        settings.groups.get(group).ok_or_else(|| Failure::Usage(format!("there is no group {group} in the settings")))?;
    Ok(written.nodes.keys().find_map(|node| {
        // A node that does not answer, or has none, is passed over.
        match ask(scene, group, Some(node.clone()), Ask::Report(Some(run.clone()))) {
            Ok(Told::Report { report, running, .. }) => Some((*report, running)),
            _ => None,
        }
    }))
}

fn drill_report(scene: &Scene<'_>, group: &GroupName, run: Option<&RunId>) -> Result<ExitCode, Failure> {
    let none = || Failure::Refused(format!("no node that answers has such a drill of group {group}"));
    let report = drill::find(scene, group, run)?.ok_or_else(none)?;
    scene.print(&report, || drill::describe(&report))?;
    Ok(ExitCode::SUCCESS)
}
