//! What a state means, in words: why it is so, what follows from it, and what to do. Pure, from a report.

use serde::{Deserialize, Serialize};
use standin_config::{Rate, Role};

use crate::report::{Lag, ScrubFinding, SetReport, SetState};
use crate::words::{count, size, span};

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

/// Explains how a set stands on a node.
pub fn explain(report: &SetReport) -> Explained {
    let (cause, consequence, action) = match report.role {
        Role::Source => source(report),
        Role::Standby => standby(report),
    };
    // Sentences, whatever the trouble ended with.
    let sentence = |text: String| if text.ends_with('.') { text } else { text + "." };
    Explained { cause: sentence(cause), consequence: sentence(consequence), action: sentence(action) }
}

type Three = (String, String, String);

fn source(report: &SetReport) -> Three {
    let (set, standby) = (&report.set, &report.peer.node);
    let trouble = |usual: String| report.trouble.clone().unwrap_or(usual);
    let resume = format!("`standin mirror resume {set}` lets it go on where it was");
    match report.state {
        SetState::Idle => (
            trouble("No mirror is running, and nothing watches the roots (`capture` is \"scan\").".into()),
            format!("What changes at the source is not replicated. {}", last_point(report)),
            format!(
                "`standin mirror start {set}` mirrors now; `capture = \"watch\"` in the settings replicates changes as they come"
            ),
        ),
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
            format!("{} notices changes, and everything noticed is at {standby} or on its way.", watcher(report)),
            format!("{} {}", acknowledged(report), last_point(report)),
            "Nothing".into(),
        ),
        SetState::CatchingUp => (
            format!("{}{}", lag(report), pace(report)),
            format!("If the source were lost now, {standby} would lack these. {}", acknowledged(report)),
            match report.limit.as_ref().map(|limit| limit.rate) {
                Some(Rate::Pause) => "Nothing, if that is meant; else change `limits` and say `standin reload`".into(),
                _ => "Nothing; if it does not become less, the line or `limit` is too slow for what changes".into(),
            },
        ),
        SetState::Paused => (
            trouble("A person paused it.".into()),
            format!("Nothing is sent. {} {}", remembered(report), last_point(report)),
            resume,
        ),
        SetState::Disconnected => (
            trouble(format!("{standby} has not been reached for {}.", span(report.away_seconds.unwrap_or(0.0)))),
            format!("{} {} {}", remembered(report), acknowledged(report), last_point(report)),
            look_at_link(report),
        ),
        SetState::Held => (
            trouble("The link was lost, and `reconnect` is \"manual\".".into()),
            format!("Nothing is sent until a person says so. {} {}", remembered(report), last_point(report)),
            format!("See to the cause; then {resume}"),
        ),
        // The states of a standby are none of a source; that would be something that failed.
        SetState::Bad
        | SetState::Empty
        | SetState::FirstMirror
        | SetState::Ready
        | SetState::Receiving
        | SetState::Applying
        | SetState::Promoted => (
            trouble("Something failed that must not be passed over; the log says what.".into()),
            format!("Nothing is sent or acknowledged. {}", last_point(report)),
            format!("Mend the cause; then {resume}"),
        ),
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

/// What scrubs found wrong, in words; `None` if all of it is right, as far as that is known.
pub fn wrong(report: &SetReport) -> Option<Explained> {
    let scrub = report.scrub.as_ref()?;
    let first = scrub.findings.first()?;
    let others = match scrub.finding_count {
        0 | 1 => String::new(),
        more => format!(" (and {} besides)", count(more - 1, "file")),
    };
    let cause = format!(
        "a scrub found that {} of root {}{others} is not on this disk as it was received: {}. The disk or the memory is at fault, or \
         somebody wrote past the file system",
        first.path,
        first.root.0,
        differing(first)
    );
    let (consequence, action) = match report.state {
        // Its files are not ours to mend.
        SetState::Promoted => (
            "It was promoted with that file, unless something has written it anew since.",
            "Check the file with the means of its application, and look to the disk".to_owned(),
        ),
        _ => (
            "The file would be wrong after a promotion; older recovery points may be, too.",
            format!("`standin verify {} --repair` on {} mends it; then look to the disk", report.set, report.peer.node),
        ),
    };
    Some(Explained { cause, consequence: consequence.to_owned(), action })
}

fn differing(found: &ScrubFinding) -> String {
    let at = found.first_byte;
    let groups = format!(
        "{} of 64 KiB differ{}, from byte {at} on",
        count(found.groups, "group"),
        if found.groups == 1 { "s" } else { "" }
    );
    let nothing_says = "although nothing says that it was written to";
    match &found.unreadable {
        None => format!("{groups}, {nothing_says}"),
        Some(why) if found.groups == 0 => format!("it cannot be read from byte {at} on ({why})"),
        Some(why) => format!("{groups}, {nothing_says}, and more of it cannot be read ({why})"),
    }
}

/// What is wrong with a standby, in one text: what hinders it, and what its scrubs found.
pub fn trouble(hindered: Option<String>, report: &SetReport) -> Option<String> {
    let found = wrong(report).map(|Explained { cause, consequence, action }| format!("{cause}. {consequence} {action}"));
    let both: Vec<_> = hindered.into_iter().chain(found).collect();
    if both.is_empty() { None } else { Some(both.join("; and ")) }
}

fn state_of_standby(report: &SetReport) -> Three {
    let (set, source) = (&report.set, &report.peer.node);
    let promote = format!("If {source} is lost, `standin promote {set}` takes over at the newest point");
    let with_trouble = |text: String| match &report.trouble {
        Some(trouble) => format!("{text} But: {trouble}"),
        None => text,
    };
    match report.state {
        SetState::Empty => (
            report.trouble.clone().unwrap_or("Nothing of the set was received yet.".into()),
            "There is nothing to promote.".into(),
            format!("`standin mirror start {set}` on {source} begins"),
        ),
        SetState::FirstMirror => (
            "The first mirror writes the replica in place and has not finished.".into(),
            "There is nothing to promote before it has.".into(),
            format!("Wait for it; if it does not go on, see `standin status {set} --explain` on {source}"),
        ),
        SetState::Ready => {
            let text = format!("The replica is at its newest recovery point{}.", connected(report));
            (with_trouble(text), last_point(report), format!("Nothing. {promote}"))
        }
        SetState::Receiving => (
            with_trouble("The next recovery point is being received.".into()),
            format!("Until it is complete, the one before stays. {}", last_point(report)),
            format!("Nothing. {promote}"),
        ),
        SetState::Applying => (
            with_trouble("The replica is being taken from one recovery point to another.".into()),
            "A crash or promotion meanwhile finishes that first.".into(),
            format!("Nothing. {promote}"),
        ),
        SetState::Promoted => (
            "The replica was promoted: its files belong to the applications here.".into(),
            format!("Nothing is received from {source} any more, and what is written here is replicated nowhere."),
            "Make sure that the applications run on one side only; the README says how to make it a standby again".into(),
        ),
        _ => (
            report.trouble.clone().unwrap_or("Something failed that must not be passed over; the log says what.".into()),
            "Nothing is received or acknowledged until it is mended.".into(),
            "Mend the cause; then restart the daemon, which tries it again".into(),
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
        Some(Lag { changes, bytes, oldest_seconds }) => {
            let age = oldest_seconds.map(|seconds| format!(", the oldest {} old", span(seconds))).unwrap_or_default();
            format!("{} of at most {} wait to be sent{age}.", count(*changes, "change"), size(*bytes))
        }
        None => "Changes wait to be sent.".into(),
    }
}

fn remembered(report: &SetReport) -> String {
    match &report.lag {
        Some(Lag { changes: 0, .. }) => "Nothing has changed meanwhile; what does is remembered.".into(),
        Some(Lag { changes, bytes, .. }) => {
            let so_far = format!("{} of at most {} so far", count(*changes, "change"), size(*bytes));
            format!("Changes are remembered, {so_far}, and only these are sent then.")
        }
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
            lag: Some(Lag { changes: 7, bytes: 3 << 20, oldest_seconds: Some(2.5) }),
            watch: Some(WatchReport { method: "fanotify".into(), why: None }),
            acknowledge: Some(AcknowledgeReport { acknowledge, on_disconnect, met: Met { yes: true, words } }),
            limit: Some(LimitReport { rate: Rate::Limit(2_000_000), next: Some(next) }),
            reconnect: Some(Reconnect::Manual),
            away_seconds: Some(245.0),
            ..SetReport::new("mail".parse().unwrap(), role, Generation(1), state, "beta".parse().unwrap())
        }
    }

    const SOURCE: [SetState; 10] = [
        SetState::Idle,
        SetState::Mirroring,
        SetState::Waiting,
        SetState::Comparing,
        SetState::Following,
        SetState::CatchingUp,
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
        let held =
            explain(&SetReport { trouble: Some("the replica was promoted".into()), ..report(Role::Source, SetState::Held) });
        assert_eq!(held.cause, "the replica was promoted.");
        assert!(held.action.contains("`standin mirror resume mail`"), "{held:?}");
        let following = explain(&report(Role::Source, SetState::Following));
        assert!(following.cause.starts_with("Fanotify notices changes"), "{following:?}");
    }
}
