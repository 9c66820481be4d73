//! Whether the sets of a group are in order on this node.

use standin_common::id::SetName;
use standin_config::{Capture, Role};
use standin_replicator::explain::explain;
use standin_replicator::report::{SetReport, SetState};

use super::asked::Checked;
use crate::daemon::Daemon;

/// Whether this one is.
pub(super) fn check(daemon: &Daemon, set: &SetName) -> Checked {
    let (grade, what, mend) = match (daemon.part(set), daemon.report(set)) {
        (Ok(part), Some(report)) => fault(&report).unwrap_or_else(|| {
            let (now, generation) = (part.set(), part.roles().generation);
            ("ok", format!("{} -> {} at generation {generation}", now.source, now.standby), String::new())
        }),
        (Err(failed), _) => ("fail", failed.text, "write the same set into the settings of both its nodes".to_owned()),
        (Ok(_), None) => ("fail", "it cannot be seen".to_owned(), String::new()),
    };
    Checked { of: format!("set {set}"), grade: grade.to_owned(), what, mend }
}

/// What is wrong, how bad that is, and what to do.
fn fault(report: &SetReport) -> Option<(&'static str, String, String)> {
    let (set, told) = (&report.set, explain(report));
    let clause = |text: &str| text.trim_end_matches('.').to_owned();
    if let Some(layer) = report.layer.as_ref().filter(|layer| !layer.mounted) {
        let why = layer.why.as_deref().map_or(String::new(), |why| format!(" ({why})"));
        let what = format!("the layers are not over the roots{why}, so what changes is not seen");
        return Some(("fail", what, format!("`standin mount {set}` puts them there")));
    }
    // Where nothing is to watch the roots, that nothing runs is as usual, once there is something to start from.
    let is_stopped = report.role == Role::Source
        && report.state == SetState::Idle
        && (report.capture != Some(Capture::Scan) || report.point.is_none());
    let grade = match report {
        _ if is_stopped || report.state.waits_for_a_person() => "fail",
        SetReport { trouble: Some(_), .. } => "warn",
        SetReport { point: None, .. } => {
            let what = "there is no recovery point yet, so no other node could take over".to_owned();
            return Some(("warn", what, clause(&told.action)));
        }
        _ => return None,
    };
    Some((grade, clause(&told.cause), clause(&told.action)))
}

#[cfg(test)]
mod tests {
    use standin_common::entry::Time;
    use standin_common::id::{Generation, MirrorId, PointNumber};
    use standin_common::scope::Reason;
    use standin_replicator::journal::Point;
    use standin_replicator::report::LayerReport;

    use super::*;

    fn report(role: Role, state: SetState) -> SetReport {
        let point = Point {
            number: PointNumber(3),
            generation: Generation(1),
            mirror: MirrorId(1),
            reason: Reason::Mirror,
            at: Time::default(),
            consistent: true,
            objects: 0,
            bytes: 0,
            orphans: 0,
        };
        let new = SetReport::new("store".parse().unwrap(), role, Generation(1), state, "beta".parse().unwrap());
        SetReport { point: Some(point), capture: (role == Role::Source).then_some(Capture::Watch), ..new }
    }

    fn grade(report: &SetReport) -> &'static str {
        fault(report).map_or("ok", |(grade, ..)| grade)
    }

    #[test]
    fn a_set_that_nobody_follows_is_not_ready_for_its_group() {
        let stopped = report(Role::Source, SetState::Idle);
        let (grade_of, what, mend) = fault(&stopped).unwrap();
        assert!(grade_of == "fail" && what.contains("nothing watches the roots"), "{what}");
        assert!(mend.starts_with("`standin mirror start store`") && !mend.ends_with('.'), "{mend}");
        let scanned = SetReport { capture: Some(Capture::Scan), ..stopped };
        assert_eq!(grade(&scanned), "ok", "nothing is to watch it");
        assert_eq!(grade(&SetReport { point: None, ..scanned }), "fail", "it was never mirrored");
    }

    #[test]
    fn what_a_person_has_to_mend_fails_and_what_mends_itself_warns() {
        for state in [SetState::Paused, SetState::Held, SetState::Lost, SetState::Promoted, SetState::Retired, SetState::Bad] {
            assert_eq!(grade(&report(Role::Source, state)), "fail", "{state:?}");
        }
        for state in [SetState::Following, SetState::CatchingUp, SetState::Mirroring, SetState::Disconnected] {
            assert_eq!(grade(&report(Role::Source, state)), "ok", "{state:?}");
        }
        let full = SetReport { trouble: Some("the disk is full".into()), ..report(Role::Source, SetState::Hindered) };
        assert_eq!(grade(&full), "warn");
        let empty = SetReport { point: None, ..report(Role::Standby, SetState::Empty) };
        let (grade_of, _, mend) = fault(&empty).unwrap();
        assert!(grade_of == "warn" && mend.contains("mirror start store") && mend.contains("on beta"), "{mend}");
    }

    #[test]
    fn layers_have_to_be_there() {
        let layer = |mounted| LayerReport { mounted, why: Some("somebody took them away".into()), ..LayerReport::default() };
        let with = |mounted| SetReport { layer: Some(layer(mounted)), ..report(Role::Source, SetState::Following) };
        let (grade_of, what, mend) = fault(&with(false)).unwrap();
        assert!(grade_of == "fail" && what.contains("somebody took them away") && mend.contains("standin mount store"), "{what}");
        assert_eq!(grade(&with(true)), "ok");
    }
}
