//! `standin status`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime};

use standin_common::id::{NodeName, SetName};
use standin_config::{Acknowledge, Rate};
use standin_replicator::explain::explain;
use standin_replicator::report::{Lag, LayerReport, SetReport, SetState};

use super::{Failure, Scene, bar, monitor, scrub, show, unexpected};
use crate::control::{Answer, Request};
use crate::daemon::monitor::MonitorStatus;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The set; by default all.
    set: Option<SetName>,
    /// Show it again each second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Say why it is so, what follows from it, and what to do.
    #[arg(long)]
    explain: bool,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    loop {
        let Answer::Status { node, sets } = scene.ask(&Request::Status { set: options.set.clone() })? else {
            return Err(unexpected());
        };
        if options.watch && !scene.json && std::io::stdout().is_terminal() {
            // Home, and clear what is below (ECMA-48).
            print!("\x1b[H\x1b[J");
        } else if options.watch && !scene.json {
            super::print(&format!("-- {}\n", humantime::format_rfc3339_seconds(SystemTime::now())))?;
        }
        let groups = if options.set.is_none() { monitor::status(scene, None)? } else { Vec::new() };
        let read = scene.print(&as_json(&node, &sets, &groups, options.explain)?, || {
            if sets.is_empty() {
                return format!("node {node}: no sets; write one into {}", scene.config.display());
            }
            let describe =
                |report: &SetReport| describe(report) + &if options.explain { explained(report) } else { String::new() };
            sets.iter().map(describe).collect::<Vec<_>>().join("\n")
        })?;
        if !scene.json && !groups.is_empty() {
            super::print(&format!("\n{}", groups.iter().map(monitor::brief).collect::<String>()))?;
        }
        if !options.watch || !read {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(LOOK);
    }
}

fn as_json(
    node: &NodeName,
    sets: &[SetReport],
    groups: &[MonitorStatus],
    with_words: bool,
) -> Result<serde_json::Value, Failure> {
    let mut value = serde_json::to_value(sets).map_err(Failure::failed)?;
    if with_words {
        for (value, report) in value.as_array_mut().into_iter().flatten().zip(sets) {
            value["explained"] = serde_json::to_value(explain(report)).map_err(Failure::failed)?;
        }
    }
    Ok(serde_json::json!({ "node": node, "sets": value, "groups": groups }))
}

fn state(state: SetState) -> &'static str {
    match state {
        SetState::Idle => "idle",
        SetState::Mirroring => "mirroring",
        SetState::Waiting => "waiting for the standby",
        SetState::Paused => "paused",
        SetState::Comparing => "comparing",
        SetState::Following => "following: the standby has what changed, or it is on its way",
        SetState::CatchingUp => "catching up",
        SetState::Disconnected => "disconnected: changes are remembered",
        SetState::Hindered => "HINDERED: the standby does not take what is sent",
        SetState::Held => "HELD until `standin mirror resume`",
        SetState::Lost => "LOST: the standby has no recovery point any more",
        SetState::Retired => "RETIRED: the other node is to take over",
        SetState::Empty => "nothing received yet",
        SetState::FirstMirror => "first mirror not finished: nothing to promote",
        SetState::Ready => "ready to be promoted",
        SetState::Receiving => "receiving, and ready to be promoted",
        SetState::Applying => "applying a point, and ready to be promoted",
        SetState::Promoted => "promoted: nothing is replicated any more",
        SetState::Bad => "BAD",
    }
}

/// What the standby lacks, in one line.
fn lag(lag: &Lag) -> String {
    let age = lag.oldest_seconds.map_or(String::new(), |seconds| format!(", the oldest {} old", show::span(seconds)));
    format!("{}{age}", lag.words())
}

