//! One lane on the standby: receives files one message at a time, answers comparisons, and proves every file by its root.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

use standin_common::entry::Attrs;
use standin_common::message::{Differing, Encoding, FileEnd, LaneDown, LaneUp, RootKind};
use standin_common::tree::{
    Fold, GROUP_LEN, GroupFold, LEAF_LEN, LEAVES_PER_GROUP, Root, ShortValue, Value, group_count, group_len, leaf_value, short,
};

use super::compare::{MOST_PENDING, compare_group};
use super::known::{Hashing, Known};
use super::receive::{ReceiveError, Reception, Wanted, failed};
use super::target::Target;
use crate::journal::{Landing, Op, Record};
use crate::mirror::{self, SMALL_LEN};
use crate::pack::Unpacker;
use crate::store::Store;
use crate::volume::{Place, Volume, VolumeFile};

/// Bytes of zeros hashed at a time.
static ZEROS: [u8; GROUP_LEN] = [0; GROUP_LEN];

/// A group that was announced, in order, until its value is known.
enum Pending {
    Known(Value),
    Waiting { group: u64, leaves: Vec<Value> },
}

enum Mode {
    /// Nothing of this attempt has come.
    Begun,
    /// Pieces one after the other.
    Whole(Hashing),
    /// Groups, compared.
    Compare { fold: GroupFold, next: u64, pending: VecDeque<Pending> },
}

struct Receiving<'r, F> {
    wanted: Wanted,
    target: Target<F>,
    size: u64,
    mode: Mode,
    known: Known<'r>,
}

/// The standby's side of one lane.
pub struct Lane<'r, 'a, V: Volume, S: Store> {
    reception: &'r Reception<'a, V, S>,
    files: HashMap<u64, Receiving<'r, V::File>>,
    unpacker: Unpacker,
    group: Vec<u8>,
}

impl<'r, 'a, V: Volume, S: Store> Lane<'r, 'a, V, S> {
    /// A lane of a reception.
    pub fn new(reception: &'r Reception<'a, V, S>) -> Self {
        Self { reception, files: HashMap::new(), unpacker: Unpacker::default(), group: vec![0; GROUP_LEN] }
    }

    /// Takes one message with its payload; returns the answer, if it has one.
    pub fn take(&mut self, message: LaneDown, payload: &[u8]) -> Result<Option<LaneUp>, ReceiveError> {
        match message {
            LaneDown::Begin { file, size } => self.begin(file, size).map(|()| None),
            LaneDown::Small { file, size, encoding, end } => {
                self.begin(file, u64::from(size))?;
                self.data(file, size, encoding, payload)?;
                self.finish(file, end).map(Some)
            }
            LaneDown::Check { file, end } => self.check(file, end).map(Some),
            LaneDown::Data { file, len, encoding } => self.data(file, len, encoding, payload).map(|()| None),
            LaneDown::Hole { file, len } => self.hole(file, len).map(|()| None),
            LaneDown::Groups { file, values } => self.groups(file, &values).map(Some),
            LaneDown::Leaves { file, group, mask, hole, len, encoding } => {
                let data = if hole {
                    &ZEROS[..(len as usize).min(GROUP_LEN)]
                } else {
                    unpack(&mut self.unpacker, payload, len, encoding)?
                };
                let receiving = receiving(&mut self.files, file)?;
                receiving.leaves(self.reception, (file, group), mask, hole, data)?;
                if !hole {
                    self.reception.took(data);
                }
                Ok(None)
            }
            LaneDown::End { file, end } => self.finish(file, end).map(Some),
            LaneDown::Gone { file, .. } => self.give_up(file).map(|()| None),
        }
    }

    fn begin(&mut self, file: u64, size: u64) -> Result<(), ReceiveError> {
        if let Some(receiving) = self.files.get_mut(&file) {
            receiving.size = size;
            receiving.mode = Mode::Begun;
            receiving.known.begin(size);
            return Ok(());
        }
        let wanted = self.reception.wanted(file)?;
        let (target, mut known) = self.open_known(file, &wanted)?;
        known.begin(size);
        self.files.insert(file, Receiving { wanted, target, size, mode: Mode::Begun, known });
        Ok(())
    }

