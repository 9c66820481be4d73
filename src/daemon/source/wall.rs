//! Whether the clock on the wall of a source can be trusted to say what was changed after a point: the file `clock.json` in the set's state directory.
//!
//! What a former source changed after the point at which the other took over shows by change times, which the clock on the wall gives. If that was
//! set back since the point, what was changed later looks older. So a source remembers by how much that clock was ahead of the one that nobody can
//! set, from its start on. Of another start of the machine nothing is known.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, Mode};
use standin_common::entry::Time;
use standin_common::id::{Generation, PointNumber};
use standin_common::uptime;
use standin_replicator::journal::Point;

const FILE: &str = "clock.json";
/// A clock that is made right little by little, and both clocks read one after the other, differ by less: milliseconds.
const TOLERANCE_MS: i64 = 1_000;
/// Of less nothing is written.
const STEP_MS: i64 = 50;

/// What was seen of the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// In this start of the machine.
    boot: String,
    generation: Generation,
    /// Points after this one were made since.
    after: PointNumber,
    /// How far it was ahead of the uptime at most, in milliseconds.
    ahead_ms: i64,
    /// Whether it was set back.
    went_back: bool,
}

/// By how much the clock on the wall is ahead of the uptime now, in milliseconds.
fn ahead_ms() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let signed = |ms: u128| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(wall.as_millis()).saturating_sub(signed(u128::from(uptime::now_ms())))
}

impl Seen {
    fn observe(&mut self, ahead_ms: i64) {
        self.went_back |= self.ahead_ms.saturating_sub(ahead_ms) > TOLERANCE_MS;
        self.ahead_ms = self.ahead_ms.max(ahead_ms);
    }

    /// What was changed after a point has a change time that is not before this; `None` if that is not known.
    fn since(&self, point: &Point, boot: &str, ahead_ms: i64) -> Option<Time> {
        let back_ms = self.ahead_ms.saturating_sub(ahead_ms).max(0);
        let proven = self.boot == boot && point.number > self.after && !self.went_back && back_ms <= TOLERANCE_MS;
        let made = Duration::new(u64::try_from(point.at.secs).ok()?, point.at.nanos);
        let since = made.checked_sub(Duration::from_millis(u64::try_from(back_ms).ok()?))?;
        proven.then_some(Time { secs: i64::try_from(since.as_secs()).ok()?, nanos: since.subsec_nanos() })
    }
}

/// The clock of a source.
#[derive(Debug)]
pub(super) struct Wall {
    path: PathBuf,
    /// None where the system does not name its starts.
    seen: Option<Seen>,
    /// As it is in the file.
    written: Option<Seen>,
}

fn read(path: &Path) -> Option<Seen> {
    serde_json::from_slice(&disk::read_optional(path).ok()??).ok()
}

impl Wall {
    /// Of a source that begins or goes on, the newest point of which is this.
    pub(super) fn open(directory: &Path, generation: Generation, newest: Option<&Point>) -> Self {
        let path = directory.join(FILE);
        let written = read(&path);
        let after = newest.map_or(PointNumber(0), |point| point.number);
        let boot = uptime::boot().ok();
        let seen = boot.map(|boot| match &written {
            Some(seen) if seen.boot == boot && seen.generation == generation => seen.clone(),
            _ => Seen { boot, generation, after, ahead_ms: ahead_ms(), went_back: false },
        });
        let mut wall = Self { path, seen, written };
        wall.look();
        wall
    }

    /// Looks at the clock, from time to time.
    pub(super) fn look(&mut self) {
        let Some(seen) = &mut self.seen else { return };
        seen.observe(ahead_ms());
        let is_new = self.written.as_ref().is_none_or(|written| {
            (&written.boot, written.generation, written.went_back) != (&seen.boot, seen.generation, seen.went_back)
                || seen.ahead_ms - written.ahead_ms > STEP_MS
        });
        if is_new {
            let text = serde_json::to_vec_pretty(&*seen).unwrap_or_default();
            match disk::replace(&self.path, &text, Mode::Private) {
                Ok(()) => self.written = Some(seen.clone()),
                // What is not known is kept aside as a whole.
                Err(error) => tracing::debug!(%error, "what was seen of the clock cannot be kept"),
            }
        }
    }
}

/// From which time on a former source's changes after a point are dated; `None` if its clock may have been set back since.
pub(in crate::daemon) fn changed_since(directory: &Path, point: &Point) -> Option<Time> {
    let boot = uptime::boot().ok()?;
    read(&directory.join(FILE))?.since(point, &boot, ahead_ms())
}

#[cfg(test)]
mod tests {
    use standin_common::id::MirrorId;
    use standin_common::scope::Reason;

    use super::*;

    fn point(number: u64) -> Point {
        Point {
            number: PointNumber(number),
            generation: Generation(1),
            mirror: MirrorId::default(),
            reason: Reason::Mirror,
            at: Time { secs: 1_000, nanos: 0 },
            consistent: true,
            objects: 0,
            bytes: 0,
            orphans: 0,
        }
    }

    #[test]
    fn only_a_clock_that_did_not_go_back_tells_what_is_newer() {
        let hour = 3_600_000;
        let mut seen =
            Seen { boot: "this".to_owned(), generation: Generation(1), after: PointNumber(4), ahead_ms: hour, went_back: false };
        assert_eq!(seen.since(&point(5), "this", hour), Some(Time { secs: 1_000, nanos: 0 }));
        // A clock that was made slower leaves a margin.
        assert_eq!(seen.since(&point(5), "this", hour - 500), Some(Time { secs: 999, nanos: 500_000_000 }));
        assert_eq!(seen.since(&point(5), "this", hour + 5_000), Some(Time { secs: 1_000, nanos: 0 }));
        // Set back, of another start, or from before it.
        assert_eq!(seen.since(&point(5), "this", 0), None);
        assert_eq!(seen.since(&point(5), "another", hour), None);
        assert_eq!(seen.since(&point(4), "this", hour), None);
        // There and back.
        seen.observe(hour - 400);
        assert!(!seen.went_back);
        seen.observe(0);
        seen.observe(hour);
        assert_eq!(seen.since(&point(5), "this", hour), None);
    }

    #[test]
    fn it_is_kept_over_a_start_of_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(changed_since(directory.path(), &point(5)), None);
        drop(Wall::open(directory.path(), Generation(1), Some(&point(4))));
        assert!(changed_since(directory.path(), &point(5)).is_some());
        // The points of the time before count on.
        drop(Wall::open(directory.path(), Generation(1), Some(&point(5))));
        assert!(changed_since(directory.path(), &point(5)).is_some());
        drop(Wall::open(directory.path(), Generation(3), Some(&point(5))));
        assert_eq!(changed_since(directory.path(), &point(5)), None);
    }
}
