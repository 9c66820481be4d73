//! `standin failover`, `handoff`, `failback`, `online`, `offline`: asked of any node of the group, shown until the end.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use standin_common::id::{GroupName, NodeName, PointNumber, ResourceName, RunId};
use standin_failover::group::decide::{Accept, Heed, Wish};
use standin_failover::group::plan::{Action, Plan, Step};
use standin_failover::group::run::report::{Report, Taken};
use standin_failover::group::run::{End, Way};

use super::interrupt::Interrupt;
use super::{Failure, Scene, bar, show, unexpected};
use crate::control::{Answer, Request};
use crate::daemon::group::{Ask, Foreseen, Told};

/// Exit codes of cutovers, as their help lists them.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, and taken back: everything is as before
  2  the command line or the settings are wrong
  3  refused: not safe, or a person has to act first; nothing was changed
  4  the daemon does not run, or a node that is needed does not answer
  5  not finished: it is tried again by itself, and by `standin group resume`; `standin group undo` takes it back, as long as no set was taken over
  130  Ctrl-C: it is not waited for any more, and goes on";

/// Exit code of a run that is neither done nor taken back.
const NOT_FINISHED: u8 = 5;
/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long the node that carries it out may not answer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Manner {
    /// Print the steps, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Return as soon as it has begun; `standin group report` shows how far it is.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, clap::Args)]
struct Witnessed {
    /// Although the witness does not answer, or names a node that does not. If that node is not off, both will have the group.
    #[arg(long)]
    without_witness: bool,
}

impl Witnessed {
    fn heed(&self) -> Heed {
        if self.without_witness { Heed::Without } else { Heed::Usual }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Failover {
    /// The group.
    group: GroupName,
    /// The node that takes over; by default the first by priority that answers.
    #[arg(long)]
    to: Option<NodeName>,
    /// The recovery point; by default the newest. `standin points` lists them.
    #[arg(long)]
    point: Option<u64>,
    /// How much may be lost, such as `30s`, or `any`, also if nobody knows how much it is. By default whatever is known.
    #[arg(long, value_parser = accept)]
    accept_loss: Option<Accept>,
    /// Although the node that has the group answers: it is stopped there first, and what was not sent yet is lost.
    #[arg(long)]
    force: bool,
    /// Without the group's fence command: you made sure that the lost node is off.
    #[arg(long)]
    without_fence: bool,
    #[command(flatten)]
    witnessed: Witnessed,
    #[command(flatten)]
    manner: Manner,
}

#[derive(Debug, clap::Args)]
pub(super) struct Handoff {
    /// The group.
    group: GroupName,
    /// The node that gets it.
    #[arg(long)]
    to: NodeName,
    /// However much is yet to be sent: services are down until it is.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    manner: Manner,
}

#[derive(Debug, clap::Args)]
pub(super) struct Failback {
    /// The group.
    group: GroupName,
    #[command(flatten)]
    manner: Manner,
}

#[derive(Debug, clap::Args)]
pub(super) struct Online {
    /// The group.
    group: GroupName,
    /// Only this resource, and what it needs.
    resource: Option<ResourceName>,
    /// Although not all nodes can be asked whether it is online there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    witnessed: Witnessed,
    #[command(flatten)]
    manner: Manner,
}

#[derive(Debug, clap::Args)]
pub(super) struct Offline {
    /// The group.
    group: GroupName,
    /// Only this resource, and what needs it.
    resource: Option<ResourceName>,
    #[command(flatten)]
    manner: Manner,
}

fn accept(text: &str) -> Result<Accept, String> {
    if text == "any" {
        return Ok(Accept::Any);
    }
    super::seconds(text).map(|seconds| Accept::AtMost((seconds * 1000.0) as u64))
}

pub(super) fn failover(scene: &Scene<'_>, options: &Failover) -> Result<ExitCode, Failure> {
    let (to, point) = (options.to.clone(), options.point.map(PointNumber));
    let (accept, heed) = (options.accept_loss.unwrap_or_default(), options.witnessed.heed());
    let wish = Wish::Failover { to, point, accept, force: options.force, heed, fenced: options.without_fence };
    run(scene, &options.group, wish, &options.manner)
}

pub(super) fn handoff(scene: &Scene<'_>, options: &Handoff) -> Result<ExitCode, Failure> {
    run(scene, &options.group, Wish::Handoff { to: options.to.clone(), force: options.force }, &options.manner)
}

pub(super) fn failback(scene: &Scene<'_>, options: &Failback) -> Result<ExitCode, Failure> {
    run(scene, &options.group, Wish::Failback, &options.manner)
}

pub(super) fn online(scene: &Scene<'_>, options: &Online) -> Result<ExitCode, Failure> {
    let heed = options.witnessed.heed();
    let wish = Wish::Online { resource: options.resource.clone(), force: options.force, heed };
    run(scene, &options.group, wish, &options.manner)
}

pub(super) fn offline(scene: &Scene<'_>, options: &Offline) -> Result<ExitCode, Failure> {
    run(scene, &options.group, Wish::Offline { resource: options.resource.clone() }, &options.manner)
}

fn run(scene: &Scene<'_>, group: &GroupName, wish: Wish, manner: &Manner) -> Result<ExitCode, Failure> {
    if manner.dry_run {
        let Told::Plan(plan) = ask(scene, group, None, Ask::Plan(wish))? else { return Err(unexpected()) };
        let foreseen = foresee(scene, group, &plan)?;
        scene.print(&dry_run(&plan, &foreseen)?, || steps(&plan) + &show_foreseen(&foreseen))?;
        return Ok(ExitCode::SUCCESS);
    }
    begin(scene, group, Ask::Begin(wish), !manner.no_wait)
}

/// What the starts of a plan would change outside the node that does them. A plan that starts nothing changes nothing there.
fn foresee(scene: &Scene<'_>, group: &GroupName, plan: &Plan) -> Result<Vec<Foreseen>, Failure> {
    let starts: BTreeSet<&ResourceName> = plan.steps.iter().filter_map(started).collect();
    let Some(to) = plan.to().filter(|_| !starts.is_empty()) else { return Ok(Vec::new()) };
    match ask(scene, group, Some(to.clone()), Ask::Foresee { from: plan.from.clone() })? {
        Told::Foreseen(all) => Ok(all.into_iter().filter(|one| starts.contains(&one.resource)).collect()),
        _ => Err(unexpected()),
    }
}

fn started(step: &Step) -> Option<&ResourceName> {
    match &step.action {
        Action::Start(name) => Some(name),
        _ => None,
    }
}

fn dry_run(plan: &Plan, foreseen: &[Foreseen]) -> Result<serde_json::Value, Failure> {
    let mut value = serde_json::to_value(plan).map_err(Failure::failed)?;
    value["foreseen"] = serde_json::to_value(foreseen).map_err(Failure::failed)?;
    Ok(value)
}

/// What starts would change, for people.
pub(super) fn show_foreseen(foreseen: &[Foreseen]) -> String {
    let one = |one: &Foreseen| {
        let text = match &one.what {
            Ok(what) => show::harmless_lines(what.trim_end()),
            Err(why) => format!("cannot be foreseen: {}", show::harmless(why)),
        };
        format!("\n{} would change:\n{text}\n", one.resource)
    };
    foreseen.iter().map(one).collect()
}

/// Asks something about a group.
pub(super) fn ask(scene: &Scene<'_>, group: &GroupName, at: Option<NodeName>, ask: Ask) -> Result<Told, Failure> {
    match scene.ask(&Request::Group { group: group.clone(), at, ask: Box::new(ask) })? {
        Answer::Group(told) => Ok(*told),
        _ => Err(unexpected()),
    }
}

/// Begins a run, or goes on with one, and shows it to its end.
pub(super) fn begin(scene: &Scene<'_>, group: &GroupName, asked: Ask, wait: bool) -> Result<ExitCode, Failure> {
    // From here on: what is asked for may be done although nobody hears of it.
    let interrupt = wait.then(Interrupt::watch).transpose()?;
    let Told::Begun { run, node } = ask(scene, group, None, asked)? else { return Err(unexpected()) };
    let Some(interrupt) = interrupt else {
        scene.print(&serde_json::json!({ "run": run, "node": node }), || format!("{node} carries it out: {run}"))?;
        return Ok(ExitCode::SUCCESS);
    };
    let report = watch(scene, group, (&run, &node), &interrupt)?;
    print(scene, &report, false)?;
    Ok(match report.end {
        Some(End::Finished) => ExitCode::SUCCESS,
        Some(End::TakenBack) => ExitCode::from(1),
        Some(End::GivenOver) | None => ExitCode::from(NOT_FINISHED),
    })
}

/// Waits for the end of a run, and shows at which step it is, where somebody sees it: the report at its end has all of them.
fn watch(
    scene: &Scene<'_>,
    group: &GroupName,
    (run, node): (&RunId, &NodeName),
    interrupt: &Interrupt,
) -> Result<Report, Failure> {
    let line = bar::Line::new(scene.json);
    let mut heard = Instant::now();
    loop {
        if interrupt.is_pressed() {
            let text = format!(
                "it is not waited for any more; {node} goes on with run {run}: `standin group report {group} {run}` shows how far it is, \
                 `standin group undo {group}` takes it back"
            );
            return Err(Failure::Interrupted(text));
        }
        match ask(scene, group, Some(node.clone()), Ask::Report(Some(run.clone()))) {
            Ok(Told::Report { report, running, .. }) => {
                heard = Instant::now();
                let first = report.steps.iter().find(|taken| taken.took_ms.is_none()).or(report.steps.last());
                first.into_iter().for_each(|taken| line.show(step(taken)));
                if !running {
                    return Ok(*report);
                }
            }
            Ok(_) => return Err(unexpected()),
            Err(error @ Failure::Unreachable(_)) if heard.elapsed() > PATIENCE => {
                let text =
                    format!("{error}; run {run} on {node} can be resumed when that daemon runs: `standin group resume {group}`");
                return Err(Failure::Unreachable(text));
            }
            Err(Failure::Unreachable(_)) => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(LOOK);
    }
}

fn step(taken: &Taken) -> String {
    let back = if taken.way == Way::Back { "back: " } else { "" };
    let took = taken.took_ms.map_or("not ended".to_owned(), |ms| show::span(ms as f64 / 1000.0));
    let mut text = format!("{}: {back}{} ({took})", taken.node, taken.what);
    if let Some(why) = &taken.failed {
        text += &format!(": FAILED: {}", show::harmless(why));
    }
    text
}

/// What a plan does, for people.
fn steps(plan: &Plan) -> String {
    let from = plan.from.as_ref().map_or("nowhere".to_owned(), ToString::to_string);
    let to = plan.to().map_or("nowhere".to_owned(), ToString::to_string);
    let mut text = format!("{} of {}: {from} -> {to}, generation {}\n", plan.kind, plan.group, plan.generation());
    for (node, why) in &plan.away {
        text += &format!("{node} does not answer ({}): it must be off\n", show::harmless(why));
    }
    let rows: Vec<Vec<String>> = plan
        .numbered()
        .map(|(id, step)| {
            let after: Vec<String> = step.after.iter().map(|after| after.0.to_string()).collect();
            let after = if after.len() > 6 { format!("{}, ... {}", after[0], after[after.len() - 1]) } else { after.join(", ") };
            vec![id.0.to_string(), step.node.to_string(), step.action.to_string(), after]
        })
        .collect();
    text + &show::table(&["STEP", "NODE", "WHAT", "AFTER"], &rows)
}

/// How a run ended, or that it has not.
pub(super) fn end(report: &Report, is_running: bool) -> String {
    match report.end {
        Some(End::Finished) => "done".to_owned(),
        Some(End::TakenBack) => "taken back: everything is as before".to_owned(),
        Some(End::GivenOver) => "not finished; another run went on from there".to_owned(),
        None => unfinished(&report.group, is_running, report.only_forward),
    }
}

/// How a run stands that has not ended.
pub(super) fn unfinished(group: &GroupName, is_running: bool, only_forward: bool) -> String {
    match (is_running, only_forward) {
        (true, _) => "being carried out".to_owned(),
        (false, true) => format!("NOT FINISHED, and can only go forward: `standin group resume {group}`"),
        (false, false) => format!("NOT FINISHED: `standin group resume {group}` or `standin group undo {group}`"),
    }
}

/// Prints a report.
pub(super) fn print(scene: &Scene<'_>, report: &Report, is_running: bool) -> Result<(), Failure> {
    let mut value = serde_json::to_value(report).map_err(Failure::failed)?;
    value["running"] = is_running.into();
    scene.print(&value, || describe(report, is_running)).map(drop)
}

/// A report, for people.
fn describe(report: &Report, is_running: bool) -> String {
    let node = |node: &Option<NodeName>| node.as_ref().map_or("nowhere".to_owned(), ToString::to_string);
    let end = end(report, is_running);
    let span = |ms: u64| show::span(ms as f64 / 1000.0);
    let mut text = format!(
        "{} of {}  {} -> {}, generation {}\n",
        report.kind,
        report.group,
        node(&report.from),
        node(&report.to),
        report.generation
    );
    text += &format!("run       {}\nend       {end}\ntime      {}\n", report.run, span(report.took_ms));
    if let Some(outage) = report.outage_ms {
        text += &format!("outage    {}\n", span(outage));
    }
    for (set, point) in &report.points {
        text += &format!("set       {set} at point {point}\n");
    }
    if !report.points.is_empty() {
        text += &match report.loss_ms {
            None => "loss      not known\n".to_owned(),
            Some(0) => "loss      none\n".to_owned(),
            Some(ms) => format!("loss      up to {}\n", span(ms)),
        };
    }
    for taken in &report.steps {
        text += &format!("{:>9}  {}\n", format!("+{}", span(taken.at_ms)), step(taken));
        for line in &taken.told {
            text += &format!("           {}\n", show::harmless(line));
        }
    }
    for hint in &report.by_hand {
        text += &format!("look      {}\n", show::harmless(hint));
    }
    text
}