    /// Opens the target of a file, with what is kept of what it begins as.
    fn open_known(&self, file: u64, wanted: &Wanted) -> Result<(Target<V::File>, Known<'r>), ReceiveError> {
        let values = self.reception.values();
        let volume = self.reception.volume(wanted.at.root)?;
        let stamp = || {
            let here = volume.object(&Place::Tree(&wanted.at.path)).map_err(failed("reading its attributes", &wanted.at.path));
            here.map(|here| here.map(|here| here.stamp))
        };
        // Nothing tells when a device changed.
        let believed = self.reception.relies_on_values() && volume.kind() != RootKind::Device;
        let begins_as_is = matches!(wanted.landing, Landing::Journal) || wanted.cloned;
        let before = if believed && begins_as_is { stamp()? } else { None };
        let target = self.open(file, wanted)?;
        let known = match before {
            Some(before) if stamp()? == Some(before) => {
                Known::of(values, wanted.at.clone(), &before, wanted.overlay.keys().copied().collect())
            }
            _ => Known::nothing(values, wanted.at.clone()),
        };
        Ok((target, if volume.kind() == RootKind::Device { known.never_collecting() } else { known }))
    }

    fn open(&self, file: u64, wanted: &Wanted) -> Result<Target<V::File>, ReceiveError> {
        let volume = self.reception.volume(wanted.at.root)?;
        let path = &wanted.at.path;
        let tree = Place::Tree(path);
        if let Landing::Staged(_) = wanted.landing
            && !wanted.opened
        {
            self.reception.note(&Record::Open { file, at: wanted.at.clone(), landing: wanted.landing }, &[])?;
        }
        let open_or_create = |place: &Place<'_>| match volume.open(place, true) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => volume.create(place),
            opened => opened,
        };
        match wanted.landing {
            Landing::InPlace => open_or_create(&tree).map(Target::File).map_err(failed("opening", path)),
            Landing::Staged(side) => {
                self.reception.touch_side(wanted.at.root, side);
                if wanted.cloned {
                    volume.clone_file(&tree, &Place::Side(side)).map_err(failed("cloning", path))?;
                }
                open_or_create(&Place::Side(side)).map(Target::File).map_err(failed("staging", path))
            }
            Landing::Journal => {
                let base = volume.open(&tree, false).map_err(failed("opening", path))?;
                Ok(Target::Journal { base, overlay: wanted.overlay.clone(), opened: wanted.opened })
            }
        }
    }

    /// A file that comes whole although it was to be compared is another one: it is staged beside the old one, if it may replace that.
    fn stage_whole(&mut self, file: u64) -> Result<(), ReceiveError> {
        let receiving = receiving(&mut self.files, file)?;
        let begins = matches!(receiving.mode, Mode::Begun) && receiving.size > SMALL_LEN;
        if !(begins && receiving.wanted.replaceable && receiving.target.is_untouched()) {
            return Ok(());
        }
        let wanted = self.reception.want_staged(file)?;
        let target = self.open(file, &wanted)?;
        if let Some(receiving) = self.files.get_mut(&file) {
            (receiving.wanted, receiving.target) = (wanted, target);
        }
        Ok(())
    }

    fn data(&mut self, file: u64, len: u32, encoding: Encoding, payload: &[u8]) -> Result<(), ReceiveError> {
        self.stage_whole(file)?;
        let reception = self.reception;
        let receiving = receiving(&mut self.files, file)?;
        let data = unpack(&mut self.unpacker, payload, len, encoding)?;
        let packed = (encoding == Encoding::Zstd).then_some(payload);
        let (hashing, known) = receiving.whole()?;
        let offset = hashing.len();
        offset.checked_add(data.len() as u64).ok_or(ReceiveError::Protocol("it sent a file beyond any size"))?;
        hashing.update(data, known);
        if data.is_empty() {
            return Ok(());
        }
        receiving.target.write(reception, (file, &receiving.wanted), offset, data, packed)?;
        reception.took(data);
        Ok(())
    }

    fn hole(&mut self, file: u64, len: u64) -> Result<(), ReceiveError> {
        self.stage_whole(file)?;
        let reception = self.reception;
        let receiving = receiving(&mut self.files, file)?;
        let size = receiving.size;
        let (hashing, known) = receiving.whole()?;
        let start = hashing.len();
        let end = start
            .checked_add(len)
            .filter(|end| *end <= size)
            .ok_or(ReceiveError::Protocol("it sent a hole beyond the file's end"))?;
        let mut left = len;
        while left > 0 {
            // A hole may be of any length, and a mirror that was cut off must end all the same.
            reception.go_on()?;
            let piece = left.min(ZEROS.len() as u64);
            hashing.update(&ZEROS[..piece as usize], known);
            left -= piece;
        }
        receiving.target.punch(reception, (file, &receiving.wanted), start, end)
    }

    fn groups(&mut self, file: u64, values: &[ShortValue]) -> Result<LaneUp, ReceiveError> {
        let reception = self.reception;
        let receiving = receiving(&mut self.files, file)?;
        let size = receiving.size;
        if matches!(receiving.mode, Mode::Begun) {
            receiving.mode = Mode::Compare { fold: GroupFold::new(size), next: 0, pending: VecDeque::new() };
        }
        let Mode::Compare { fold, next, pending } = &mut receiving.mode else {
            return Err(ReceiveError::Protocol("it sent values in the middle of a whole file"));
        };
        if *next + values.len() as u64 > group_count(size) || pending.len() + values.len() > MOST_PENDING {
            return Err(ReceiveError::Protocol("it sent values beyond the file's end or far ahead of its data"));
        }
        let mut differing = Vec::new();
        let kept = receiving.known.next(size, *next, values.len());
        for (theirs, kept) in values.iter().zip(kept) {
            let group = *next;
            *next += 1;
            if let Some(value) = kept.filter(|kept| short(kept) == *theirs) {
                receiving.known.rely();
                pending.push_back(Pending::Known(value));
                continue;
            }
            let read = receiving.target.read_group(reception, &receiving.wanted, group, &mut self.group)?;
            let here = &self.group[..read.min(group_len(size, group))];
            let leaves = kept.and_then(|kept| receiving.known.leaves(group, &kept, here));
            match leaves.map_or_else(|| compare_group(size, group, here, theirs), Err) {
                Ok(value) => pending.push_back(Pending::Known(value)),
                Err(leaves) => {
                    differing.push(Differing { group, leaves: leaves.iter().map(short).collect() });
                    pending.push_back(Pending::Waiting { group, leaves });
                }
            }
        }
        settle(fold, pending, &mut receiving.known);
        Ok(LaneUp::Compared { file, groups: values.len() as u32, differing })
    }

    fn finish(&mut self, file: u64, end: FileEnd) -> Result<LaneUp, ReceiveError> {
        let receiving = receiving(&mut self.files, file)?;
        let mode = std::mem::replace(&mut receiving.mode, Mode::Begun);
        let root = match mode {
            Mode::Whole(hashing) if hashing.len() == end.size => Some(hashing.finish(&mut receiving.known)),
            Mode::Compare { fold, .. } if receiving.size == end.size => fold.finish(),
            Mode::Begun if end.size == 0 => Some(Root::of(&[])),
            _ => None,
        };
        let holds = receiving.holds().map_err(failed("reading its attributes", &receiving.wanted.at.path))?;
        if root != Some(end.root) || !holds {
            return Ok(LaneUp::Again { file });
        }
        if let Some(mut receiving) = self.files.remove(&file) {
            self.seal(file, &mut receiving, end.size, &end.attrs)?;
            receiving.known.proven(end.size, end.attrs.mtime);
        }
        self.reception.arrived(file);
        Ok(LaneUp::Done { file })
    }

    /// Looks whether a small file is here as it is on the source.
    fn check(&mut self, file: u64, end: FileEnd) -> Result<LaneUp, ReceiveError> {
        if end.size > SMALL_LEN {
            return Err(ReceiveError::Protocol("it asked for a look at a file that is not small"));
        }
        let wanted = self.reception.wanted(file)?;
        // What was received of it before a cut is not in the file.
        if wanted.opened || matches!(wanted.landing, Landing::Staged(_)) {
            return Ok(LaneUp::Again { file });
        }
        let target = self.open(file, &wanted)?;
        if !is_same(target.file(), &end, &mut self.group).map_err(failed("reading what is there", &wanted.at.path))? {
            return Ok(LaneUp::Again { file });
        }
        let known = Known::nothing(self.reception.values(), wanted.at.clone());
        self.seal(file, &mut Receiving { wanted, target, size: end.size, mode: Mode::Begun, known }, end.size, &end.attrs)?;
        self.reception.arrived(file);
        Ok(LaneUp::Done { file })
    }

    fn seal(&self, file: u64, receiving: &mut Receiving<'r, V::File>, size: u64, attrs: &Attrs) -> Result<(), ReceiveError> {
        let Receiving { wanted, target, .. } = receiving;
        let owners = self.reception.volume(wanted.at.root)?.abilities().owners;
        let here = target.file().object().map_err(failed("reading its size", &wanted.at.path))?;
        if here.size == size && mirror::same_attributes(attrs, &here.attrs, owners) && target.is_untouched() {
            return Ok(());
        }
        target.announce(self.reception, (file, wanted))?;
        let Wanted { at, landing, replaces, .. } = &*wanted;
        let (target, size_here) = (target.file(), here.size);
        let mut ops = Vec::new();
        if let Landing::Journal = landing {
            if size != size_here {
                ops.push(Op::Resize { len: size });
            }
            ops.push(Op::Attrs(attrs.clone()));
        } else {
            if size != size_here {
                target.set_len(size).map_err(failed("setting its size", &at.path))?;
            }
            target.set_attrs(attrs).map_err(failed("setting attributes", &at.path))?;
        }
        match landing {
            Landing::InPlace => return Ok(()),
            Landing::Staged(side) => ops.extend(replaces.map(Op::Park).into_iter().chain([Op::Install(*side)])),
            Landing::Journal => {}
        }
        self.reception.note_together(Some(file), at, ops, true)
    }

    fn give_up(&mut self, file: u64) -> Result<(), ReceiveError> {
        let wanted = self.reception.wanted(file)?;
        let begun = self.files.remove(&file).is_some();
        self.reception.note(&Record::Drop { file }, &[])?;
        match wanted.landing {
            Landing::Staged(side) => self.reception.forget_side(wanted.at.root, side)?,
            // What the first mirror wrote of it so far is in the replica, and no file of the source.
            Landing::InPlace if begun && !wanted.at.path.is_root() => {
                let parked = Op::Park(self.reception.new_side());
                self.reception.note_together(None, &wanted.at, [parked], false)?;
            }
            _ => {}
        }
        self.reception.arrived(file);
        Ok(())
    }
}

