//! `standin status`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use standin_common::id::SetName;
use standin_replicator::report::{SetReport, SetState};

use super::{Failure, Scene, bar, show, unexpected};
use crate::control::{Answer, Request};

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The set; by default all.
    set: Option<SetName>,
    /// Show it again each second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    loop {
        let Answer::Status { node, sets } = scene.ask(&Request::Status { set: options.set.clone() })? else {
            return Err(unexpected());
        };
        if options.watch && !scene.json && std::io::stdout().is_terminal() {
            // Home, and clear what is below (ECMA-48).
            print!("\x1b[H\x1b[J");
        }
        let read = scene.print(&serde_json::json!({ "node": node, "sets": sets }), || {
            if sets.is_empty() {
                return format!("node {node}: no sets; write one into {}", scene.config.display());
            }
            sets.iter().map(describe).collect::<Vec<_>>().join("\n")
        })?;
        if !options.watch || !read {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(LOOK);
    }
}

fn describe(report: &SetReport) -> String {
    let state = match report.state {
        SetState::Idle => "idle",
        SetState::Mirroring => "mirroring",
        SetState::Waiting => "waiting for the standby",
        SetState::Paused => "paused",
        SetState::Comparing => "comparing",
        SetState::Empty => "nothing received yet",
        SetState::FirstMirror => "first mirror not finished: nothing to promote",
        SetState::Ready => "ready to be promoted",
        SetState::Receiving => "receiving, and ready to be promoted",
        SetState::Applying => "applying a point, and ready to be promoted",
        SetState::Promoted => "promoted",
        SetState::Bad => "BAD",
    };
    let point = report.point.as_ref().map_or("none yet".to_owned(), |point| {
        format!("{} of {} ({}), {}", point.number, show::time(point.at), show::age(point.at), show::grade(point))
    });
    let path = report
        .peer
        .path
        .as_ref()
        .map_or("not connected".to_owned(), |path| format!("connected at {}, round trip {:.2} ms", path.remote, path.rtt_ms));
    let mut text = format!("set         {} ({} at generation {})\n", report.set, report.role, report.generation);
    text += &format!("state       {state}\n");
    if let Some(trouble) = &report.trouble {
        text += &format!("trouble     {}\n", show::harmless(trouble));
    }
    text += &format!("point       {point}\n");
    if report.mirror.is_some() {
        text += &format!("mirror      {}\n", bar::describe(report));
    }
    if let Some(last) = &report.last_mirror {
        let made = last.point.map_or(String::new(), |point| format!("made point {point} in "));
        text += &format!("last mirror {made}{}\n", show::span(last.seconds));
    }
    text + &format!("peer        {}, {path}\n", report.peer.node)
}
