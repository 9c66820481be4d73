//! What files hold.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, OFlags, SeekFrom, copy_file_range, fallocate, fdatasync, fsync, seek};
use rustix::io::Errno;

use super::super::beneath::{look, modified};
use super::super::caller::Caller;
use super::super::node::Node;
use super::super::open::OpenFile;
use super::super::way::{Lent, Way};
use super::super::wire::{MAX_WRITE, OpenFlags, Opened};
use super::{Answer, Serving};
use crate::capture::ordered::{Allocation, Operation, Position, Touch};

/// The most that is copied within one request, in bytes: others wait for the file meanwhile.
const MOST_COPIED: u64 = 16 * 1024 * 1024;

impl Serving {
    pub(super) fn open(&self, node: &Arc<Node>, flags: OpenFlags) -> io::Result<Answer> {
        let wanted = OFlags::from_bits_retain(flags.bits);
        let file = node.open(open_flags(wanted), &self.beneath)?;
        Ok(Answer::Opened(self.opened(node, file.into(), wanted)?))
    }

    pub(super) fn opened(&self, node: &Arc<Node>, file: File, wanted: OFlags) -> io::Result<Opened> {
        let synced = wanted.intersects(OFlags::SYNC | OFlags::DSYNC).then(|| !wanted.contains(OFlags::SYNC));
        let may_be_lent = wanted & OFlags::RWMODE == OFlags::RDONLY && self.is_passthrough(node);
        let way = node.ways().enter(wanted & OFlags::RWMODE, || if may_be_lent { self.lend(&file) } else { None })?;
        let handle = self.files.put(OpenFile { node: Arc::clone(node), file, synced, way });
        let backing = if let Way::PastLayer(id) = way { Some(id) } else { None };
        Ok(Opened { handle, flags: way.flags(), backing })
    }

    /// Whether a file may be read past us.
    fn is_passthrough(&self, node: &Arc<Node>) -> bool {
        if self.lender.is_none() {
            return false;
        }
        self.tell(node);
        self.recorder.is_passthrough(node.id)
    }

    /// Lets the kernel read a file by itself; nothing if it will not.
    fn lend(&self, file: &File) -> Option<Lent> {
        let device = self.lender.as_ref()?;
        match device.lend(file.as_fd()) {
            Ok(id) => Some(Lent::new(device, id)),
            Err(error) => {
                tracing::debug!(%error, "a file is not read past the layer");
                None
            }
        }
    }

    pub(super) fn read(&self, handle: u64, offset: u64, len: u32, buffer: &mut Vec<u8>) -> io::Result<Answer> {
        let open = self.files.get(handle)?;
        let len = (len as usize).min(MAX_WRITE);
        if buffer.len() < len {
            buffer.resize(len.next_power_of_two().min(MAX_WRITE), 0);
        }
        let mut done = 0;
        while done < len {
            match open.file.read_at(&mut buffer[done..len], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Answer::Data(done))
    }

    pub(super) fn write(&self, caller: &mut Caller, handle: u64, (offset, data): (u64, &[u8]), kill: bool) -> io::Result<Answer> {
        let open = self.files.get(handle)?;
        let object = open.node.id;
        let position;
        let written;
        {
            let _entered = self.enter();
            let _change = open.node.change();
            self.tell(&open.node);
            self.recorder.before(Touch::Data { object, start: offset, end: offset.saturating_add(data.len() as u64) })?;
            caller.keep_set_id(!kill)?;
            written = write_at(&open.file, data, offset)?;
            let data = &data[..written];
            position = self.told(&open, |modified| Operation::Write { object, offset, data, modified })?;
        }
        if let Some(data_only) = open.synced {
            self.make_durable(&open.node, &open.file, data_only, position)?;
        }
        Ok(Answer::Written(written as u32))
    }

    /// Records what was done to the data of a file, and the mode if that became another by it.
    fn told<'a>(
        &self,
        open: &OpenFile,
        operation: impl FnOnce(standin_common::entry::Time) -> Operation<'a>,
    ) -> io::Result<Position> {
        // It was done whatever this says, so it is recorded in any case.
        let stat = look(open.file.as_fd());
        let position = self.recorder.record(operation(stat.as_ref().map(modified).unwrap_or_default()));
        let mode = self.tell_mode(&open.node, &stat?);
        Ok(mode.unwrap_or(position))
    }

