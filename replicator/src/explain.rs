//! What a state means, in words: why it is so, what follows from it, and what to do. Pure, from a report.

mod scrubbed;

use serde::{Deserialize, Serialize};
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
        format!("{} {}", self.cause, self.action)
    }
}

/// Explains how a set stands on a node.
pub fn explain(report: &SetReport) -> Explained {
    let (cause, consequence, action) = match report.role {
        Role::Source => source(report),
        Role::Standby => standby(report),
    };
    // Sentences, whatever the trouble ended with.
    let sentence = |text: String| if text.ends_with('.') { text } else { text + "." };
    let sentence = |text: String| sentence(text.trim().replace("  ", " "));
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
            format!(
                "`standin set turn {set} --to {standby}` goes on with it; `standin set release {set}` takes it back, if {standby} has not \
                 taken over"
            ),
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
            format!("{}. {}", found.action, action.trim_start_matches("Nothing. ")),
        ),
        None => (cause, consequence, action),
    }
}

fn state_of_standby(report: &SetReport) -> Three {
    let (set, source) = (&report.set, &report.peer.node);
    let promote = format!("If {source} is lost, `standin promote {set}` takes over at the newest point");
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
    report.acknowledge.as_ref().map_or(String::new(), |acknowledge| capital(&acknowledge.met.words) + ".")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acknowledge::Met;
    use crate::report::ScrubFinding;
    use crate::report::{AcknowledgeReport, LimitReport, ScrubReport, WatchReport};
    use standin_common::entry::Time;
    use standin_common::id::{Generation, RootIndex};
    use standin_config::{Acknowledge, Change, Day, LocalTime, OnDisconnect, Reconnect};

    fn report(role: Role, state: SetState) -> SetReport {
        let next = Change { at: LocalTime { day: Day::Mon, minute: 18 * 60 }, in_minutes: 90, rate: Rate::Unlimited };
        let words = "what is acknowledged is on the standby's disk".to_owned();
        let (acknowledge, on_disconnect) = (Acknowledge::Durable, OnDisconnect::Continue);
        SetReport {
            role,
            lag: Some(Lag { changes: 7, directories: 0, bytes: Some(3 << 20), oldest_seconds: Some(2.5) }),
            watch: Some(WatchReport { method: "fanotify".into(), why: None }),
            acknowledge: Some(AcknowledgeReport { acknowledge, on_disconnect, met: Met { yes: true, holds: false, words } }),
            limit: Some(LimitReport { rate: Rate::Limit(2_000_000), next: Some(next) }),
            reconnect: Some(Reconnect::Manual),
            away_seconds: Some(245.0),
            ..SetReport::new("mail".parse().unwrap(), role, Generation(1), state, "beta".parse().unwrap())
        }
    }

    const SOURCE: [SetState; 14] = [
        SetState::Retired,
        SetState::Idle,
        SetState::Mirroring,
        SetState::Waiting,
        SetState::Comparing,
        SetState::Following,
        SetState::CatchingUp,
        SetState::Hindered,
        SetState::Promoted,
        SetState::Lost,
        SetState::Paused,
        SetState::Disconnected,
        SetState::Held,
        SetState::Bad,
    ];
    const STANDBY: [SetState; 7] = [
        SetState::Empty,
        SetState::FirstMirror,
        SetState::Ready,
        SetState::Receiving,
        SetState::Applying,
        SetState::Promoted,
        SetState::Bad,
    ];

    #[test]
    fn every_state_has_words_of_its_own() {
        for (role, states) in [(Role::Source, &SOURCE[..]), (Role::Standby, &STANDBY[..])] {
            let mut causes = Vec::new();
            for state in states {
                for trouble in [None, Some("the disk of beta is full".to_owned())] {
                    let told = explain(&SetReport { trouble: trouble.clone(), ..report(role, *state) });
                    for text in [&told.cause, &told.consequence, &told.action] {
                        assert!(text.len() > 7 && text.ends_with('.') && !text.contains("..") && !text.contains("  "), "{text}");
                    }
                    if trouble.is_none() {
                        causes.push(told.cause);
                    }
                }
            }
            causes.sort();
            causes.dedup();
            assert_eq!(causes.len(), states.len(), "{causes:#?}");
        }
    }

    #[test]
    fn what_a_scrub_found_is_said_beside_what_hinders() {
        let finding = |groups, unreadable: Option<&str>| ScrubFinding {
            root: RootIndex(0),
            path: "store.edb".into(),
            at: Time::default(),
            first_byte: 65_536,
            groups,
            unreadable: unreadable.map(Into::into),
        };
        let told = |findings: Vec<ScrubFinding>, hindered: Option<&str>, state| {
            let finding_count = findings.len() as u64;
            let scrub = Some(ScrubReport { findings, finding_count, ..ScrubReport::default() });
            let report = SetReport { scrub, ..report(Role::Standby, state) };
            let trouble = trouble(hindered.map(Into::into), &report);
            (trouble.clone(), explain(&SetReport { trouble, ..report }))
        };
        assert_eq!(told(vec![], None, SetState::Ready).0, None);
        let (trouble, explained) = told(vec![finding(1, None)], None, SetState::Ready);
        let trouble = trouble.unwrap();
        assert!(trouble.contains("1 group of 64 KiB differs, from byte 65536 on, although"), "{trouble}");
        assert!(explained.cause.contains("store.edb of root 0 is not on this disk") && !explained.cause.contains("promotion"));
        assert!(explained.consequence.contains("wrong after a promotion; older"), "{explained:?}");
        assert!(explained.action.starts_with("`standin verify mail --repair` on beta mends it"), "{explained:?}");
        let (trouble, _) = told(vec![finding(2, Some("gone")), finding(1, None)], Some("the disk is full"), SetState::Ready);
        let trouble = trouble.unwrap();
        assert!(
            trouble.starts_with("the disk is full; and a scrub found that store.edb of root 0 (and 1 file besides) is"),
            "{trouble}"
        );
        assert!(trouble.contains(
            "2 groups of 64 KiB differ, from byte 65536 on, although nothing says that it was written to, and more of it"
        ));
        let (_, promoted) = told(vec![finding(0, Some("gone"))], None, SetState::Promoted);
        assert!(!promoted.action.contains("--repair") && promoted.cause.contains("store.edb"), "{promoted:?}");
        assert!(promoted.action.contains("means of its application"), "{promoted:?}");
    }

    #[test]
    fn what_is_wrong_and_what_to_do_is_said() {
        let told = explain(&report(Role::Source, SetState::CatchingUp));
        assert_eq!(
            told.cause,
            "7 changes of at most 3.00 MiB wait to be sent, the oldest 2.5 s old. The rate is limited to 2 MB/s until mon 18:00."
        );
        assert!(told.consequence.ends_with("What is acknowledged is on the standby's disk."), "{told:?}");
        let away = explain(&report(Role::Source, SetState::Disconnected));
        assert_eq!(away.cause, "beta has not been reached for 4 min 05 s.");
        assert!(away.consequence.contains("7 changes of at most 3.00 MiB so far"), "{away:?}");
        let with = |state, trouble: &str| SetReport { trouble: Some(trouble.into()), ..report(Role::Source, state) };
        let held = explain(&with(SetState::Held, "the root is empty"));
        assert_eq!(held.cause, "the root is empty.");
        assert!(held.action.contains("`standin mirror resume mail`"), "{held:?}");
        let following = explain(&report(Role::Source, SetState::Following));
        assert!(following.cause.starts_with("Fanotify notices changes") && following.action == "Nothing.", "{following:?}");
        // Whatever is wrong is in the cause, and then nobody is told to do nothing.
        for state in SOURCE.into_iter().filter(|state| !matches!(state, SetState::Mirroring | SetState::Comparing)) {
            let told = explain(&with(state, "the disk of beta is full"));
            let is_own = matches!(state, SetState::Promoted | SetState::Lost | SetState::Retired);
            assert!(is_own || told.cause.contains("the disk of beta is full"), "{state:?}: {told:?}");
            assert!(!told.action.starts_with("Nothing"), "{state:?}: {told:?}");
        }
        for state in [SetState::Empty, SetState::Ready, SetState::Applying, SetState::Bad] {
            let told = explain(&SetReport { role: Role::Standby, ..with(state, "the target is not there: mount it") });
            assert!(
                told.cause.ends_with("the target is not there: mount it.") && told.action.starts_with("See to that"),
                "{told:?}"
            );
        }
    }

    #[test]
    fn an_idle_set_says_how_changes_are_to_be_found() {
        let idle = |capture| explain(&SetReport { capture: Some(capture), ..report(Role::Source, SetState::Idle) });
        let (watch, scan) = (idle(Capture::Watch), idle(Capture::Scan));
        assert!(watch.cause.contains("begins with a mirror") && !watch.action.contains("capture"), "{watch:?}");
        assert!(scan.cause.contains("`capture` is \"scan\"") && scan.action.contains("capture = \"watch\""), "{scan:?}");
    }

    #[test]
    fn nobody_is_told_a_size_that_is_not_known() {
        let words = |changes, directories, bytes| Lag { changes, directories, bytes, oldest_seconds: None }.words();
        assert_eq!(words(1, 1, Some(0)), "1 directory with all beneath it");
        assert_eq!(words(3, 1, Some(2048)), "1 directory with all beneath it and 2 changes of at most 2.00 KiB");
        assert_eq!(words(20_000, 2, None), "2 directories with all beneath them and 19998 changes");
        assert_eq!(words(1, 0, Some(5)), "1 change of at most 5 B");
    }
}
