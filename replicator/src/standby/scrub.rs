//! The scrub: reads the large files of a replica from the disk, and compares them with the values that were kept when they came.
//!
//! A file is judged only where nothing says that it was written to: its stamp is the one that the values are bound to, before and
//! after the reading, and the replica did not move meanwhile. So rounds may go on; what they touch is left to them. What differs
//! then is read once more, from the disk, before it counts. The values of a file that is wrong are dropped before anything else is
//! read, so that no comparison believes them, and the next round or mirror that meets the file reads all of it.

use std::io;

use standin_common::message::Position;
use standin_common::tree::{GROUP_LEN, Value, group_count, group_len, group_value};

use super::replica::Replica;
use super::state::Phase;
use super::values::{Kept, Listed, Look, Values};
use crate::store::Store;
use crate::volume::{ObjectKind, Place, Stamp, Volume, VolumeFile};

/// Groups read between two looks at whether to go on: 1 MiB.
const PIECE: u64 = 16;
/// How often a replica that is being moved is waited for, or a file looked at again that was moved meanwhile.
const MOST_TRIES: u32 = 100;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub at: Position,
    /// Its size in bytes.
    pub size: u64,
    /// The first byte of the first group that differs, or that could not be read.
    pub first_byte: u64,
    /// How many groups of 64 KiB differ.
    pub groups: u64,
    /// Why the rest could not be read, in the system's words; `None` if all was.
    pub unreadable: Option<String>,
}

/// How the check of a file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The disk holds what was received.
    Right,
    /// It does not.
    Wrong(Finding),
    /// It was changed, replaced or removed meanwhile: whoever did that has compared it.
    Changed,
    /// The scrub was to end, or the replica was promoted.
    Ended,
}

/// Who says how fast a scrub may go.
pub trait Pace {
    /// So many bytes were read; returns when more may be, `false` if the scrub is to end.
    fn went(&mut self, bytes: u64) -> bool;
    /// Waits a moment for a replica that is being moved; `false` if the scrub is to end.
    fn wait(&mut self) -> bool;
}

/// Whether the files of a replica are its own, and at a point or on their way to one.
pub fn is_due_to<V: Volume, S: Store>(replica: &Replica<V, S>) -> bool {
    matches!(replica.state().phase, Phase::Settled { .. } | Phase::Moving { .. })
}

/// The files that can be checked, in the order of their lists' names; those of which nothing is kept cannot.
pub fn files<V: Volume, S: Store>(replica: &Replica<V, S>) -> io::Result<Vec<Listed>> {
    if is_due_to(replica) { replica.values().lists() } else { Ok(Vec::new()) }
}

/// Whether a file in which something was found is mended or gone: its values were kept anew, which they only are after all of it was
/// read and proven, or it is of another size, which it only is after that, too. An error leaves it open.
pub fn is_mended<V: Volume, S: Store>(replica: &Replica<V, S>, at: &Position, size: u64) -> io::Result<bool> {
    let Some(volume) = replica.volumes().get(usize::from(at.root.0)) else { return Ok(true) };
    let Some(object) = volume.object(&Place::Tree(&at.path))? else { return Ok(true) };
    Ok(object.kind != ObjectKind::File
        || object.size != size
        || matches!(replica.values().look(at, &object.stamp)?, Look::Kept(_)))
}

/// A scrub that found something ends: all that is kept is dropped, as whatever refutes one value speaks against the others, too.
pub fn doubt_all<V: Volume, S: Store>(replica: &Replica<V, S>, at: &Position) {
    replica.values().doubt(at, "a scrub found a file that is not what was received");
}

/// Reads one file and compares it with what is kept.
pub fn check<V: Volume, S: Store>(replica: &Replica<V, S>, listed: &Listed, pace: &mut dyn Pace) -> Checked {
    let Some(volume) = replica.volumes().get(usize::from(listed.at.root.0)) else { return Checked::Changed };
    let check = Check { volume, values: replica.values(), at: &listed.at, may_go_on: &|| is_due_to(replica) };
    check.run(listed.size, pace)
}

