//! What a state means, in words: why it is so, what follows from it, and what to do. Pure, from a report.

mod scrubbed;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use standin_common::words::sentence;
use standin_config::{Capture, Rate, Role};

pub use self::scrubbed::{trouble, wrong};
use crate::report::{Lag, SetReport, SetState};
use crate::words::span;

/// A state in words, each a sentence or two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Why it is so.
    pub cause: String,
    /// What follows from it for the standby and for what is written at the source.
    pub consequence: String,
    /// What to do.
    pub action: String,
}

impl Explained {
    /// Why it is so and what to do, for whoever waited in vain.
    pub fn brief(&self) -> String {
        match self.action.as_str() {
            "Nothing." => self.cause.clone(),
            action => format!("{} {action}", self.cause),
        }
    }
}

/// Explains how a set stands on a node.
pub fn explain(report: &SetReport) -> Explained {
    let (cause, consequence, action) = match report.role {
        Role::Source => source(report),
        Role::Standby => standby(report),
    };
    // Sentences, whatever the trouble ended with.
    let sentence = |text: String| sentence(&text.trim().replace("  ", " "));
    Explained { cause: sentence(cause), consequence: sentence(consequence), action: sentence(action) }
}

type Three = (String, String, String);

const SEE_TO_THAT: &str = "See to that; what changes is replicated meanwhile";

fn source(report: &SetReport) -> Three {
    let (set, standby) = (&report.set, &report.peer.node);
    let trouble = |usual: String| report.trouble.clone().unwrap_or(usual);
    match report.state {
        SetState::Idle => idle(report),
        SetState::Mirroring => (
            format!("A mirror is running: both sides are compared, and what differs is sent.{}", pace(report)),
            format!("The standby gets a new recovery point at its end. {}", last_point(report)),
            format!("Nothing; `standin status {set} --watch` shows how far it is"),
        ),
        SetState::Waiting => (
            trouble(format!("{standby} is being dialled.")),
            format!("The mirror that was ordered goes on by itself once {standby} is reached. {}", last_point(report)),
            look_at_link(report),
        ),
        SetState::Comparing => (
            "A verification or dry run is comparing both sides.".into(),
            "It changes nothing; changes at the source wait meanwhile.".into(),
            format!("Nothing; `standin mirror stop {set}` ends it"),
        ),
        SetState::Following => (
            but(format!("{} notices changes, and everything noticed is at {standby} or on its way.", watcher(report)), report),
            format!("{} {}", acknowledged(report), last_point(report)),
            if report.trouble.is_some() { SEE_TO_THAT } else { "Nothing" }.into(),
        ),
        SetState::CatchingUp => (
            but(format!("{}{}", lag(report), pace(report)), report),
            format!("If the source were lost now, {standby} would lack these. {}", acknowledged(report)),
            match report.limit.as_ref().map(|limit| limit.rate) {
                _ if report.trouble.is_some() => SEE_TO_THAT.into(),
                Some(Rate::Pause) => "Nothing, if that is meant; else change `limits` and say `standin reload`".into(),
                _ => "Nothing; if it does not become less, the line or `limit` is too slow for what changes".into(),
            },
        ),
        SetState::Disconnected => (
            trouble(format!("{standby} has not been reached for {}.", span(report.away_seconds.unwrap_or(0.0)))),
            format!("{} {} {}", remembered(report), acknowledged(report), last_point(report)),
            look_at_link(report),
        ),
        SetState::Hindered => (
            trouble(format!("{standby} does not take what is sent; its log says why.")),
            format!(
                "Nothing arrives, and it is tried again and again. {} {} {}",
                remembered(report),
                acknowledged(report),
                last_point(report)
            ),
            format!("See to that; then it goes on by itself. `standin status {set} --explain` on {standby} may say more"),
        ),
        _ => stopped(report),
    }
}

