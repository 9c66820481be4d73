//! A net as a journal: new objects are staged in the side area, all else is said in `incoming`.

use standin_common::id::RootIndex;
use standin_common::message::Encoding;
use standin_common::path::RelPath;

use super::base::Base;
use super::net::{Net, Spot};
use super::node::{Kind, No, Node};
use super::session::StreamError;
use super::tree::Tree;
use crate::journal::{Journal, JournalError, Op, Record};
use crate::store::{LogFile, Store};
use crate::volume::{Place, SideId, Touched, Volume, VolumeFile};

/// The longest piece of data that goes into one record.
const PIECE_LEN: usize = 1024 * 1024;

/// The segments of the log that data is read from.
pub(super) struct Sources<L> {
    segments: Vec<(u64, Journal<L>)>,
}

impl<L: LogFile> Sources<L> {
    pub(super) fn new(segments: Vec<(u64, Journal<L>)>) -> Self {
        Self { segments }
    }

    /// Appends bytes of the log to `out`.
    fn read(&self, (segment, at, skip): (u64, u64, u64), len: usize, out: &mut Vec<u8>) -> Result<(), JournalError> {
        let at = at + skip;
        let damaged = |why| JournalError::Damaged { at, why };
        let found = self.segments.iter().find(|(start, _)| *start == segment);
        let (_, journal) = found.ok_or(damaged("a segment of the stream's log is gone"))?;
        let start = out.len();
        out.resize(start + len, 0);
        let read = journal.read_raw(&mut out[start..], at)?;
        if read == len { Ok(()) } else { Err(damaged("the stream's log is cut off")) }
    }
}

/// What a net is written from.
pub(super) struct Writing<'w, 'a, V, B: ?Sized, L> {
    pub volumes: &'w [V],
    pub tree: &'w Tree<'a, B>,
    pub sources: &'w Sources<L>,
}

fn failed(what: &'static str, spot: &Spot) -> impl FnOnce(std::io::Error) -> StreamError + use<> {
    let (root, path) = spot.clone();
    move |source| StreamError::Volume { what, root, path, source }
}

impl<V: Volume, B: Base + ?Sized, L: LogFile> Writing<'_, '_, V, B, L> {
    /// Makes what is new, and makes it durable.
    pub(super) fn stage(&self, net: &Net) -> Result<(), StreamError> {
        let mut touched = vec![Touched::default(); self.volumes.len()];
        for (side, no) in &net.staged {
            let node = self.tree.node(*no);
            let index = usize::from(node.root.0);
            let volume =
                self.volumes.get(index).ok_or(StreamError::Over("it named a root that the set does not have".to_owned()))?;
            self.make(volume, *side, node)?;
            touched[index].side(*side);
        }
        for (index, (volume, touched)) in self.volumes.iter().zip(&touched).enumerate() {
            let spot = (RootIndex(index as u16), RelPath::root());
            volume.sync_touched(touched).map_err(failed("making staged objects durable", &spot))?;
        }
        Ok(())
    }

    fn make(&self, volume: &V, side: SideId, node: &Node) -> Result<(), StreamError> {
        let place = Place::Side(side);
        let failed = || failed("staging an object", &(node.root, RelPath::root()));
        match &node.kind {
            Kind::File => {
                let file = volume.create(&place).map_err(failed())?;
                self.data(node, |op, data| match op {
                    Op::Write { offset, .. } => file.write_at(data, offset).map_err(failed()),
                    _ => Ok(()),
                })?;
                file.set_len(node.size).map_err(failed())?;
            }
            Kind::Symlink(target) => volume.make_symlink(&place, target).map_err(failed())?,
            Kind::Fifo => volume.make_fifo(&place).map_err(failed())?,
            Kind::Directory | Kind::Other => return Ok(()),
        }
        volume.set_attrs(&place, &node.attrs).map_err(failed())
    }

    /// The changes of a file's data, in pieces that are as long as they may be.
    fn data(&self, node: &Node, mut each: impl FnMut(Op, &[u8]) -> Result<(), StreamError>) -> Result<(), StreamError> {
        let (mut start, mut piece) = (0, Vec::new());
        for (op, source) in node.data.ops() {
            let (offset, len) = if let Op::Write { offset, len, .. } = op { (offset, len as usize) } else { (0, 0) };
            let follows = len > 0 && start + piece.len() as u64 == offset && piece.len() + len <= PIECE_LEN;
            if !follows {
                end_piece(start, &mut piece, &mut each)?;
                start = offset;
            }
            match source {
                Some(source) => self.sources.read(source, len, &mut piece)?,
                None => each(op, &[])?,
            }
        }
        end_piece(start, &mut piece, &mut each)
    }

    /// Says in a journal that has its first record what is done.
    pub(super) fn journal<J: LogFile>(&self, net: &Net, journal: &mut Journal<J>) -> Result<(), StreamError> {
        if net.turn {
            journal.append(&Record::Moves, &[])?;
        }
        let mut note = |(root, path): &Spot, op: Op, payload: &[u8]| -> Result<(), StreamError> {
            journal.append(&Record::Op { file: None, root: *root, path: path.clone(), op }, payload)?;
            Ok(())
        };
        net.leave.iter().try_for_each(|(spot, op)| note(spot, op.clone(), &[]))?;
        if net.turn {
            note(&(RootIndex(0), RelPath::root()), Op::Turn, &[])?;
        }
        net.come.iter().try_for_each(|(spot, op)| note(spot, op.clone(), &[]))?;
        for (spot, no) in &net.written {
            self.data(self.tree.node(*no), |op, data| note(spot, op, data))?;
        }
        net.links.iter().try_for_each(|(spot, op)| note(spot, op.clone(), &[]))?;
        let attrs = |no: No| self.tree.node(no).attrs.clone();
        net.attributes.iter().try_for_each(|(spot, no)| note(spot, Op::Attrs(attrs(*no)), &[]))
    }
}

fn end_piece(
    start: u64,
    piece: &mut Vec<u8>,
    each: &mut impl FnMut(Op, &[u8]) -> Result<(), StreamError>,
) -> Result<(), StreamError> {
    if !piece.is_empty() {
        each(Op::Write { offset: start, len: piece.len() as u32, encoding: Encoding::Plain }, piece)?;
        piece.clear();
    }
    Ok(())
}

/// The journal that a point is made by, empty but for its first record.
pub(super) fn begin<S: Store>(store: &S, name: &str, begin: &Record) -> Result<Journal<S::Log>, StreamError> {
    let mut journal = Journal::new(store.open_log(name)?);
    journal.truncate(0)?;
    journal.append(begin, &[])?;
    Ok(journal)
}