/// The layers, in a line or two.
fn layer(report: &LayerReport) -> String {
    let mut text = match &report.why {
        Some(why) => format!("layer       NOT MOUNTED: {}\n", show::harmless(why)),
        None => {
            let holds = match report.holds {
                0 => "no change was kept out yet".to_owned(),
                _ => format!(
                    "changes were kept out for {:.1} ms at the last point, {:.1} ms at most",
                    report.last_hold_ms, report.longest_hold_ms
                ),
            };
            let stream = report.stream.map_or_else(String::new, |stream| {
                format!(
                    "stream      {} since it began, {} on the standby's disk\n",
                    show::count(stream.operations, "operation"),
                    stream.durable
                )
            });
            format!("layer       over {}; {holds}\n{stream}", show::count(report.roots.len() as u64, "root"))
        }
    };
    if let Some(left) = &report.left {
        let bytes = left.bytes.map_or("whole directories among them".to_owned(), |bytes| format!("{} in all", show::size(bytes)));
        text += &format!("left        {} of an end without goodbye, {bytes}\n", show::count(left.places, "place"));
    }
    text
}

/// What there is only where changes are followed, or only if it is not as usual.
fn following(report: &SetReport) -> String {
    let mut text = String::new();
    if let Some(watch) = &report.watch {
        let why = watch.why.as_ref().map_or(String::new(), |why| format!(" ({})", show::harmless(why)));
        text += &format!("watched by  {}{why}\n", watch.method);
    }
    if let Some(report) = &report.layer {
        text += &layer(report);
    }
    if let Some(behind) = &report.lag {
        text += &format!("lag         {}\n", lag(behind));
    }
    if let Some(report) = report.acknowledge.as_ref().filter(|report| report.acknowledge != Acknowledge::Local) {
        let met = match (report.met.yes, report.met.holds) {
            (_, true) => "HOLDS",
            (true, false) => "met",
            (false, false) => "NOT MET",
        };
        text += &format!("acknowledge {}, {met}: {}\n", report.acknowledge, show::harmless(&report.met.words));
    }
    if let Some(limit) = report.limit.as_ref().filter(|limit| limit.rate != Rate::Unlimited || limit.next.is_some()) {
        let next = limit.next.map_or(String::new(), |next| format!(" until {}, then {}", next.at, next.rate));
        text += &format!("limit       {}{next}\n", limit.rate);
    }
    text
}

fn explained(report: &SetReport) -> String {
    let told = explain(report);
    let lines = [("cause", told.cause), ("consequence", told.consequence), ("next", told.action)];
    lines.map(|(what, text)| format!("{what:<11} {}\n", show::harmless(&text))).concat()
}

fn describe(report: &SetReport) -> String {
    let point = report.point.as_ref().map_or("none yet".to_owned(), |point| {
        format!("{} of {} ({}), {}", point.number, show::time(point.at), show::age(point.at), show::grade(point))
    });
    let path = report
        .peer
        .path
        .as_ref()
        .map_or("not connected".to_owned(), |path| format!("connected at {}, round trip {:.2} ms", path.remote, path.rtt_ms));
    let mut text = format!("set         {} ({} at generation {})\n", report.set, report.role, report.generation);
    text += &format!("state       {}\n", state(report.state));
    if let Some(trouble) = &report.trouble {
        text += &format!("trouble     {}\n", show::harmless(trouble));
    }
    text += &format!("point       {point}\n");
    text += &following(report);
    if report.mirror.is_some() {
        text += &format!("mirror      {}\n", bar::describe(report));
    }
    if let Some(last) = &report.last_mirror {
        let made = last.point.map_or(String::new(), |point| format!("made point {point} in "));
        text += &format!("last mirror {made}{}\n", show::span(last.seconds));
    }
    if let Some(report) = &report.scrub {
        if report.running.is_some() {
            text += &format!("scrub       {}\n", bar::describe_scrub(report));
        } else if let Some(last) = &report.last {
            text += &format!("scrub       {} ({}), {}\n", show::time(last.at), show::age(last.at), scrub::last(last));
        }
    }
    for list in &report.kept_aside {
        text += &format!("kept aside  {}\n", show::harmless(list));
    }
    text + &format!("peer        {}, {path}\n", report.peer.node)
}
