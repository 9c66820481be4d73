//! Mode, owner, times and size; what a link says.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid, chmod, chownat, ftruncate, readlinkat,
    utimensat,
};

use super::super::beneath::{attributes, look, modified, path_of};
use super::super::caller::Caller;
use super::super::node::Node;
use super::super::wire::{SetAttributes, SetTime};
use super::{Answer, Serving};
use crate::capture::ordered::{Operation, Touch};
use standin_common::entry::Time;

impl Serving {
    pub(super) fn read_link(&self, node: &Node) -> io::Result<Answer> {
        Ok(Answer::Bytes(readlinkat(self.reach(node)?, c"", Vec::new())?.into_bytes()))
    }

    pub(super) fn set_attributes(&self, caller: &mut Caller, node: &Arc<Node>, set: SetAttributes) -> io::Result<Answer> {
        let _entered = self.enter();
        let _change = node.change();
        self.tell(node);
        if let Some(len) = set.len {
            self.truncate(caller, node, (len, set.handle), set.kill)?;
        }
        let reached = self.reach(node)?;
        let fd = reached.as_fd();
        let object = node.id;
        if set.mode.is_some() || set.uid.is_some() || set.gid.is_some() || set.accessed.is_some() || set.modified.is_some() {
            self.recorder.before(Touch::Attributes { object })?;
        }
        if set.uid.is_some() || set.gid.is_some() {
            chownat(fd, c"", set.uid.map(Uid::from_raw), set.gid.map(Gid::from_raw), AtFlags::EMPTY_PATH)?;
            let stat = look(fd)?;
            self.recorder.record(Operation::SetOwner { object, uid: stat.stx_uid, gid: stat.stx_gid });
            self.tell_mode(node, &stat);
        }
        if let Some(mode) = set.mode {
            // What may not be set was taken out by the kernel, so all that comes is set.
            caller.keep_set_id(true)?;
            chmod(&*path_of(fd), Mode::from_raw_mode(mode & 0o7777))?;
            self.tell_mode(node, &look(fd)?);
        }
        if set.accessed.is_some() || set.modified.is_some() {
            self.set_times(node, fd, &set)?;
        }
        Ok(Answer::Attributes(attributes(&look(fd)?)))
    }

    fn truncate(&self, caller: &mut Caller, node: &Node, (len, handle): (u64, Option<u64>), kill: bool) -> io::Result<()> {
        let object = node.id;
        let open = handle.and_then(|handle| self.files.get(handle).ok());
        let opened;
        let file = match &open {
            Some(open) => open.file.as_fd(),
            None => {
                opened = node.open(OFlags::WRONLY | OFlags::NONBLOCK, &self.beneath)?;
                opened.as_fd()
            }
        };
        let before = look(file)?.stx_size;
        self.recorder.before(Touch::Data { object, start: len.min(before), end: u64::MAX })?;
        caller.keep_set_id(!kill)?;
        ftruncate(file, len)?;
        let stat = look(file);
        let modified = stat.as_ref().map(modified).unwrap_or_default();
        self.recorder.record(Operation::Truncate { object, len, modified });
        self.tell_mode(node, &stat?);
        Ok(())
    }

    fn set_times(&self, node: &Node, fd: BorrowedFd<'_>, set: &SetAttributes) -> io::Result<()> {
        let spec = |time: Option<SetTime>| match time {
            None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            Some(SetTime::To(time)) => Timespec { tv_sec: time.secs, tv_nsec: time.nanos.into() },
        };
        let times = Timestamps { last_access: spec(set.accessed), last_modification: spec(set.modified) };
        utimensat(fd, c"", &times, AtFlags::EMPTY_PATH)?;
        let stat = look(fd)?;
        let accessed = Time { secs: stat.stx_atime.tv_sec, nanos: stat.stx_atime.tv_nsec };
        self.recorder.record(Operation::SetTimes {
            object: node.id,
            accessed: set.accessed.map(|_| accessed),
            modified: set.modified.map(|_| modified(&stat)),
        });
        Ok(())
    }
}
