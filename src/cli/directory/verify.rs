//! `standin directory verify`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Value, json};
use standin_failover::directory::Value as Written;
use standin_failover::exchfailover::Outcome;
use standin_failover::execute::{Comparison, Manner, SystemClock, ThreeWay, Tools, compare, verify};

use super::super::{Failure, Scene};
use super::open;
use crate::directory::{Access, Runs, Stop, shown_json, shown_line};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The journal of the run; without it, that of the last run.
    journal: Option<PathBuf>,
    /// How long controllers may take to show it, in seconds.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    #[command(flatten)]
    access: Access,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let (opened, runs) = open(scene, &options.access)?;
    let journal = match &options.journal {
        Some(path) => Runs::named(path)?,
        None => runs.last_or_stop(None)?,
    };
    let (clock, manner, interrupt) = (SystemClock::default(), Manner::default(), AtomicBool::new(false));
    let directory = opened.controllers()?;
    let tools = Tools { directory, clock: &clock, manner: &manner, interrupt: &interrupt, progress: &|_, _| {} };
    let shown = verify(&journal, &tools, Duration::from_secs(options.timeout)).map_err(Stop::from)?;
    let since = compare(&journal, directory).map_err(Stop::from)?;
    let is_right = shown.iter().all(|one| one.is_complete()) && since.differing.is_empty() && since.gone.is_empty();
    let report = json!({
        "same": is_right, "controllers": shown_json(&shown), "as_written": since.as_written, "as_before": since.as_before,
        "differing": since.differing.iter().map(three_ways).collect::<Vec<_>>(), "gone": since.gone,
        "appeared": since.appeared.iter().map(|(store, user)| json!({ "store": store, "mailbox": user })).collect::<Vec<_>>(),
    });
    scene.print(&report, || {
        let mut lines = vec![journal.path().display().to_string()];
        lines.extend(shown.iter().map(shown_line));
        lines.extend(words(&since));
        lines.join("\n")
    })?;
    Ok(ExitCode::from(if is_right { Outcome::Done.code() } else { Outcome::SomeFailed.code() }))
}

fn three_ways(one: &ThreeWay) -> Value {
    json!({ "object": one.object, "attribute": one.attribute, "before": one.before, "written": one.written, "now": one.now })
}

fn words(since: &Comparison) -> Vec<String> {
    let list = |values: &[Written]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut lines = vec![format!("  {} objects are as they were written, {} as before", since.as_written, since.as_before)];
    for one in &since.differing {
        lines.push(format!("  {}: {}", one.object, one.attribute));
        lines.push(format!("    before   {}", list(&one.before)));
        lines.push(format!("    written  {}", one.written.as_deref().map_or("(not written)".to_owned(), list)));
        lines.push(format!("    now      {}", list(&one.now)));
    }
    lines.extend(since.gone.iter().map(|object| format!("  {object} is gone")));
    lines.extend(since.appeared.iter().map(|(store, user)| format!("  new in {}: {user}", store.common_name())));
    lines
}
