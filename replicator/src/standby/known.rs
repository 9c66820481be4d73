//! What a lane knows of one file besides its bytes: the values kept of the file that is there, and those collected for the next time.

use std::collections::BTreeSet;
use std::io;

use standin_common::entry::Time;
use standin_common::message::Position;
use standin_common::tree::{Fold, GroupStream, Root, Value, leaf_values};

use super::values::{Collector, Kept, Values};
use crate::volume::Stamp;

/// The last attempt at a file is without kept values.
const ATTEMPTS_WITH_KEPT: u32 = 3;
/// Groups written to in one file that are remembered; with more of them, it is read.
const MOST_WRITTEN: usize = 1 << 20;

/// The values of one file.
pub(super) struct Known<'v> {
    values: &'v Values,
    at: Position,
    kept: Option<Kept>,
    /// Whether something was taken for true because of what is kept, in this attempt.
    relied: bool,
    /// Groups that are not as they were in the file that is there.
    written: BTreeSet<u64>,
    attempts: u32,
    may_collect: bool,
    collector: Option<Collector<'v>>,
}

impl<'v> Known<'v> {
    /// Of a file of which nothing is kept, or nothing may be believed.
    pub(super) fn nothing(values: &'v Values, at: Position) -> Self {
        Self { values, at, kept: None, relied: false, written: BTreeSet::new(), attempts: 0, may_collect: true, collector: None }
    }

    /// Of a file that begins as the one with this stamp, but for groups that are written already.
    pub(super) fn of(values: &'v Values, at: Position, stamp: &Stamp, written: BTreeSet<u64>) -> Self {
        let kept = values.kept(&at, stamp);
        Self { kept, written, ..Self::nothing(values, at) }
    }

    /// Without collecting: nothing would tell when it changed.
    pub(super) fn never_collecting(self) -> Self {
        Self { may_collect: false, ..self }
    }

    /// The file begins, or begins again.
    pub(super) fn begin(&mut self, size: u64) {
        self.attempts += 1;
        self.relied = false;
        if self.attempts > ATTEMPTS_WITH_KEPT {
            self.kept = None;
        }
        // The old one goes first, as both have the same name.
        self.collector = None;
        self.collector = if self.may_collect { self.values.collect(&self.at, size) } else { None };
    }

    /// The values of the next groups, as far as they are kept, of a file of this size.
    pub(super) fn next(&self, size: u64, first: u64, count: usize) -> Vec<Option<Value>> {
        let Some(kept) = &self.kept else { return vec![None; count] };
        let values = kept.values(size, first, count);
        let values = values.into_iter().zip(first..);
        values.map(|(value, group)| value.filter(|_| !self.written.contains(&group))).collect()
    }

    /// A kept value was taken for that of the group.
    pub(super) fn rely(&mut self) {
        self.relied = true;
    }

    /// The values of the leaves of a group whose kept value is not the source's, `here` being its bytes. `None`, and an end of all trust,
    /// if the kept value is not that of these bytes.
    pub(super) fn leaves(&mut self, group: u64, kept: &Value, here: &[u8]) -> Option<Vec<Value>> {
        let leaves = leaf_values(group, here);
        let is_so = leaves.iter().copied().collect::<Fold>().into_value().as_ref() == Some(kept);
        if !is_so {
            self.values.doubt(&self.at, "what is kept of a file is not what the file holds");
            self.kept = None;
        }
        is_so.then_some(leaves)
    }

    /// A group is written to.
    pub(super) fn write(&mut self, group: u64) {
        if self.kept.is_some() {
            self.written.insert(group);
        }
        if self.written.len() > MOST_WRITTEN {
            self.write_all();
        }
    }

    /// Any of the file may be written to.
    pub(super) fn write_all(&mut self) {
        self.kept = None;
        self.written = BTreeSet::new();
    }

    /// Whether the values are collected.
    fn collects(&self) -> bool {
        self.collector.is_some()
    }

    /// Takes the value that the next group will have.
    pub(super) fn push(&mut self, value: &Value) {
        if let Some(collector) = &mut self.collector
            && let Err(error) = collector.push(value)
        {
            tracing::warn!(path = %self.at.path, %error, "the values of its groups are not kept");
            self.collector = None;
        }
    }

    /// Whether everything that was taken for true still is, the file that is there having this stamp now, if it matters. If not, nothing
    /// is in the next attempt.
    pub(super) fn holds(&mut self, now: impl FnOnce() -> io::Result<Option<Stamp>>) -> io::Result<bool> {
        if !self.relied {
            return Ok(true);
        }
        let now = now()?;
        self.kept = self.kept.take().filter(|kept| self.values.holds(kept, now.as_ref()));
        Ok(self.kept.is_some())
    }

    /// The file is received, with this size and time.
    pub(super) fn proven(self, size: u64, modified: Time) {
        let Some(collector) = self.collector else { return };
        if let Err(error) = collector.proven(&self.at, size, modified) {
            tracing::warn!(path = %self.at.path, %error, "the values of its groups are not kept");
        }
    }
}

/// The hashing of a file that comes whole: by groups if their values are collected.
pub(super) enum Hashing {
    Plain(Box<blake3::Hasher>, u64),
    Groups(GroupStream),
}

impl Hashing {
    pub(super) fn new(known: &Known<'_>) -> Self {
        if known.collects() { Self::Groups(GroupStream::new()) } else { Self::Plain(Box::default(), 0) }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Plain(_, len) => *len,
            Self::Groups(stream) => stream.len(),
        }
    }

    pub(super) fn update(&mut self, data: &[u8], known: &mut Known<'_>) {
        match self {
            Self::Plain(hasher, len) => {
                hasher.update(data);
                *len += data.len() as u64;
            }
            Self::Groups(stream) => stream.update(data, |value| known.push(&value)),
        }
    }

    pub(super) fn finish(self, known: &mut Known<'_>) -> Root {
        match self {
            Self::Plain(hasher, _) => Root(*hasher.finalize().as_bytes()),
            Self::Groups(stream) => stream.finish(|value| known.push(&value)),
        }
    }
}
