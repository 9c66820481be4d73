//! `standin monitor`.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use standin_common::id::GroupName;
use standin_failover::monitor::{PeerView, View, WitnessView};

use super::cutover::ask;
use super::{Failure, Scene, show, unexpected};
use crate::control::{Answer, Request};
use crate::daemon::group::{Answered, Ask, MonitorAsk, Told};
use crate::daemon::monitor::MonitorStatus;

/// How often it is shown with `--watch`.
const WATCH: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<MonitorCommand>,
    /// The group; by default all of this node.
    group: Option<GroupName>,
    /// Show it again and again.
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, clap::Subcommand)]
enum MonitorCommand {
    /// Answer the alerts of a group, on all its nodes. What failed may be tried again.
    Ack {
        /// The group.
        group: GroupName,
    },
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    if let Some(MonitorCommand::Ack { group }) = &options.command {
        let Told::Acknowledged(Answered { count, away }) = ask(scene, group, None, Ask::Monitor(MonitorAsk::Acknowledge))? else {
            return Err(unexpected());
        };
        scene.print(&serde_json::json!({ "answered": count, "away": away }), || {
            let mut text = format!("{} answered\n", show::count(count as u64, "alert"));
            for (node, why) in &away {
                text += &format!(
                    "{node}  not reached ({}): what it tells of stays until it is answered there\n",
                    show::harmless(why)
                );
            }
            text
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        let all = status(scene, options.group.clone())?;
        let shown = scene.print(&all, || match all.is_empty() {
            true => "this node has no group\n".to_owned(),
            false => all.iter().map(describe).collect::<Vec<_>>().join("\n"),
        })?;
        if !options.watch || !shown {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(WATCH);
        if !scene.json {
            scene.print(&(), || "\n".to_owned())?;
        }
    }
}

/// How the groups are watched on this node.
pub(super) fn status(scene: &Scene<'_>, group: Option<GroupName>) -> Result<Vec<MonitorStatus>, Failure> {
    match scene.ask(&Request::Monitor { group })? {
        Answer::Monitors(all) => Ok(all),
        _ => Err(unexpected()),
    }
}

fn span(ms: u64) -> String {
    show::span(ms as f64 / 1000.0)
}

fn ago(ms: Option<u64>) -> String {
    ms.map_or("never".to_owned(), |ms| format!("{} ago", span(ms)))
}

/// A line for `standin status`.
pub(super) fn brief(status: &MonitorStatus) -> String {
    let online = status.view.online.as_ref().map_or("offline".to_owned(), |node| format!("online on {node}"));
    let to_fail = status.view.time_to_fail_ms.map_or(String::new(), |ms| format!(", time to fail {}", span(ms)));
    let alerts: String =
        status.alerts.iter().map(|(_, alert)| format!("ALERT       {}\n", show::harmless(&alert.text))).collect();
    format!("group       {}: {online}{to_fail}\n{alerts}", status.group)
}

fn describe(status: &MonitorStatus) -> String {
    let view = &status.view;
    let mut text = format!("group       {}, watched on {}\n", status.group, status.node);
    text += &format!("online      {}\n", view.online.as_ref().map_or("nowhere".to_owned(), ToString::to_string));
    text += &format!("by itself   {}\n", by_itself(view));
    if view.automatic && !view.takes_over {
        text += &format!("            `standin group automatic {} on` switches it on\n", status.group);
    }
    if let Some(since) = status.paused_unix_ms {
        text += &format!("PAUSED      {}\n", super::group::pause::words(since));
    }
    if let Some(why) = &status.failed {
        text += &format!("FAILED      {}\n", show::harmless(why));
    }
    if let Some(why) = &status.not_finished {
        text += &format!("RUN         {}\n", show::harmless(why));
    }
    if let Some(what) = &status.stray {
        text += &format!("TWICE       {}\n", show::harmless(what));
    }
    if let Some(ms) = view.right_ms {
        text += &format!("right       to serve for another {}\n", span(ms));
    }
    if view.is_down {
        text += "right       none: what was here is stopped until there is one\n";
    }
    if let Some(ms) = view.time_to_fail_ms {
        text += &format!("to fail     {}\n", if ms == 0 { "0: it counts as lost".to_owned() } else { span(ms) });
    }
    if !view.obstacle.is_empty() {
        text += &format!("not now     {}\n", show::harmless(&view.obstacle));
    }
    if let Some(witness) = &view.witness {
        text += &format!("witness     {}\n", witness_words(witness));
    }
    for (_, alert) in &status.alerts {
        let at = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(alert.unix_ms));
        text += &format!("ALERT       {at}: {}\n", show::harmless(&alert.text));
    }
    let rows: Vec<Vec<String>> = view.peers.iter().flat_map(|(node, peer)| rows(node.as_str(), peer)).collect();
    text + &show::table(&["NODE", "PATH", "ANSWERED", "ROUND TRIP", "HEARD"], &rows)
}

fn by_itself(view: &View) -> &'static str {
    match (view.automatic, view.takes_over, view.stands_down) {
        (false, ..) => "no: `failover` is \"manual\", a person decides",
        (true, true, true) => "yes",
        (true, true, false) => "yes, but this node was told not to stop by itself",
        (true, false, true) => "switched off: nobody takes over; whoever is cut off stops still",
        (true, false, false) => "switched off",
    }
}

fn witness_words(witness: &WitnessView) -> String {
    let word = witness.word.as_ref().map_or("no word".to_owned(), |word| {
        format!("{} at generation {}, renewed {} times", word.holder, word.generation, word.renewals)
    });
    let still = witness.still_ms.map_or(String::new(), |ms| format!(", unchanged for {}", span(ms)));
    let trouble = witness.trouble.as_ref().map_or(String::new(), |why| format!("; {}", show::harmless(why)));
    format!("{word}{still}; answered {}{trouble}", ago(witness.seen_ms))
}

fn rows(node: &str, peer: &PeerView) -> Vec<Vec<String>> {
    let row = |(name, path): (&String, &standin_failover::monitor::PathView)| {
        let rtt = path.rtt_ms.map_or(String::new(), |ms| format!("{ms} ms"));
        vec![node.to_owned(), name.clone(), ago(path.answered_ms), rtt, ago(peer.heard_ms)]
    };
    match peer.paths.is_empty() {
        true => vec![vec![node.to_owned(), "none written".to_owned(), String::new(), String::new(), ago(peer.heard_ms)]],
        false => peer.paths.iter().map(row).collect(),
    }
}
