//! Applying a journal to the replica, and writing the journal that takes it back.
//!
//! Applying is two steps, so that a crash anywhere leaves a way on: [`invert`] reads the replica and writes the inverse, touching
//! nothing, and makes it durable; then [`perform`] does the operations. Each is done again from its start after a crash: an
//! inverse is only written from an untouched replica, and doing an operation twice is doing it once.
//!
//! Where objects are moved, each leaves its old place before any comes to its new one, and what lies between is a turn (`turn`): what is
//! before it is not done again once the replica has passed it.
//!
//! Names are added to objects after all objects are in their places, and attributes are set last of all, whichever way a journal is
//! read: what a name leads to may come later in the journal, and writing and renaming change times.

use std::io;

use standin_common::id::RootIndex;
use standin_common::message::Encoding;
use standin_common::path::RelPath;
use standin_common::tree::LEAF_LEN;

use super::files::OpenFiles;
use super::reading::operations;
pub use super::reading::{Direction, Reading};
use super::turn::Spot;
use crate::journal::{Journal, JournalError, Op, Placed, Record};
use crate::pack;
use crate::store::LogFile;
use crate::volume::{Object, ObjectKind, Place, SideId, Touched, Volume, VolumeFile};

/// The longest piece of old data that goes into one record of an inverse.
const PIECE_LEN: u64 = 1024 * 1024;

/// Why a journal could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The journal itself.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The volume refused an operation.
    #[error("{what} failed at {path:?} of root {}: {source}", root.0)]
    Volume {
        /// What was done.
        what: &'static str,
        /// The root.
        root: RootIndex,
        /// Where.
        path: RelPath,
        /// What the system said.
        source: io::Error,
    },
    /// The replica is not as the journal found it: somebody else wrote to it.
    #[error("{path:?} of root {} is not as the last recovery point left it ({what}): something else has written to the replica; to begin anew, \
             remove the set's state directory here while the daemon is stopped, and mirror: what is still right is not sent again", root.0)]
    Foreign {
        /// What was expected.
        what: &'static str,
        /// The root.
        root: RootIndex,
        /// Where.
        path: RelPath,
    },
    /// The journal names a root that the set does not have.
    #[error("the journal names root {}, which the set does not have", .0.0)]
    NoRoot(RootIndex),
}

/// What an inverse holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Inverted {
    /// Bytes of the files that it puts back from the side area, where they will be parked.
    pub parked: u64,
    /// Whether names are added to objects or taken from them, or objects moved, which ties places together.
    pub links: bool,
}