    pub(super) fn allocate(&self, caller: &mut Caller, handle: u64, range: Range<u64>, mode: u32) -> io::Result<Answer> {
        let open = self.files.get(handle)?;
        let flags = FallocateFlags::from_bits_retain(mode);
        let what = match (flags - FallocateFlags::KEEP_SIZE, flags.contains(FallocateFlags::KEEP_SIZE)) {
            (rest, false) if rest.is_empty() => Allocation::Grow,
            (rest, true) if rest.is_empty() => Allocation::Reserve,
            (FallocateFlags::PUNCH_HOLE, true) => Allocation::Punch,
            (FallocateFlags::ZERO_RANGE, false) => Allocation::Zero,
            (FallocateFlags::ZERO_RANGE, true) => Allocation::ZeroWithin,
            _ => return Err(Errno::OPNOTSUPP.into()),
        };
        let (object, offset, len) = (open.node.id, range.start, range.end - range.start);
        let position;
        {
            let _entered = self.enter();
            let _change = open.node.change();
            self.tell(&open.node);
            self.recorder.before(Touch::Data { object, start: offset, end: range.end })?;
            // The kernel does not say whose right it is; to take the bits is what befits a file that others can write.
            caller.keep_set_id(false)?;
            fallocate(&open.file, flags, offset, len)?;
            position = self.told(&open, |modified| Operation::Allocate { object, what, offset, len, modified })?;
        }
        if let Some(data_only) = open.synced {
            self.make_durable(&open.node, &open.file, data_only, position)?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn seek(&self, handle: u64, offset: u64, whence: u32) -> io::Result<Answer> {
        let open = self.files.get(handle)?;
        let to = match i32::try_from(whence) {
            Ok(libc::SEEK_DATA) => SeekFrom::Data(offset),
            Ok(libc::SEEK_HOLE) => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL.into()),
        };
        Ok(Answer::Offset(seek(&open.file, to)?))
    }

    /// What was copied is recorded as written: as it is now in the file it was copied to.
    pub(super) fn copy(&self, caller: &mut Caller, from: (u64, u64), to: (u64, u64), len: u64) -> io::Result<Answer> {
        let (source, target) = (self.files.get(from.0)?, self.files.get(to.0)?);
        let (mut from, mut to) = (from.1, to.1);
        let len = len.min(MOST_COPIED);
        let (object, start) = (target.node.id, to);
        let position;
        let copied;
        {
            let _entered = self.enter();
            let _change = target.node.change();
            self.tell(&target.node);
            self.recorder.before(Touch::Data { object, start, end: start.saturating_add(len) })?;
            caller.keep_set_id(false)?;
            copied = copy_file_range(&source.file, Some(&mut from), &target.file, Some(&mut to), len as usize)? as u64;
            if copied == 0 {
                return Ok(Answer::Written(0));
            }
            let told = self.tell_copied(&target, start..start + copied);
            if told.is_err() {
                self.recorder.missed(Touch::Data { object, start, end: start + copied });
            }
            position = told?;
        }
        if let Some(data_only) = target.synced {
            self.make_durable(&target.node, &target.file, data_only, position)?;
        }
        Ok(Answer::Written(copied as u32))
    }

    fn tell_copied(&self, target: &OpenFile, range: Range<u64>) -> io::Result<Position> {
        let object = target.node.id;
        let mut buffer = vec![0; MAX_WRITE.min((range.end - range.start) as usize)];
        let mut offset = range.start;
        let mut position = Position::default();
        while offset < range.end {
            let piece = buffer.len().min((range.end - offset) as usize);
            let data = &mut buffer[..piece];
            target.file.read_exact_at(data, offset)?;
            let data = &*data;
            position = self.told(target, |modified| Operation::Write { object, offset, data, modified })?;
            offset += piece as u64;
        }
        Ok(position)
    }

    pub(super) fn sync_file(&self, handle: u64, data_only: bool) -> io::Result<Answer> {
        let open = self.files.get(handle)?;
        self.make_durable(&open.node, &open.file, data_only, Position::default())?;
        Ok(Answer::Done)
    }

    /// Returns when what was done to an object is durable, here and as the recorder says.
    pub(super) fn make_durable(&self, node: &Arc<Node>, file: &impl AsFd, data_only: bool, after: Position) -> io::Result<()> {
        self.tell(node);
        let mark = self.recorder.record(Operation::Sync { object: node.id, data_only });
        if data_only {
            fdatasync(file)?
        } else {
            fsync(file)?
        }
        self.recorder.flushed(mark.max(after))
    }
}

/// The flags with which a file is opened beneath. Order and durability are made here, so the file beneath is neither opened to append
/// nor to sync; what is written is read, to record what was copied; and data comes in our own buffers, so it does not go around the
/// cache beneath.
pub(super) fn open_flags(wanted: OFlags) -> OFlags {
    let access = if wanted.intersects(OFlags::WRONLY | OFlags::RDWR) { OFlags::RDWR } else { OFlags::RDONLY };
    access | wanted & (OFlags::NOATIME | OFlags::NONBLOCK) | OFlags::CLOEXEC
}

/// Writes as much as can be written; an error only if that is nothing.
fn write_at(file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match file.write_at(&data[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