/// A source that does not go on before a person acts.
fn stopped(report: &SetReport) -> Three {
    let (set, standby) = (&report.set, &report.peer.node);
    let trouble = |usual: &str| report.trouble.clone().unwrap_or_else(|| usual.to_owned());
    let resume = format!("`standin mirror resume {set}` lets it go on where it was");
    match report.state {
        SetState::Paused => (
            but("A person paused it.".into(), report),
            format!("Nothing is sent. {} {}", remembered(report), last_point(report)),
            resume,
        ),
        SetState::Held => (
            trouble("The link was lost, and `reconnect` is \"manual\"."),
            format!("Nothing is sent until a person says so. {} {}", remembered(report), last_point(report)),
            format!("See to that; then {resume}"),
        ),
        SetState::Promoted => (
            format!("The replica was promoted: its files belong to the applications on {standby}."),
            "Nothing is sent there any more, and what is written here is replicated nowhere.".into(),
            format!(
                "Make sure that the applications run on one side only; if {standby} is to be the standby again, make it one there, as the \
                 README says, and then `standin mirror start {set}` here"
            ),
        ),
        SetState::Lost => (
            format!("{standby} has no recovery point of the set any more, although it had one."),
            "Nothing is sent until a person says so, and there is nothing to promote.".into(),
            format!(
                "Look on {standby} for what became of its state directory and target; `standin mirror start {set}` makes a new replica \
                 of what is there"
            ),
        ),
        SetState::Retired => (
            format!("This node gave up being the source, for {standby} to take over."),
            "Nothing is sent, and nothing of the set is written here, until it has, or that is taken back.".into(),
            match &report.group {
                Some(group) => format!(
                    "`standin group show {group}` says what became of the cutover: `standin group resume {group}` goes on with it, \
                     `standin group undo {group}` takes it back"
                ),
                None => format!(
                    "`standin set turn {set} --to {standby}` goes on with it; `standin set release {set}` takes it back, if {standby} has \
                     not taken over"
                ),
            },
        ),
        // The states of a standby are none of a source; that would be something that failed.
        _ => (
            trouble("Something failed that must not be passed over; the log says what."),
            format!("Nothing is sent or acknowledged. {}", last_point(report)),
            format!("Mend the cause; then {resume}"),
        ),
    }
}

fn idle(report: &SetReport) -> Three {
    let set = &report.set;
    let consequence = format!("What changes at the source is not replicated. {}", last_point(report));
    let start = format!("`standin mirror start {set}`");
    let (usual, next) = match report.capture {
        Some(Capture::Watch | Capture::Ordered) => (
            "No mirror is running, and nothing watches the roots: that begins with a mirror.",
            format!("{start} begins; from then on what changes is replicated as it comes"),
        ),
        _ => (
            "No mirror is running, and nothing watches the roots (`capture` is \"scan\").",
            format!("{start} mirrors now; `capture = \"watch\"` in the settings replicates changes as they come"),
        ),
    };
    match &report.trouble {
        Some(trouble) => (trouble.clone(), consequence, format!("See to that; then {start} mirrors again")),
        None => (usual.into(), consequence, next),
    }
}

/// What is so, and what is wrong all the same.
fn but(text: String, report: &SetReport) -> String {
    match &report.trouble {
        Some(trouble) => format!("{text} But: {trouble}"),
        None => text,
    }
}

fn standby(report: &SetReport) -> Three {
    let found = wrong(report);
    // What follows and what to do is not told twice.
    let told = match &found {
        Some(found) if report.trouble == trouble(None, report) => {
            SetReport { trouble: Some(found.cause.clone()), ..report.clone() }
        }
        _ => report.clone(),
    };
    let (cause, consequence, action) = state_of_standby(&told);
    match found {
        Some(found) => (
            if cause.contains(&found.cause) { cause } else { format!("{cause} But: {}", found.cause) },
            format!("{consequence} {}", found.consequence),
            format!("{} {}", sentence(&found.action), action.trim_start_matches("Nothing. ")),
        ),
        None => (cause, consequence, action),
    }
}