/// What a written inverse holds, from what is in the side area.
pub(super) fn measure<V: Volume, L: LogFile>(inverse: &Journal<L>, volumes: &[V]) -> Result<Inverted, ApplyError> {
    let mut inverted = Inverted::default();
    operations(inverse, Direction::Backward, |root, path, op, _| {
        let target = Target { volume: volume(volumes, root)?, root, path: &path };
        match op {
            Op::Link { .. } | Op::Unlink { .. } | Op::Turn => inverted.links = true,
            Op::Install(side) => inverted.parked += target.room_of(target.object_at(&Place::Side(side))?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(inverted)
}

/// Writes the inverse of a journal, to be read backward, from a replica to which nothing of it was applied.
pub fn invert<V: Volume, L: LogFile>(
    reading: &Reading<'_, L>,
    volumes: &[V],
    inverse: &mut Journal<L>,
) -> Result<Inverted, ApplyError> {
    let moves = &reading.moves;
    let mut files = OpenFiles::new(volumes);
    let mut inverted = Inverted::default();
    let mut turned = false;
    inverse.append(&Record::Inverse, &[])?;
    if moves.turns() {
        inverse.append(&Record::Moves, &[])?;
    }
    reading.operations(|root, path, op, _| {
        let target = Target { volume: volume(volumes, root)?, root, path: &path };
        let mut note = |op: Op, payload: &[u8]| -> Result<(), ApplyError> {
            inverse.append(&Record::Op { file: None, root, path: path.clone(), op }, payload)?;
            Ok(())
        };
        let spot = || moves.before(root, &path, turned);
        inverted.links |= matches!(op, Op::Link { .. } | Op::Unlink { .. } | Op::Turn);
        match op {
            Op::Turn => {
                turned = true;
                note(Op::Turn, &[])
            }
            Op::Park(side) => {
                if !moves.is_moved(root, side) {
                    inverted.parked += target.room_of(target.object()?);
                }
                note(Op::Install(side), &[])
            }
            Op::Install(side) => note(Op::Park(side), &[]),
            Op::MakeDirectory => note(Op::RemoveDirectory, &[]),
            Op::Link { to } => note(Op::Unlink { to }, &[]),
            Op::Unlink { to } => note(Op::Link { to }, &[]),
            Op::RemoveDirectory => {
                note(Op::MakeDirectory, &[])?;
                target.object()?.map_or(Ok(()), |object| note(Op::Attrs(object.attrs), &[]))
            }
            Op::Attrs(_) => {
                let Some(path) = moves.origin(root, &path) else { return Ok(()) };
                let before = Target { path, ..target }.object()?;
                let op = before.map(|object| Record::Op { file: None, root, path: path.clone(), op: Op::Attrs(object.attrs) });
                Ok(op.map_or(Ok(0), |op| inverse.append(&op, &[])).map(drop)?)
            }
            Op::Write { offset, len, .. } => {
                let file = files.open_at(root, &path, &spot())?;
                old_data(&target, file, offset, offset + u64::from(len), &mut note)
            }
            Op::Punch { start, end } => {
                let file = files.open_at(root, &path, &spot())?;
                old_data(&target, file, start, end, &mut note)
            }
            Op::Resize { len } => {
                let file = files.open_at(root, &path, &spot())?;
                let size = file.size().map_err(target.failed("reading its size"))?;
                note(Op::Resize { len: size }, &[])?;
                old_data(&target, file, len, size, &mut note)
            }
        }
    })?;
    inverse.append(&Record::End, &[])?;
    inverse.sync()?;
    Ok(inverted)
}

/// Notes what a file holds in `start..end`, as far as it reaches.
fn old_data<V: Volume>(
    target: &Target<'_, V>,
    file: &V::File,
    start: u64,
    end: u64,
    note: &mut impl FnMut(Op, &[u8]) -> Result<(), ApplyError>,
) -> Result<(), ApplyError> {
    let size = file.size().map_err(target.failed("reading its size"))?;
    let (mut at, end) = (start, end.min(size));
    let mut data_until = start;
    while at < end {
        // Long holes are not worth reading; for a short piece, reading is cheaper than finding holes.
        if at >= data_until && end - at > PIECE_LEN {
            let stretch = file.stretch(at).map_err(target.failed("finding its holes"))?;
            if stretch.hole {
                let until = end.min(stretch.end);
                note(Op::Punch { start: at, end: until }, &[])?;
                at = until;
                continue;
            }
            data_until = stretch.end;
        }
        let mut piece = vec![0; (end - at).min(PIECE_LEN) as usize];
        let read = file.read_at(&mut piece, at).map_err(target.failed("reading the old data"))?;
        if read == 0 {
            return Ok(());
        }
        for run in runs(&piece[..read]) {
            let until = at + run.len() as u64;
            if run[0] == 0 && is_zero(run) && file.is_hole(at, until).map_err(target.failed("finding its holes"))? {
                note(Op::Punch { start: at, end: until }, &[])?;
            } else {
                note(Op::Write { offset: at, len: run.len() as u32, encoding: Encoding::Plain }, run)?;
            }
            at = until;
        }
    }
    Ok(())
}

fn is_zero(data: &[u8]) -> bool {
    data.iter().all(|byte| *byte == 0)
}

/// Cuts data into runs of leaves that are all zeros, as holes are, and of leaves that are not.
fn runs(data: &[u8]) -> Vec<&[u8]> {
    let mut runs = Vec::new();
    let (mut start, mut zero) = (0, None);
    for (index, leaf) in data.chunks(LEAF_LEN).enumerate() {
        let is = Some(is_zero(leaf));
        if zero.is_some() && zero != is {
            runs.push(&data[start..index * LEAF_LEN]);
            start = index * LEAF_LEN;
        }
        zero = is;
    }
    runs.push(&data[start..]);
    runs
}

/// Does the operations of a journal, and makes them durable.
///
/// If objects are moved, `turned` says that the replica has passed the turn, so that what comes before it is not done again; `turn` is
/// called when all of that is durable, and makes durable that it is.
pub fn perform<V: Volume, L: LogFile>(
    reading: &Reading<'_, L>,
    volumes: &[V],
    turned: bool,
    turn: &mut dyn FnMut() -> Result<(), ApplyError>,
) -> Result<(), ApplyError> {
    let moves = &reading.moves;
    let mut files = OpenFiles::new(volumes);
    let mut touched = vec![Touched::default(); volumes.len()];
    let (mut links, mut attributes) = (Vec::new(), Vec::new());
    let mut leaving: Option<(RootIndex, RelPath)> = None;
    let mut before = moves.turns();
    reading.operations(|root, path, op, placed| {
        if let Some(last) = leaving.take() {
            unlink(volumes, &last, (last.0 == root && last.1 == path).then_some(&op))?;
        }
        if op == Op::Turn {
            before = false;
            files.forget();
            return if turned { Ok(()) } else { sync(volumes, &touched).and_then(|()| turn()) };
        }
        let target = Target { volume: volume(volumes, root)?, root, path: &path };
        if let Some(touched) = touched.get_mut(usize::from(root.0)) {
            touch(touched, &path, &op);
        }
        match op {
            Op::Attrs(_) => attributes.push(placed.at),
            Op::Link { .. } => links.push(placed.at),
            _ if before && turned => {}
            Op::Unlink { .. } => {
                files.forget();
                leaving = Some((root, path.clone()));
            }
            Op::Write { .. } | Op::Punch { .. } | Op::Resize { .. } => {
                let parked = moves.parked_from(root, &path).filter(|_| before);
                let file = files.open_at(root, &path, &target.parked_or_here(parked)?)?;
                write(file, &target, op, placed.payload)?;
            }
            name => {
                files.forget();
                target.change_names(name)?;
            }
        }
        Ok(())
    })?;
    if let Some(last) = leaving {
        unlink(volumes, &last, None)?;
    }
    files.forget();
    for at in links.into_iter().chain(attributes) {
        perform_late(reading.journal, at, volumes)?;
    }
    sync(volumes, &touched)
}

fn sync<V: Volume>(volumes: &[V], touched: &[Touched]) -> Result<(), ApplyError> {
    for (index, (volume, touched)) in volumes.iter().zip(touched).enumerate() {
        let root = RootIndex(index as u16);
        let target = Target { volume, root, path: &RelPath::root() };
        volume.sync_touched(touched).map_err(target.failed("making the replica durable"))?;
    }
    Ok(())
}

/// Changes the data of a file.
fn write<V: Volume>(file: &V::File, target: &Target<'_, V>, op: Op, payload: Vec<u8>) -> Result<(), ApplyError> {
    match op {
        Op::Write { offset, len, encoding } => {
            let data = pack::unpack(payload, len as usize, encoding).map_err(target.failed("unpacking"))?;
            file.write_at(&data, offset).map_err(target.failed("writing"))
        }
        Op::Punch { start, end } => file.punch(start, end).map_err(target.failed("making a hole")),
        Op::Resize { len } => file.set_len(len).map_err(target.failed("setting its size")),
        _ => Ok(()),
    }
}

/// Notes what an operation changes.
fn touch(touched: &mut Touched, path: &RelPath, op: &Op) {
    match op {
        Op::Write { .. } | Op::Punch { .. } | Op::Resize { .. } | Op::Attrs(_) => touched.object(path),
        Op::Park(_) | Op::Install(_) => {
            touched.name(path);
            touched.side_names();
        }
        Op::RemoveDirectory | Op::Unlink { .. } => touched.name(path),
        Op::MakeDirectory | Op::Link { .. } => {
            touched.name(path);
            touched.object(path);
        }
        Op::Turn => {}
    }
}

/// Removes a name, unless what had it before has it still, or again: because its journal was not applied to the end, or because this was
/// done before a crash. `next` is the operation that follows on the same name.
fn unlink<V: Volume>(volumes: &[V], (root, path): &(RootIndex, RelPath), next: Option<&Op>) -> Result<(), ApplyError> {
    let target = Target { volume: volume(volumes, *root)?, root: *root, path };
    let back = match next {
        Some(Op::Install(side)) => target.object_at(&Place::Side(*side))?.is_none(),
        _ => false,
    };
    match target.object()? {
        Some(object) if !back && object.kind != ObjectKind::Directory => {
            target.volume.remove(&Place::Tree(path)).map_err(target.failed("removing the name"))
        }
        _ => Ok(()),
    }
}

fn perform_late<V: Volume, L: LogFile>(journal: &Journal<L>, at: u64, volumes: &[V]) -> Result<(), ApplyError> {
    let Some(Placed { record: Record::Op { root, path, op, .. }, .. }) = journal.read(at)? else { return Ok(()) };
    let target = Target { volume: volume(volumes, root)?, root, path: &path };
    match op {
        Op::Attrs(attrs) => target.volume.set_attrs(&Place::Tree(&path), &attrs).map_err(target.failed("setting attributes")),
        op => target.change_names(op),
    }
}

pub(super) fn volume<V>(volumes: &[V], root: RootIndex) -> Result<&V, ApplyError> {
    volumes.get(usize::from(root.0)).ok_or(ApplyError::NoRoot(root))
}

/// One object that an operation is about.
struct Target<'a, V> {
    volume: &'a V,
    root: RootIndex,
    path: &'a RelPath,
}

impl<V: Volume> Target<'_, V> {
    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> ApplyError {
        let (root, path) = (self.root, self.path.clone());
        move |source| ApplyError::Volume { what, root, path, source }
    }

    fn foreign(&self, what: &'static str) -> ApplyError {
        ApplyError::Foreign { what, root: self.root, path: self.path.clone() }
    }

    fn object_at(&self, place: &Place<'_>) -> Result<Option<Object>, ApplyError> {
        self.volume.object(place).map_err(self.failed("reading its attributes"))
    }

    /// The room that a parked object takes. Where files can be cloned, it may share all of it, and what it takes is not known.
    fn room_of(&self, parked: Option<Object>) -> u64 {
        if self.volume.abilities().clones { 0 } else { parked.map_or(0, |object| object.size) }
    }

    fn object(&self) -> Result<Option<Object>, ApplyError> {
        self.object_at(&Place::Tree(self.path))
    }

    /// Where an object is that is taken out of here: there already, or still here.
    fn parked_or_here(&self, parked: Option<SideId>) -> Result<Spot, ApplyError> {
        match parked {
            Some(side) if self.object_at(&Place::Side(side))?.is_some() => Ok(Spot::Side(side)),
            _ => Ok(Spot::Tree(self.path.clone())),
        }
    }

    fn is_directory(&self) -> Result<bool, ApplyError> {
        Ok(self.object()?.is_some_and(|object| object.kind == ObjectKind::Directory))
    }

    /// Does one operation on names, unless it was done before a crash.
    fn change_names(&self, op: Op) -> Result<(), ApplyError> {
        let here = Place::Tree(self.path);
        match op {
            Op::Park(side) => {
                if self.object_at(&Place::Side(side))?.is_some() {
                    return Ok(());
                }
                if self.object()?.is_none() {
                    return Err(self.foreign("it is gone"));
                }
                self.volume.rename(&here, &Place::Side(side)).map_err(self.failed("taking it out"))
            }
            Op::Install(side) => {
                if self.object_at(&Place::Side(side))?.is_some() {
                    return self.volume.rename(&Place::Side(side), &here).map_err(self.failed("putting it in"));
                }
                if self.object()?.is_none() { Err(self.foreign("it is gone")) } else { Ok(()) }
            }
            Op::MakeDirectory if !self.is_directory()? => {
                self.volume.make_directory(self.path).map_err(self.failed("making the directory"))
            }
            Op::RemoveDirectory if self.is_directory()? => {
                match self.volume.remove_directory(self.path) {
                    // What the rules exclude, or somebody else put there, is not ours to remove.
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                    removed => removed.map_err(self.failed("removing the directory")),
                }
            }
            // What it leads to vanished at the source before it was read, and was dropped: then there is nothing to lead to.
            Op::Link { to } if self.object_at(&Place::Tree(&to))?.is_none() => Ok(()),
            Op::Link { to } if self.object()?.is_none() => {
                self.volume.link(&Place::Tree(&to), &here).map_err(self.failed("linking"))
            }
            _ => Ok(()),
        }
    }
}
