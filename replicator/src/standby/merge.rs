//! Several inverses that follow each other become one: what each object has to be at the end counts, not what it was on the way.
//!
//! The inverses lead back one after the other; their points in between are not kept, so that nobody stops there. For each path three things
//! matter: what leaves it first, what comes to it last, and what its data is then. An object that comes and leaves again on the way is
//! needed by nobody. Of data written several times to one place, what is written last counts, which is the oldest.
//!
//! Names of one object (`Link`, `Unlink`) tie paths together; inverses that have them stay as they are.

use std::collections::BTreeMap;

use standin_common::id::RootIndex;
use standin_common::path::RelPath;

use super::apply::{ApplyError, Direction, Inverted};
use super::data::{Data, Source};
use super::reading::operations;
use crate::journal::{Journal, JournalError, Op, Record};
use crate::store::LogFile;
use crate::volume::{Place, SideId, Touched, Volume, VolumeFile};

/// What becomes of one path.
#[derive(Debug, Default)]
struct Fate {
    /// The operation that takes away what is there before.
    leaves: Option<Op>,
    /// The operation that brings what is there at the end.
    comes: Option<Op>,
    data: Option<Data>,
    /// The record of its attributes at the end.
    attrs: Option<(usize, u64)>,
}

/// What several inverses come to.
#[derive(Debug, Default)]
struct Net {
    fates: BTreeMap<(RootIndex, RelPath), Fate>,
    garbage: Vec<(RootIndex, SideId)>,
    links: bool,
}

impl Net {
    fn take(&mut self, inverse: usize, record: u64, (root, path): (RootIndex, RelPath), op: Op) {
        let fate = self.fates.entry((root, path)).or_default();
        if matches!(op, Op::Park(_) | Op::Install(_) | Op::MakeDirectory | Op::RemoveDirectory) {
            (fate.data, fate.attrs) = (None, None);
        }
        match op {
            Op::Link { .. } | Op::Unlink { .. } | Op::Turn => self.links = true,
            Op::Attrs(_) => fate.attrs = Some((inverse, record)),
            Op::Write { offset, len, .. } => {
                fate.data.get_or_insert_default().lay(offset, offset + u64::from(len), Some((inverse as u64, record, 0)));
            }
            Op::Punch { start, end } => fate.data.get_or_insert_default().lay(start, end, None),
            Op::Resize { len } => fate.data.get_or_insert_default().resize(len),
            Op::Install(_) | Op::MakeDirectory => fate.comes = Some(op),
            Op::Park(_) | Op::RemoveDirectory => match fate.comes.take() {
                None => fate.leaves = Some(op),
                Some(Op::Install(side)) => self.garbage.push((root, side)),
                Some(_) => {}
            },
        }
    }

    /// A directory that goes and comes again stays.
    fn settle(&mut self) {
        for fate in self.fates.values_mut() {
            if (&fate.leaves, &fate.comes) == (&Some(Op::RemoveDirectory), &Some(Op::MakeDirectory)) {
                (fate.leaves, fate.comes) = (None, None);
            }
        }
    }
}

/// What inverses were merged into.
#[derive(Debug)]
pub(super) struct Merged {
    /// What the new one holds.
    pub inverted: Inverted,
    /// Objects of the side area that nothing needs once the new one has taken the place of the old ones.
    pub garbage: Vec<(RootIndex, SideId)>,
}

/// Merges `inverses`, the one that is applied first before the others, and makes the result durable in `out`; `None` if they
/// cannot become one.
///
/// What a parked object is by the time its data was written to on the way is written to it at once. Until the old inverses are
/// given up that changes nothing: they write the same again.
pub(super) fn merge<V: Volume, L: LogFile>(
    inverses: &[Journal<L>],
    volumes: &[V],
    out: &mut Journal<L>,
) -> Result<Option<Merged>, ApplyError> {
    let mut net = Net::default();
    for (index, inverse) in inverses.iter().enumerate() {
        let mut attributes = Vec::new();
        operations(inverse, Direction::Backward, |root, path, op, placed| {
            match op {
                // Attributes come last, whatever else a journal does to the path.
                Op::Attrs(_) => attributes.push(((root, path), op, placed.at)),
                op => net.take(index, placed.at, (root, path), op),
            }
            Ok(())
        })?;
        attributes.into_iter().for_each(|(at, op, record)| net.take(index, record, at, op));
    }
    net.settle();
    if net.links || !age_parked(&net, inverses, volumes)? {
        return Ok(None);
    }
    write(&net, inverses, out)?;
    let mut inverted = Inverted::default();
    for ((root, _), fate) in &net.fates {
        if let Some(Op::Install(side)) = fate.comes {
            inverted.parked += object_of(volumes, *root, side)?.map_or(0, |object| object.size);
        }
    }
    Ok(Some(Merged { inverted, garbage: net.garbage }))
}

