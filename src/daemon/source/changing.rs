//! What a verification of roots in use found different only because it is being written: the standby stands still meanwhile, and the source does not.

use std::collections::BTreeSet;

use standin_common::id::RootIndex;
use standin_common::scope::Depth;
use standin_replicator::capture::Taken;
use standin_replicator::report::{FoundReport, MirrorReport, Problem};

use super::SourceSet;

/// What is said of such a place.
const TEXT: &str = "changed while it was compared, or has not arrived yet: the next verification compares it";

impl SourceSet {
    /// Takes out of a report what is at places that changed and are not known to have arrived: whether the standby lacks something there
    /// cannot be told. A change is noticed before it is made, so none that was read is missed here.
    pub(super) fn set_aside_what_changes(&self, report: &mut MirrorReport) {
        let Some(watch) = self.lock().watch.clone().filter(|_| report.finding_count > 0) else { return };
        match watch.take_all() {
            Ok((changed, _)) => {
                set_aside(report, &changed);
                watch.put_back(changed);
            }
            // Then it is told as it was found.
            Err(error) => tracing::debug!(%error, "what changed during the verification is not known"),
        }
    }
}

fn set_aside(report: &mut MirrorReport, changed: &Taken) {
    if changed.whole.is_some() {
        return;
    }
    let place = |root: RootIndex, path: &dyn ToString| (root, path.to_string());
    let of_depth = |depth| changed.scopes.iter().filter(move |scope| scope.depth == depth).map(|scope| &scope.at);
    let objects: BTreeSet<_> = of_depth(Depth::Object).map(|at| place(at.root, &at.path)).collect();
    let subtrees: Vec<_> = of_depth(Depth::Subtree).map(|at| place(at.root, &at.path)).collect();
    let is_beneath = |found: &FoundReport, top: &str| {
        top == "." || found.path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let changes = |found: &FoundReport| {
        objects.contains(&(found.root, found.path.clone()))
            || subtrees.iter().any(|(root, top)| *root == found.root && is_beneath(found, top))
    };
    let (aside, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut report.findings).into_iter().partition(changes);
    report.findings = rest;
    // Of those that are not listed nothing is known: they stay.
    report.finding_count = report.finding_count.saturating_sub(aside.len() as u64);
    let places: BTreeSet<_> = aside.into_iter().map(|found| (found.root, found.path)).collect();
    report.problem_count += places.len() as u64;
    report.problems.extend(places.into_iter().map(|(root, path)| Problem { root, path, text: TEXT.to_owned() }));
}

#[cfg(test)]
mod tests {
    use standin_common::message::{Difference, Position};
    use standin_common::path::RelPath;
    use standin_common::scope::Scope;
    use standin_replicator::report::Wire;

    use super::*;

    fn report(paths: &[&str]) -> MirrorReport {
        let found = |path: &&str| FoundReport {
            root: RootIndex(0),
            path: (*path).to_owned(),
            difference: Difference::Data,
            ranges: Vec::new(),
        };
        MirrorReport {
            mirror: standin_common::id::MirrorId(1),
            comparison: standin_common::message::Comparison::Checksum,
            failed: None,
            point: None,
            consistent: false,
            passes: 1,
            resumed: 0,
            objects: 9,
            bytes: 9,
            orphans: 0,
            orphans_left: 0,
            wanted_files: 0,
            wanted_bytes: 0,
            changed_objects: 0,
            data_bytes: 0,
            wire: Wire::default(),
            seconds: 1.0,
            problems: Vec::new(),
            problem_count: 0,
            failed_count: 0,
            removes_orphans: false,
            findings: paths.iter().map(found).collect(),
            finding_count: paths.len() as u64,
            hashes: Vec::new(),
        }
    }

    fn changed(places: &[(&str, Depth)]) -> Taken {
        let scope = |(path, depth): &(&str, Depth)| Scope {
            at: Position { root: RootIndex(0), path: RelPath::new(*path).unwrap() },
            depth: *depth,
        };
        Taken { scopes: places.iter().map(scope).collect(), ..Taken::default() }
    }

    #[test]
    fn only_what_changes_is_set_aside() {
        let mut report = report(&["db", "db-journal", "db-journal", "d/moved/x", "d/moved", "d/movedx", "quiet"]);
        set_aside(&mut report, &changed(&[("db-journal", Depth::Object), ("d/moved", Depth::Subtree), ("other", Depth::Object)]));
        let left: Vec<_> = report.findings.iter().map(|found| found.path.as_str()).collect();
        assert_eq!((left, report.finding_count), (vec!["db", "d/movedx", "quiet"], 3));
        let named: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!((named, report.problem_count), (vec!["d/moved", "d/moved/x", "db-journal"], 3));
        assert_eq!(report.failed_count, 0);
    }

    #[test]
    fn if_anything_may_have_changed_all_is_told() {
        let mut found = report(&["db"]);
        set_aside(&mut found, &Taken { whole: Some("lost".to_owned()), ..changed(&[("db", Depth::Object)]) });
        assert_eq!((found.finding_count, found.problem_count), (1, 0));
    }
}