impl<'r, F: VolumeFile> Receiving<'r, F> {
    fn whole(&mut self) -> Result<(&mut Hashing, &mut Known<'r>), ReceiveError> {
        if matches!(self.mode, Mode::Begun) {
            self.known.write_all();
            self.mode = Mode::Whole(Hashing::new(&self.known));
        }
        match &mut self.mode {
            Mode::Whole(hashing) => Ok((hashing, &mut self.known)),
            _ => Err(ReceiveError::Protocol("it sent whole pieces of a compared file")),
        }
    }

    /// Whether the kept values that were taken for true still are.
    fn holds(&mut self) -> std::io::Result<bool> {
        // A clone was made while they were.
        let base = matches!(self.wanted.landing, Landing::Journal).then(|| self.target.file());
        self.known.holds(|| base.map(|base| base.object().map(|object| object.stamp)).transpose())
    }

    /// Puts the leaves of the mask in.
    fn leaves<V: Volume, S: Store>(
        &mut self,
        reception: &Reception<'_, V, S>,
        (file, group): (u64, u64),
        mask: u16,
        hole: bool,
        data: &[u8],
    ) -> Result<(), ReceiveError> {
        let len = group_len(self.size, group);
        let Mode::Compare { fold, pending, .. } = &mut self.mode else {
            return Err(ReceiveError::Protocol("it sent leaves of a file that is not compared"));
        };
        let waiting =
            pending.iter_mut().find(|pending| matches!(pending, Pending::Waiting { group: waits, .. } if *waits == group));
        let Some(entry @ Pending::Waiting { .. }) = waiting else {
            return Err(ReceiveError::Protocol("it sent leaves of a group that does not differ"));
        };
        let Pending::Waiting { leaves, .. } = entry else { return Ok(()) };
        let mut values = std::mem::take(leaves);
        self.known.write(group);
        let small = self.size <= GROUP_LEN as u64;
        let mut only = None;
        let mut rest = data;
        for leaf in (0..LEAVES_PER_GROUP).filter(|leaf| mask & (1 << leaf) != 0) {
            let leaf_len = len.saturating_sub(leaf * LEAF_LEN).min(LEAF_LEN);
            let piece = rest.get(..leaf_len).filter(|piece| !piece.is_empty());
            let piece = piece.ok_or(ReceiveError::Protocol("it sent less data than its leaves have"))?;
            rest = &rest[leaf_len..];
            let start = group * GROUP_LEN as u64 + (leaf * LEAF_LEN) as u64;
            let wanted = (file, &self.wanted);
            if hole {
                self.target.punch(reception, wanted, start, start + leaf_len as u64)?;
            } else {
                self.target.write(reception, wanted, start, piece, None)?;
            }
            let value = leaf_value(group, leaf, piece);
            if small && len <= LEAF_LEN {
                only = Some(Root::of(piece).0);
            }
            match leaf.cmp(&values.len()) {
                Ordering::Less => values[leaf] = value,
                Ordering::Equal => values.push(value),
                Ordering::Greater => return Err(ReceiveError::Protocol("it left out leaves that the standby does not have")),
            }
        }
        if !rest.is_empty() || values.len() != len.div_ceil(LEAF_LEN) {
            return Err(ReceiveError::Protocol("its leaves do not make up the group"));
        }
        let fold_leaves: Fold = values.iter().copied().collect();
        let value = match only {
            Some(only) => Some(only),
            None if small && values.len() > 1 => fold_leaves.into_root().map(|root| root.0),
            None => fold_leaves.into_value(),
        };
        *entry = Pending::Known(value.ok_or(ReceiveError::Protocol("its group is empty"))?);
        settle(fold, pending, &mut self.known);
        Ok(())
    }
}

