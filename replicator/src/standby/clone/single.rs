//! The clone of a root that is one file: a file, an image, or a block device, of which the clone is a file, too.
//!
//! Such a file is large, and nothing but its journals tells where it changed. So each call after the first looks only there.

use std::io;
use std::ops::Range;

use standin_common::id::{PointNumber, RootIndex};

use super::check;
use crate::journal::Op;
use crate::standby::history::back;
use crate::standby::reading::{self, Direction};
use crate::standby::replica::Replica;
use crate::store::Store;
use crate::volume::{Volume, VolumeFile};

/// Bytes that are compared at once, and written if they differ.
const BLOCK_LEN: usize = 64 * 1024;

/// All of a file.
pub(super) const ALL: Range<u64> = 0..u64::MAX;

impl<V: Volume, S: Store> Replica<V, S> {
    /// Where a root that is one file may have changed since the replica was at a point, or was on its way from there; `None` if the journals
    /// do not tell.
    ///
    /// A journal back has each place that a step changes, and is whole before anything is changed. So whatever changed before this was called is
    /// in the answer.
    pub fn changed_since(&self, since: PointNumber, root: RootIndex) -> Option<Vec<Range<u64>>> {
        let state = self.state();
        state.points.first().filter(|oldest| oldest.number <= since)?;
        let mut parts = Vec::new();
        for (from, step) in state.ways().into_iter().filter(|(_, step)| step.to > since) {
            let (journal, _) = self.whole_journal(back(from, step.to)).ok()?;
            let mut is_told = true;
            let read = reading::operations(&journal, Direction::Forward, |at, _, op, _| {
                match op {
                    _ if at != root => {}
                    Op::Write { offset, len, .. } => parts.push(offset..offset + u64::from(len)),
                    Op::Punch { start, end } => parts.push(start..end),
                    Op::Resize { len } => parts.push(len..u64::MAX),
                    Op::Attrs(_) => {}
                    _ => is_told = false,
                }
                Ok(())
            });
            read.ok().filter(|()| is_told)?;
        }
        Some(parts)
    }
}

/// Makes `to` what `from` is: by sharing its data where that can be, else by writing what differs in these parts. Zeros take no room.
pub(super) fn bring<F: VolumeFile>(from: &F, to: &F, parts: &[Range<u64>], is_over: &dyn Fn() -> bool) -> io::Result<()> {
    let size = from.size()?;
    let had = to.size()?.min(size);
    to.set_len(size)?;
    match to.share(from) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        shared => return shared,
    }
    let (mut new, mut old) = (vec![0; BLOCK_LEN], vec![0; BLOCK_LEN]);
    for part in parts {
        let (mut at, end) = (part.start, part.end.min(size));
        while at < end {
            check(is_over)?;
            let stretch = from.stretch(at)?;
            if stretch.hole {
                // Beyond what it had, it is a hole as it is.
                if at < had.min(stretch.end) {
                    to.punch(at, stretch.end.min(had).min(end))?;
                }
                at = stretch.end;
                continue;
            }
            let len = (stretch.end.min(end) - at).min(BLOCK_LEN as u64) as usize;
            let read = from.read_at(&mut new[..len], at)?;
            if read == 0 {
                // It became shorter; the next call sees to that.
                return Ok(());
            }
            let there = if at < had { to.read_at(&mut old[..read], at)? } else { 0 };
            old[there..read].fill(0);
            if new[..read] != old[..read] {
                write(to, &new[..read], at)?;
            }
            at += read as u64;
        }
    }
    Ok(())
}

fn write<F: VolumeFile>(to: &F, data: &[u8], at: u64) -> io::Result<()> {
    let is_zero = data.iter().all(|byte| *byte == 0);
    if is_zero { to.punch(at, at + data.len() as u64) } else { to.write_at(data, at) }
}

/// How many bytes of a block device, or another file without holes, are in blocks that are not zero: what its clone takes.
pub(super) fn weight<F: VolumeFile>(file: &F) -> io::Result<u64> {
    let (size, mut block) = (file.size()?, vec![0; BLOCK_LEN]);
    let (mut bytes, mut at) = (0, 0);
    while at < size {
        let read = file.read_at(&mut block, at)?;
        if read == 0 {
            break;
        }
        bytes += if block[..read].iter().all(|byte| *byte == 0) { 0 } else { read as u64 };
        at += read as u64;
    }
    Ok(bytes)
}
