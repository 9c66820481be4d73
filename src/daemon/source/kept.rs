//! What a source keeps of a set between two starts: the file `source.json` in the set's state directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, DiskError, Mode};
use standin_common::entry::Time;
use standin_common::id::{Generation, MirrorId};
use standin_common::message::{Comparison, JoinSummary, OrphanLimit, OrphanPolicy};
use standin_config::{MaxOrphans, Orphans, Set};
use standin_replicator::journal::Point;
use standin_replicator::source::safety::Remembered;
use standin_replicator::source::state::Hold;

const FILE: &str = "source.json";
const FORMAT: u16 = 1;

/// What was ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ordered {
    pub(super) comparison: Comparison,
    pub(super) orphans: OrphanPolicy,
    pub(super) orphan_limit: OrphanLimit,
    pub(super) limit_bytes_per_second: Option<u64>,
    /// An emptied root is meant to be one.
    pub(super) emptied_is_meant: bool,
}

impl Ordered {
    /// A mirror as the settings have it.
    pub(super) fn usual(set: &Set) -> Self {
        Self {
            comparison: Comparison::Difference,
            orphans: match set.orphans {
                Orphans::Remove => OrphanPolicy::Remove,
                Orphans::Report => OrphanPolicy::Report,
                Orphans::Keep => OrphanPolicy::Keep,
            },
            orphan_limit: limit_of(set.max_orphans),
            limit_bytes_per_second: None,
            emptied_is_meant: false,
        }
    }
}

/// How many orphans may go, as the standby is told it.
pub(super) fn limit_of(max_orphans: MaxOrphans) -> OrphanLimit {
    match max_orphans {
        MaxOrphans::Share(share) => OrphanLimit::Percent(share),
        MaxOrphans::Count(count) => OrphanLimit::Count(count),
    }
}

/// What led to a mirror.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderedBy {
    #[default]
    Person,
    /// Following, which does not know what the standby lacks.
    Following,
    /// A turn: the new standby has what it had as the source.
    Turn,
}

/// How what was ordered stands to what was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) enum Began {
    /// It begins with the order: what was written before is in it.
    Now,
    /// Somebody had ordered the same before. It may have read a file already that was written since.
    Before,
    /// The same, but no person had.
    OfItself,
}

/// A mirror that was ordered and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    /// The first pass has this identity, each further one the next.
    pub(super) mirror: MirrorId,
    #[serde(flatten)]
    pub(super) ordered: Ordered,
    /// The pass that it is at, from 1.
    pub(super) pass: u32,
    pub(super) paused: bool,
    #[serde(default)]
    pub(super) ordered_by: OrderedBy,
    /// When the pass that it is at began, at its first try.
    #[serde(default)]
    pub(super) began: Option<Time>,
    /// How often it went on after a cut.
    pub(super) resumed: u32,
    /// What the passes before this one did; only removed orphans are counted in it.
    #[serde(default)]
    pub(super) before: JoinSummary,
}

/// A source that is followed: after a mirror, whatever changes is replicated as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Following {
    #[serde(flatten)]
    pub(super) ordered: Ordered,
    pub(super) paused: bool,
}

impl Following {
    /// A source that goes on as a mirror was ordered, but for what was meant for that mirror alone.
    pub(super) fn of(ordered: Ordered) -> Self {
        Self { ordered: Ordered { comparison: Comparison::Difference, emptied_is_meant: false, ..ordered }, paused: false }
    }
}

impl Kept {
    /// Of a source that begins, in its first generation or after a turn.
    pub(super) fn new(generation: Generation, roots: Vec<Remembered>, job: Option<Job>, following: Option<Following>) -> Self {
        Self { format: FORMAT, generation, job, following, hold: None, roots, point: None, since: None }
    }

    /// Whether there is nothing to pause or go on with.
    pub(super) fn is_idle(&self) -> bool {
        self.job.is_none() && self.following.is_none()
    }

    /// Whether a person paused what there is.
    pub(super) fn is_paused(&self) -> bool {
        let following = self.following.as_ref().map(|following| following.paused);
        self.job.as_ref().map(|job| job.paused).or(following).unwrap_or_default()
    }

    /// The mirror goes on with its next pass, or is over; unless it was stopped meanwhile. What a person said of it meanwhile holds.
    pub(super) fn passed(&mut self, mirror: MirrorId, next: Option<Job>) {
        if let Some(now) = self.job.take_if(|job| job.mirror == mirror) {
            self.job = next.map(|next| Job { paused: now.paused, ordered_by: now.ordered_by, ..next });
        }
    }