/// Whether a file here has the size and the root that it has on the source.
pub(super) fn is_same(file: &impl VolumeFile, end: &FileEnd, buffer: &mut [u8]) -> std::io::Result<bool> {
    let size = end.size as usize;
    let read = file.read_at(buffer, 0)?;
    Ok(read == size && Root::of(&buffer[..read]) == end.root && (read < buffer.len() || file.object()?.size == end.size))
}

fn receiving<'f, 'r, F>(
    files: &'f mut HashMap<u64, Receiving<'r, F>>,
    file: u64,
) -> Result<&'f mut Receiving<'r, F>, ReceiveError> {
    files.get_mut(&file).ok_or(ReceiveError::Protocol("it sent data of a file that had not begun"))
}

/// Folds the groups whose values are known, in order.
fn settle(fold: &mut GroupFold, pending: &mut VecDeque<Pending>, known: &mut Known<'_>) {
    while let Some(Pending::Known(value)) = pending.front() {
        fold.push(*value);
        known.push(value);
        pending.pop_front();
    }
}

fn unpack<'p>(unpacker: &'p mut Unpacker, payload: &'p [u8], len: u32, encoding: Encoding) -> Result<&'p [u8], ReceiveError> {
    if len as usize > crate::journal::MAX_PAYLOAD_LEN {
        return Err(ReceiveError::Protocol("it sent a piece beyond the bound"));
    }
    let unpacked = unpacker.unpack(payload, len as usize, encoding);
    unpacked.map_err(|_| ReceiveError::Protocol("it sent data of another length than announced"))
}