fn failed(root: RootIndex, path: &RelPath, what: &'static str) -> impl FnOnce(std::io::Error) -> ApplyError + use<> {
    let path = path.clone();
    move |source| ApplyError::Volume { what, root, path, source }
}

fn object_of<V: Volume>(volumes: &[V], root: RootIndex, side: SideId) -> Result<Option<crate::volume::Object>, ApplyError> {
    let volume = super::apply::volume(volumes, root)?;
    volume.object(&Place::Side(side)).map_err(failed(root, &RelPath::root(), "looking at a parked object"))
}

/// Takes the data of parked objects back to what it is at the end; `false`, and nothing is done, if one of them has other names, which
/// may lead to it in the replica.
fn age_parked<V: Volume, L: LogFile>(net: &Net, inverses: &[Journal<L>], volumes: &[V]) -> Result<bool, ApplyError> {
    let parked = || {
        net.fates.iter().filter_map(|((root, path), fate)| match (&fate.comes, &fate.data) {
            (Some(Op::Install(side)), Some(data)) => Some((*root, path, *side, data)),
            _ => None,
        })
    };
    for (root, _, side, _) in parked() {
        if object_of(volumes, root, side)?.is_none_or(|object| object.names > 1) {
            return Ok(false);
        }
    }
    let mut touched = vec![Touched::default(); volumes.len()];
    for (root, path, side, data) in parked() {
        let volume = super::apply::volume(volumes, root)?;
        let failed = || failed(root, path, "writing to a parked object");
        let file = volume.open(&Place::Side(side), true).map_err(failed())?;
        for (op, source) in data.ops() {
            match op {
                Op::Write { offset, len, .. } => file.write_at(&bytes(inverses, source, len)?, offset),
                Op::Punch { start, end } => file.punch(start, end),
                Op::Resize { len } => file.set_len(len),
                _ => Ok(()),
            }
            .map_err(failed())?;
        }
        touched[usize::from(root.0)].side(side);
    }
    for (index, (volume, touched)) in volumes.iter().zip(&touched).enumerate() {
        let failed = failed(RootIndex(index as u16), &RelPath::root(), "making parked objects durable");
        volume.sync_touched(touched).map_err(failed)?;
    }
    Ok(true)
}

/// Bytes of a piece.
fn bytes<L: LogFile>(inverses: &[Journal<L>], source: Source, len: u32) -> Result<Vec<u8>, JournalError> {
    let Some((inverse, record, skip)) = source else { return Ok(vec![0; len as usize]) };
    let placed = inverses.get(inverse as usize).map(|inverse| inverse.read(record)).transpose()?.flatten();
    let range = skip as usize..skip as usize + len as usize;
    let bytes = placed.and_then(|placed| placed.payload.get(range).map(<[u8]>::to_vec));
    bytes.ok_or(JournalError::Damaged { at: record, why: "a record is shorter than it says" })
}

/// Writes the inverse, to be read backward: what is done last comes first.
fn write<L: LogFile>(net: &Net, inverses: &[Journal<L>], out: &mut Journal<L>) -> Result<(), ApplyError> {
    out.append(&Record::Inverse, &[])?;
    for fate in net.fates.values() {
        if let Some((inverse, record)) = fate.attrs
            && let Some(placed) = inverses[inverse].read(record)?
        {
            out.append(&placed.record, &placed.payload)?;
        }
    }
    let mut note = |(root, path): &(RootIndex, RelPath), op: &Op, payload: &[u8]| {
        out.append(&Record::Op { file: None, root: *root, path: path.clone(), op: op.clone() }, payload).map(drop)
    };
    // Directories come before what they hold, and leave after it.
    for (at, op) in net.fates.iter().rev().filter_map(|(at, fate)| Some((at, fate.comes.as_ref()?))) {
        note(at, op, &[])?;
    }
    for (at, op) in net.fates.iter().filter_map(|(at, fate)| Some((at, fate.leaves.as_ref()?))) {
        note(at, op, &[])?;
    }
    for (at, fate) in &net.fates {
        let stays = fate.comes.is_none();
        for (op, source) in fate.data.iter().filter(|_| stays).flat_map(Data::ops).rev() {
            match op {
                Op::Write { len, .. } => note(at, &op, &bytes(inverses, source, len)?)?,
                _ => note(at, &op, &[])?,
            }
        }
    }
    out.append(&Record::End, &[])?;
    Ok(out.sync()?)
}