    /// Pauses, or goes on.
    pub(super) fn set_paused(&mut self, paused: bool) {
        self.job.iter_mut().for_each(|job| job.paused = paused);
        self.following.iter_mut().for_each(|following| following.paused = paused);
    }
}

impl Job {
    /// The identity of the pass that it is at.
    pub(super) fn pass_id(&self) -> MirrorId {
        MirrorId(self.mirror.0 + u64::from(self.pass))
    }

    /// A mirror that has not begun.
    pub(super) fn new(mirror: MirrorId, ordered: Ordered) -> Self {
        Self {
            mirror,
            ordered,
            pass: 1,
            paused: false,
            ordered_by: OrderedBy::Person,
            began: None,
            resumed: 0,
            before: JoinSummary::default(),
        }
    }

    /// The next pass, after one that found this and left so many orphans.
    pub(super) fn next_pass(&self, found: &JoinSummary, orphans_left: u64) -> Self {
        let before = JoinSummary {
            standby_objects: found.standby_objects,
            standby_bytes: found.standby_bytes,
            orphans: self.before.orphans + found.orphans.saturating_sub(orphans_left),
            new_objects: self.before.new_objects + found.new_objects,
            wanted_files: self.before.wanted_files + found.wanted_files,
            wanted_bytes: self.before.wanted_bytes + found.wanted_bytes,
            changed_objects: self.before.changed_objects + found.changed_objects,
        };
        Self { pass: self.pass + 1, began: None, before, ..self.clone() }
    }
}

/// Everything that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    format: u16,
    pub(super) generation: Generation,
    pub(super) job: Option<Job>,
    #[serde(default)]
    pub(super) following: Option<Following>,
    /// Why nothing is sent until a person says so.
    #[serde(default)]
    pub(super) hold: Option<Hold>,
    /// What the roots were at the last mirror, in their order.
    pub(super) roots: Vec<Remembered>,
    /// The newest point that the standby made.
    pub(super) point: Option<Point>,
    /// When the pass began that made it, or an earlier one: what has not changed since is as it is there.
    #[serde(default)]
    pub(super) since: Option<Time>,
}

/// Where it is kept.
#[derive(Debug)]
pub(super) struct KeptFile(PathBuf);

impl KeptFile {
    /// Opens the set's state directory, made if it is not there, and reads what was kept. What was kept of another generation is of another
    /// time as source: of that, `begins` says what is kept instead.
    pub(super) fn open(directory: &Path, generation: Generation, begins: impl FnOnce() -> Kept) -> Result<(Self, Kept), String> {
        disk::create_private_dir(directory).map_err(|error| error.to_string())?;
        let file = Self(directory.join(FILE));
        let kept = match file.read()?.filter(|kept| kept.generation == generation) {
            Some(kept) => kept,
            None => {
                let kept = begins();
                // What its roots were just now is not known at the next start.
                if !kept.roots.is_empty() {
                    file.write(&kept).map_err(|error| error.to_string())?;
                }
                kept
            }
        };
        Ok((file, kept))
    }

    fn read(&self) -> Result<Option<Kept>, String> {
        let parse = |text: Vec<u8>| {
            let parsed = serde_json::from_slice::<Kept>(&text).map_err(|error| error.to_string());
            let known = parsed
                .and_then(|kept| if kept.format == FORMAT { Ok(kept) } else { Err(format!("its format is {}", kept.format)) });
            known.map_err(|why| format!("{} cannot be used ({why}); restore it from a backup", self.0.display()))
        };
        disk::read_optional(&self.0).map_err(|error| error.to_string())?.map(parse).transpose()
    }

    /// Makes it durable.
    pub(super) fn write(&self, kept: &Kept) -> Result<(), DiskError> {
        // Plain data always serialises; should it not, the file says so at the next start.
        let text = serde_json::to_vec_pretty(kept).unwrap_or_default();
        disk::replace(&self.0, &text, Mode::Private)
    }
}

/// What a source of this generation left in the set's state directory: what its roots were, and the newest point it knew of.
pub(in crate::daemon) fn left(directory: &Path, generation: Generation) -> Result<(Vec<Remembered>, Option<Point>), String> {
    let kept = KeptFile(directory.join(FILE)).read()?.filter(|kept| kept.generation == generation);
    Ok(kept.map_or_else(Default::default, |kept| (kept.roots, kept.point)))
}
