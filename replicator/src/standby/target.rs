//! Where a file's data goes: into a file, or into the journal over the file that stays as it is.

use std::collections::BTreeMap;

use standin_common::message::Encoding;
use standin_common::tree::GROUP_LEN;

use super::receive::{ReceiveError, Reception, Wanted, failed};
use crate::journal::{Op, Record};
use crate::pack;
use crate::store::Store;
use crate::volume::{Volume, VolumeFile};

/// The groups that `start..end` touches.
pub(super) fn groups(start: u64, end: u64) -> std::ops::Range<u64> {
    start / GROUP_LEN as u64..end.div_ceil(GROUP_LEN as u64)
}

/// A file that is being received.
pub(super) enum Target<F> {
    /// A file of its own, or the replica's in the first mirror.
    File(F),
    /// The replica's file stays; what was received of it lies in the journal, by group the records that wrote to it.
    Journal {
        base: F,
        overlay: BTreeMap<u64, Vec<u64>>,
        /// Whether its record `Open` is in the journal, which has none of a file that turns out to be the same.
        opened: bool,
    },
}

impl<F: VolumeFile> Target<F> {
    /// Reads group `index` of what the file is so far; returns its bytes, fewer at the end of the file.
    pub(super) fn read_group<V: Volume, S: Store>(
        &self,
        reception: &Reception<'_, V, S>,
        wanted: &Wanted,
        index: u64,
        buffer: &mut [u8],
    ) -> Result<usize, ReceiveError> {
        let start = index * GROUP_LEN as u64;
        let (file, records) = match self {
            Self::File(file) => (file, None),
            Self::Journal { base, overlay, .. } => (base, overlay.get(&index)),
        };
        let mut len = file.read_at(buffer, start).map_err(failed("reading what is there", &wanted.at.path))?;
        for at in records.into_iter().flatten() {
            len = len.max(patch(&reception.read_record(*at)?, start, buffer)?);
        }
        Ok(len)
    }

    /// Notes that something of the file will change, before the first change.
    pub(super) fn announce<V: Volume, S: Store>(
        &mut self,
        reception: &Reception<'_, V, S>,
        (file, wanted): (u64, &Wanted),
    ) -> Result<(), ReceiveError> {
        if let Self::Journal { opened, .. } = self
            && !*opened
        {
            reception.note(&Record::Open { file, at: wanted.at.clone(), landing: wanted.landing }, &[])?;
            *opened = true;
        }
        Ok(())
    }

    /// Writes data that was received; `packed` is how it came, if it came in one piece.
    pub(super) fn write<V: Volume, S: Store>(
        &mut self,
        reception: &Reception<'_, V, S>,
        (file, wanted): (u64, &Wanted),
        offset: u64,
        data: &[u8],
        packed: Option<&[u8]>,
    ) -> Result<(), ReceiveError> {
        self.announce(reception, (file, wanted))?;
        match self {
            Self::File(target) => target.write_at(data, offset).map_err(failed("writing", &wanted.at.path)),
            Self::Journal { overlay, .. } => {
                let encoding = if packed.is_some() { Encoding::Zstd } else { Encoding::Plain };
                let op = Op::Write { offset, len: data.len() as u32, encoding };
                let record = Record::Op { file: Some(file), root: wanted.at.root, path: wanted.at.path.clone(), op };
                let at = reception.note(&record, packed.unwrap_or(data))?;
                for group in groups(offset, offset + data.len() as u64) {
                    overlay.entry(group).or_default().push(at);
                }
                Ok(())
            }
        }
    }

    /// Makes a stretch read as zeros.
    pub(super) fn punch<V: Volume, S: Store>(
        &mut self,
        reception: &Reception<'_, V, S>,
        (file, wanted): (u64, &Wanted),
        start: u64,
        end: u64,
    ) -> Result<(), ReceiveError> {
        self.announce(reception, (file, wanted))?;
        match self {
            Self::File(target) => {
                let path = &wanted.at.path;
                let size = target.object().map_err(failed("reading its size", path))?.size;
                if size < end {
                    target.set_len(end).map_err(failed("setting its size", path))?;
                }
                if start < size { target.punch(start, end.min(size)).map_err(failed("making a hole", path)) } else { Ok(()) }
            }
            Self::Journal { overlay, .. } => {
                let op = Op::Punch { start, end };
                let record = Record::Op { file: Some(file), root: wanted.at.root, path: wanted.at.path.clone(), op };
                let at = reception.note(&record, &[])?;
                for group in groups(start, end) {
                    overlay.entry(group).or_default().push(at);
                }
                Ok(())
            }
        }
    }

    /// Whether the replica's file is as it was, and will be.
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self, Self::Journal { opened: false, .. })
    }

    /// The file itself, or the one that stays.
    pub(super) fn file(&self) -> &F {
        match self {
            Self::File(file) | Self::Journal { base: file, .. } => file,
        }
    }
}

/// Puts what a record wrote into the group that starts at `start`; returns how far the group reaches by it.
fn patch(record: &(Record, Vec<u8>), start: u64, buffer: &mut [u8]) -> Result<usize, ReceiveError> {
    let (from, data) = match &record.0 {
        Record::Op { op: Op::Write { offset, len, encoding }, .. } => {
            let data = pack::unpack(record.1.clone(), *len as usize, *encoding);
            (*offset, data.map_err(failed("reading the journal", &Default::default()))?)
        }
        Record::Op { op: Op::Punch { start: from, end }, .. } => {
            let (from, end) = ((*from).max(start), (*end).min(start + buffer.len() as u64));
            (from, vec![0; end.saturating_sub(from) as usize])
        }
        _ => return Ok(0),
    };
    let skip = start.saturating_sub(from).min(data.len() as u64) as usize;
    let at = from.saturating_sub(start) as usize;
    let data = &data[skip..];
    let len = data.len().min(buffer.len().saturating_sub(at));
    if len > 0 {
        buffer[at..at + len].copy_from_slice(&data[..len]);
    }
    Ok(at + len)
}
