//! A source after a turn, and before one: what it begins with, what it clears away, and its last point.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use standin_common::message::{Comparison, RootKind};
use standin_config::{Capture, Root, Set};
use standin_replicator::journal::Point;
use standin_replicator::report::SetReport;
use standin_replicator::rules::Rules;
use standin_replicator::source::safety::{self, Remembered};

use super::kept::{Began, Following, Job, Kept, Ordered, OrderedBy};
use super::layers::{Inside, NOT_MOUNTED};
use super::{SourceSet, failed, new_mirror_id};
use crate::control::{Failed, FailedKind, MirrorOrder};
use crate::daemon::roles::Roles;
use crate::daemon::standby;

/// How often whoever waits for a mirror is told how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// For how long nothing may be noticed after the last point.
const QUIET: Duration = Duration::from_millis(250);

/// What a source begins with. After a turn a mirror is ordered at once; what its roots are is remembered, as they were the replica just now.
pub(super) fn begins(set: &Set, rules: &[Rules], roles: &Roles, directory: &Path) -> Kept {
    if !roles.is_turned() {
        return Kept::new(roles.generation, Vec::new(), None, None);
    }
    let mounts = standby::mounts_of_targets(directory);
    let remembered = |(index, (root, rules)): (usize, (&Root, &Rules))| {
        let seen = safety::look_at(&root.path, rules, None, false).ok();
        let mount = mounts.get(index).cloned().or_else(|| seen.as_ref().map(|seen| seen.mount.clone())).unwrap_or_default();
        let filled = seen.as_ref().is_none_or(|seen| seen.filled);
        Remembered { mount, filled, beneath: seen.map(|seen| seen.beneath).unwrap_or_default() }
    };
    let roots = set.roots.iter().zip(rules).enumerate().map(remembered).collect();
    // What the standby has of a tree that begins with a point of its own, nobody knows.
    let is_known = roles.from.as_ref().is_none_or(|from| from.generation < roles.generation);
    let comparison = if is_known { Comparison::Difference } else { Comparison::Checksum };
    let ordered = Ordered { comparison, ..Ordered::usual(set) };
    let following = (set.capture != Capture::Scan).then(|| Following::of(ordered));
    Kept::new(roles.generation, roots, Some(Job { ordered_by: OrderedBy::Turn, ..Job::new(new_mirror_id(), ordered) }), following)
}

impl SourceSet {
    /// What is left of the time in which this node was the standby is of no use any more.
    pub(super) fn clear_away(&self) {
        if !self.roles.now().is_turned() {
            return;
        }
        let cleared = self.past_layers().and_then(|inside| {
            let set = self.set();
            let roots: Vec<_> = match &inside {
                Some(inside) => inside.iter().map(Inside::path).collect(),
                None => set.roots.iter().map(|root| root.path.clone()).collect(),
            };
            standby::clear_away(&self.directory, &roots)
        });
        if let Err(error) = cleared {
            tracing::warn!(%error, "what is left of the replica's history cannot be removed; it is tried again at the next start");
        }
    }

    /// All roots past their layers; `None` where the set has none, an error while they are away.
    fn past_layers(&self) -> io::Result<Option<Vec<Inside>>> {
        if self.layers.is_none() {
            return Ok(None);
        }
        let one = |index| self.beneath(index)?.ok_or_else(|| io::Error::other(NOT_MOUNTED));
        (0..self.set().roots.len()).map(one).collect::<io::Result<_>>().map(Some)
    }

    /// Takes a last point, with nobody writing any more: what the standby has is all there is when this returns. `go_on` is told how far it
    /// is, until it says no or `deadline` is over.
    pub(in crate::daemon) fn drain(&self, deadline: Instant, go_on: &mut dyn FnMut(&SetReport) -> bool) -> Result<Point, Failed> {
        // A device can never be proven, and has no layer.
        let is_device = |path: &Path| {
            use standin_replicator::volume::Volume as _;
            self.layers.is_none()
                && standin_replicator::os::OsVolume::open_source(path).is_ok_and(|volume| volume.kind() == RootKind::Device)
        };
        let proven = !self.set().roots.iter().any(|root| is_device(&root.path));
        loop {
            let mut given_up = false;
            let mut goes_on = |report: &SetReport| {
                given_up = Instant::now() >= deadline || !go_on(report);
                !given_up
            };
            let made =
                if self.lock().kept.following.is_some() { self.point(true, &mut goes_on) } else { self.mirror_now(&mut goes_on) };
            let late = Instant::now() >= deadline;
            match made {
                Ok(Some(point)) if (point.consistent || !proven) && self.stays_quiet() => return Ok(point),
                Ok(_) if !late => {}
                Ok(_) => {
                    let text = "something still writes to the set: each point finds changes. Stop what writes, and try again";
                    return Err(failed(FailedKind::TimedOut, text));
                }
                Err(error) if late => {
                    let text = format!("the standby does not have everything in time: {}", error.text);
                    return Err(failed(FailedKind::TimedOut, text));
                }
                // The standby may be on its way here, and what watches the roots just beginning.
                Err(Failed { kind: FailedKind::Unreachable, .. })
                    if !given_up && !self.lock().stopping && go_on(&self.report()) =>
                {
                    thread::sleep(LOOK);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether nothing is noticed for a moment: a program that was not stopped would write again.
    fn stays_quiet(&self) -> bool {
        let (watch, current) = {
            let state = self.lock();
            (state.watch.clone(), state.stream.clone())
        };
        let newest = current.as_ref().map(|current| current.stream.progress().newest);
        let Some(watch) = watch else { return true };
        let until = Instant::now() + QUIET;
        loop {
            let quiet = match &current {
                Some(current) => {
                    let progress = current.stream.progress();
                    progress.over.is_none() && Some(progress.newest) == newest && progress.durable == progress.newest
                }
                None => watch.catch_up().is_ok() && watch.lag().changes == 0,
            };
            if !quiet {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(QUIET / 10));
        }
    }

    /// A mirror over everything that begins now, waited for: one that was under way may have read a file before it was written last.
    fn mirror_now(&self, go_on: &mut dyn FnMut(&SetReport) -> bool) -> Result<Option<Point>, Failed> {
        let order = MirrorOrder {
            set: self.set().name.clone(),
            comparison: None,
            orphans: None,
            max_orphans: None,
            limit_bytes_per_second: None,
            dry_run: false,
            wait: true,
            timeout_seconds: None,
        };
        let (mut mirror, mut began) = self.start(&order)?;
        loop {
            if let Some(end) = self.wait(mirror, LOOK) {
                let report = end?;
                if began == Began::Now {
                    return Ok(self.lock().kept.point.clone().filter(|point| Some(point.number) == report.point));
                }
                (mirror, began) = self.start(&order)?;
                continue;
            }
            if !go_on(&self.report()) {
                return Err(failed(FailedKind::TimedOut, "the mirror has not ended in time; it goes on"));
            }
        }
    }
}