/// What reading a group told.
type Read = io::Result<bool>;

/// What became of a difference that was looked at once more.
enum Again {
    Wrong(Read),
    Right,
    Changed,
    Ended,
}

struct Check<'c, V> {
    volume: &'c V,
    values: &'c Values,
    at: &'c Position,
    may_go_on: &'c dyn Fn() -> bool,
}

/// A file that is being read.
struct Reading<F> {
    file: F,
    kept: Kept,
    found: Option<Finding>,
}

impl<V: Volume> Check<'_, V> {
    fn run(&self, size: u64, pace: &mut dyn Pace) -> Checked {
        match self.begin(pace) {
            Ok(Ok(reading)) => self.read(reading, pace),
            Ok(Err(checked)) => checked,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Checked::Changed,
            Err(error) => {
                self.values.condemn(self.at, None);
                let (at, unreadable) = (self.at.clone(), Some(error.to_string()));
                Checked::Wrong(Finding { at, size, first_byte: 0, groups: 0, unreadable })
            }
        }
    }

    /// Opens the file, or says why there is nothing to read.
    fn begin(&self, pace: &mut dyn Pace) -> io::Result<Result<Reading<V::File>, Checked>> {
        for _ in 0..MOST_TRIES {
            if !(self.may_go_on)() {
                return Ok(Err(Checked::Ended));
            }
            let Some(stamp) = self.stamp()? else { return Ok(Err(Checked::Changed)) };
            match self.look(&stamp) {
                Look::Kept(kept) => {
                    let file = self.volume.open(&Place::Tree(&self.at.path), false)?;
                    let same = file.object()?.stamp == stamp;
                    return Ok(if same { Ok(Reading { file, kept, found: None }) } else { Err(Checked::Changed) });
                }
                Look::Nothing => return Ok(Err(Checked::Changed)),
                Look::NotNow if !pace.wait() => return Ok(Err(Checked::Ended)),
                Look::NotNow => {}
            }
        }
        Ok(Err(Checked::Changed))
    }

    fn stamp(&self) -> io::Result<Option<Stamp>> {
        Ok(self.volume.object(&Place::Tree(&self.at.path))?.map(|object| object.stamp))
    }

    fn look(&self, stamp: &Stamp) -> Look {
        self.values.look(self.at, stamp).unwrap_or_else(|error| {
            tracing::warn!(root = self.at.root.0, path = %self.at.path, %error, "the kept values of its groups cannot be read");
            Look::Nothing
        })
    }

    fn read(&self, mut reading: Reading<V::File>, pace: &mut dyn Pace) -> Checked {
        let size = reading.kept.stamp().size;
        let groups = group_count(size);
        forget(&reading.file, 0, size);
        let mut ended = None;
        for first in (0..groups).step_by(PIECE as usize) {
            let until = (first + PIECE).min(groups);
            ended = self.piece(&mut reading, first, until, pace);
            let (start, end) = (first * GROUP_LEN as u64, (until * GROUP_LEN as u64).min(size));
            // What nobody asked for is not to push out what somebody needs.
            forget(&reading.file, start, end);
            if ended.is_none() && !((self.may_go_on)() && pace.went(end - start)) {
                ended = Some(Checked::Ended);
            }
            if ended.is_some() {
                break;
            }
        }
        match (reading.found, ended) {
            (Some(found), _) => Checked::Wrong(found),
            (None, Some(ended)) => ended,
            (None, None) if self.stamp().ok().flatten() == Some(*reading.kept.stamp()) => Checked::Right,
            (None, None) => Checked::Changed,
        }
    }

    /// Reads some groups; returns how the check ends, if it does.
    fn piece(&self, reading: &mut Reading<V::File>, first: u64, until: u64, pace: &mut dyn Pace) -> Option<Checked> {
        let mut buffer = vec![0; GROUP_LEN];
        let size = reading.kept.stamp().size;
        let values = reading.kept.values(size, first, (until - first) as usize);
        for (group, value) in (first..until).zip(values) {
            // A list that is damaged; the next comparison makes another.
            let Some(value) = value else { return Some(Checked::Changed) };
            let mut read = is_so(&reading.file, size, group, &value, &mut buffer);
            if matches!(read, Ok(true)) {
                continue;
            }
            if reading.found.is_none() {
                match self.again(reading, group, &mut buffer, pace) {
                    Again::Wrong(again) => read = again,
                    Again::Right => continue,
                    Again::Changed => return Some(Checked::Changed),
                    Again::Ended => return Some(Checked::Ended),
                }
            } else if reading.file.object().ok().map(|object| object.stamp) != Some(*reading.kept.stamp()) {
                // It is being mended; what was found before that stays found.
                return Some(Checked::Changed);
            }
            let first_byte = group * GROUP_LEN as u64;
            let nothing = || Finding { at: self.at.clone(), size, first_byte, groups: 0, unreadable: None };
            let found = reading.found.get_or_insert_with(nothing);
            match read {
                Ok(_) => found.groups += 1,
                // A disk that fails takes long for each attempt.
                Err(error) => {
                    found.unreadable = Some(error.to_string());
                    return Some(Checked::Changed);
                }
            }
        }
        None
    }

    /// Looks once more at a group that was not as it should be. If it is not, and nothing says why, the values of the file are dropped.
    fn again(&self, reading: &Reading<V::File>, group: u64, buffer: &mut [u8], pace: &mut dyn Pace) -> Again {
        let expected = *reading.kept.stamp();
        let start = group * GROUP_LEN as u64;
        for _ in 0..MOST_TRIES {
            match self.stamp() {
                Ok(now) if now == Some(expected) => {}
                Ok(_) => return Again::Changed,
                Err(error) => {
                    self.values.condemn(self.at, None);
                    return Again::Wrong(Err(error));
                }
            }
            let kept = match self.look(&expected) {
                Look::Kept(kept) => kept,
                Look::Nothing => return Again::Changed,
                Look::NotNow if !pace.wait() => return Again::Ended,
                Look::NotNow => continue,
            };
            let Some(value) = kept.values(expected.size, group, 1).pop().flatten().filter(|_| kept.is_whole()) else {
                tracing::warn!(root = self.at.root.0, path = %self.at.path, "the kept values of its groups are damaged: they are dropped");
                self.values.condemn(self.at, None);
                return Again::Changed;
            };
            forget(&reading.file, start, start + group_len(expected.size, group) as u64);
            let read = is_so(&reading.file, expected.size, group, &value, buffer);
            if matches!(read, Ok(true)) {
                tracing::warn!(root = self.at.root.0, path = %self.at.path, group, "was read wrong once, and right then: look to the memory and the disk");
                return Again::Right;
            }
            if !(self.may_go_on)() {
                return Again::Ended;
            }
            let now = self.stamp().ok().flatten();
            if self.values.condemn(self.at, Some((&kept, now))) {
                return Again::Wrong(read);
            }
        }
        Again::Changed
    }
}

/// Whether a group of a file has this value.
fn is_so<F: VolumeFile>(file: &F, size: u64, group: u64, value: &Value, buffer: &mut [u8]) -> Read {
    let here = &mut buffer[..group_len(size, group)];
    let read = file.read_at(here, group * GROUP_LEN as u64)?;
    Ok(read == here.len() && group_value(size, group, here) == *value)
}

fn forget<F: VolumeFile>(file: &F, start: u64, end: u64) {
    if let Err(error) = file.forget_cached(start, end) {
        tracing::debug!(%error, "what the system holds of a file in memory may be read in place of the disk");
    }
}