fn state_of_standby(report: &SetReport) -> Three {
    let (set, source) = (&report.set, &report.peer.node);
    let promote = match &report.group {
        Some(group) => format!(
            "If {source} is lost, `standin failover {group}` takes over at the newest point; if it is not, `standin handoff {group} --to NODE` \
             loses nothing"
        ),
        None => format!("If {source} is lost, `standin promote {set}` takes over at the newest point"),
    };
    let next = || match &report.trouble {
        Some(_) => format!("See to that. {promote}"),
        None => format!("Nothing. {promote}"),
    };
    match report.state {
        SetState::Empty => (
            report.trouble.clone().unwrap_or("Nothing of the set was received yet.".into()),
            "There is nothing to promote.".into(),
            match &report.trouble {
                Some(_) => format!("See to that; then `standin mirror start {set}` on {source} begins"),
                None => format!("`standin mirror start {set}` on {source} begins"),
            },
        ),
        SetState::FirstMirror => (
            but("The first mirror writes the replica in place and has not finished.".into(), report),
            "There is nothing to promote before it has.".into(),
            format!("Wait for it; if it does not go on, see `standin status {set} --explain` on {source}"),
        ),
        SetState::Ready => {
            let text = format!("The replica is at its newest recovery point{}.", connected(report));
            (but(text, report), last_point(report), next())
        }
        SetState::Receiving => (
            but("The next recovery point is being received.".into(), report),
            format!("Until it is complete, the one before stays. {}", last_point(report)),
            next(),
        ),
        SetState::Applying => (
            but("The replica is being taken from one recovery point to another.".into(), report),
            "A crash or promotion meanwhile finishes that first.".into(),
            next(),
        ),
        SetState::Promoted => (
            "The replica was promoted: its files belong to the applications here.".into(),
            format!("Nothing is received from {source} any more, and what is written here is replicated nowhere."),
            "Make sure that the applications run on one side only; README, \"Promote\", says how to make it a standby again"
                .into(),
        ),
        _ => (
            report.trouble.clone().unwrap_or("Something failed that must not be passed over; the log says what.".into()),
            "Nothing is received, and nothing can be promoted, until it is mended.".into(),
            format!(
                "See to that; then it goes on with the next attempt of {source}, and a restart of the daemon here tries it at once"
            ),
        ),
    }
}

fn last_point(report: &SetReport) -> String {
    match &report.point {
        Some(point) => {
            let grade = if point.consistent { "consistent" } else { "one by one" };
            format!("The newest recovery point is {} ({grade}).", point.number)
        }
        None => "There is no recovery point yet, so nothing can be promoted.".into(),
    }
}

fn lag(report: &SetReport) -> String {
    match &report.lag {
        // What was just taken is on its way.
        Some(Lag { changes: 0, .. }) => "The last of what changed is on its way.".into(),
        Some(lag) => {
            let age = lag.oldest_seconds.map(|seconds| format!(", the oldest {} old", span(seconds))).unwrap_or_default();
            let wait = if lag.changes == 1 { "waits" } else { "wait" };
            format!("{} {wait} to be sent{age}.", lag.words())
        }
        None => "Changes wait to be sent.".into(),
    }
}

fn remembered(report: &SetReport) -> String {
    match &report.lag {
        Some(Lag { changes: 0, .. }) => "Nothing has changed meanwhile; what does is remembered.".into(),
        Some(lag) => format!("Changes are remembered, {} so far, and only these are sent then.", lag.words()),
        None => "What differs is found when it goes on; nothing is sent twice.".into(),
    }
}

fn pace(report: &SetReport) -> String {
    let Some(limit) = &report.limit else { return String::new() };
    let until = limit.next.map(|next| format!(" until {}", next.at)).unwrap_or_default();
    match limit.rate {
        Rate::Unlimited => String::new(),
        Rate::Limit(_) => format!(" The rate is limited to {}{until}.", limit.rate),
        Rate::Pause => format!(" The timetable lets nothing be sent{until}."),
    }
}

fn acknowledged(report: &SetReport) -> String {
    report.acknowledge.as_ref().map_or(String::new(), |acknowledge| sentence(&capital(&acknowledge.met.words)))
}

fn watcher(report: &SetReport) -> String {
    let Some(watch) = &report.watch else { return "The daemon".into() };
    let why = watch.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    capital(&format!("{}{why}", watch.method))
}

fn connected(report: &SetReport) -> &'static str {
    if report.peer.path.is_some() { "" } else { ", and the source is not connected" }
}

fn look_at_link(report: &SetReport) -> String {
    let (set, standby) = (&report.set, &report.peer.node);
    format!("Look whether {standby} runs and can be reached over UDP: `standin set check {set}` tries it")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}
