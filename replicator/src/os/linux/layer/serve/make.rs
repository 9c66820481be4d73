//! New objects, and new names of old ones.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chmod, chownat, linkat, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;

use super::super::beneath::{Found, attributes, look, modified, name_only, path_of};
use super::super::caller::Caller;
use super::super::node::Node;
use super::super::wire::{Entry, OpenFlags};
use super::data::open_flags;
use super::{Answer, Serving};
use crate::capture::ordered::{Kind, Made, Operation, Place, Touch};
use crate::os::linux::resolve::Handle;
use standin_common::entry::Time;

/// Whoever asks: user and group.
type Who = (u32, u32);

/// What is made that is not opened at once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Making<'a> {
    Symlink(&'a CStr),
    Directory { mode: u32 },
    Node { mode: u32, device: u32 },
}

impl Serving {
    pub(super) fn make(
        &self,
        caller: &mut Caller,
        who: Who,
        (parent, name): (&Arc<Node>, &CStr),
        making: Making<'_>,
    ) -> io::Result<Answer> {
        let change = (self.enter(), parent.change());
        self.tell(parent);
        let directory = self.reach(parent)?;
        caller.keep_set_id(true)?;
        self.before_name(parent, name)?;
        match making {
            Making::Symlink(target) => symlinkat(target, &directory, name)?,
            Making::Directory { mode } => mkdirat(&directory, name, Mode::from_raw_mode(mode & 0o7777))?,
            Making::Node { mode, device } => {
                let kind = FileType::from_raw_mode(mode);
                mknodat(&directory, name, kind, Mode::from_raw_mode(mode & 0o7777), device.into())?;
            }
        }
        let target = if let Making::Symlink(target) = making { target.to_bytes() } else { b"" };
        let made =
            self.own(&directory, name, (parent, who)).and_then(|found| self.made(found, (parent, &directory, name), target));
        let (position, _, entry) = made.inspect_err(|_| self.recorder.missed(Touch::Names { directory: parent.id }))?;
        drop(change);
        self.recorder.named(position)?;
        Ok(Answer::Entry(entry))
    }

    pub(super) fn create(
        &self,
        caller: &mut Caller,
        who: Who,
        (parent, name): (&Arc<Node>, &CStr),
        (flags, mode): (OpenFlags, u32),
    ) -> io::Result<Answer> {
        let change = (self.enter(), parent.change());
        self.tell(parent);
        let directory = self.reach(parent)?;
        caller.keep_set_id(true)?;
        self.before_name(parent, name)?;
        let wanted = OFlags::from_bits_retain(flags.bits);
        let how = open_flags(wanted) | OFlags::CREATE | OFlags::EXCL;
        // The kernel has looked, and there was nothing. If somebody made it by a back door, it looks again.
        let opened = openat(&directory, name, how, Mode::from_raw_mode(mode & 0o7777));
        let file =
            opened.map_err(|errno| if errno == Errno::EXIST && !wanted.contains(OFlags::EXCL) { Errno::STALE } else { errno })?;
        let made = self.own_open(file.as_fd(), (parent, who)).and_then(|found| self.made(found, (parent, &directory, name), b""));
        let (position, node, entry) = made.inspect_err(|_| self.recorder.missed(Touch::Names { directory: parent.id }))?;
        drop(change);
        let opened = self.opened(&node, file.into(), wanted)?;
        self.recorder.named(position)?;
        Ok(Answer::Created(entry, opened))
    }

    /// A file that no name leads to.
    pub(super) fn make_unnamed(
        &self,
        caller: &mut Caller,
        who: Who,
        parent: &Arc<Node>,
        (flags, mode): (OpenFlags, u32),
    ) -> io::Result<Answer> {
        let _entered = self.enter();
        let _change = parent.change();
        let directory = self.reach(parent)?;
        caller.keep_set_id(true)?;
        let wanted = OFlags::from_bits_retain(flags.bits);
        let how = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | wanted & OFlags::EXCL;
        let file = openat(&directory, c".", how, Mode::from_raw_mode(mode & 0o7777))?;
        let found = self.own_open(file.as_fd(), (parent, who))?;
        let (id, stat) = (found.id, found.stat);
        let entry_attributes = attributes(&found.stat);
        let node = self.nodes.meet(found, || None);
        node.hold_as(file.try_clone()?, &self.beneath);
        let made =
            Made { mode: u32::from(stat.stx_mode) & 0o7777, uid: stat.stx_uid, gid: stat.stx_gid, modified: modified(&stat) };
        self.recorder.record(Operation::Make { object: id, at: None, kind: Kind::File, made, directory: Time::default() });
        self.tell_inherited(parent, &node);
        let opened = self.opened(&node, file.into(), wanted)?;
        Ok(Answer::Created(Entry { node: node.number, attributes: entry_attributes }, opened))
    }

    /// Gives what was just made under a name to whoever wanted it.
    fn own(&self, directory: &Handle<'_>, name: &CStr, (parent, who): (&Node, Who)) -> io::Result<Found> {
        let found = self.beneath.find(directory.as_fd(), name)?;
        if !belongs(&found, parent, who) {
            self.give(name_only(directory.as_fd(), name)?.as_fd(), &found, (parent, who))?;
            return self.beneath.find(directory.as_fd(), name);
        }
        Ok(found)
    }

    /// Gives what was just made and opened to whoever wanted it.
    fn own_open(&self, file: BorrowedFd<'_>, (parent, who): (&Node, Who)) -> io::Result<Found> {
        let mut found = self.beneath.find_open(file)?;
        if !belongs(&found, parent, who) {
            self.give(file, &found, (parent, who))?;
            found.stat = look(file)?;
        }
        Ok(found)
    }

    fn give(&self, object: BorrowedFd<'_>, found: &Found, (parent, who): (&Node, Who)) -> io::Result<()> {
        let gid = (!hands_group_on(parent)).then(|| Gid::from_raw(who.1));
        chownat(object, c"", Some(Uid::from_raw(who.0)), gid, AtFlags::EMPTY_PATH)?;
        // The change of owner took the set-id bits, which were asked for.
        let mode = u32::from(found.stat.stx_mode);
        if mode & 0o6000 != 0 && FileType::from_raw_mode(mode) == FileType::RegularFile {
            chmod(&*path_of(object), Mode::from_raw_mode(mode & 0o7777))?;
        }
        Ok(())
    }

    /// Records what was made.
    fn made(
        &self,
        found: Found,
        (parent, directory, name): (&Arc<Node>, &Handle<'_>, &CStr),
        target: &[u8],
    ) -> io::Result<(crate::capture::ordered::Position, Arc<Node>, Entry)> {
        let (object, stat) = (found.id, found.stat);
        let attributes = attributes(&stat);
        let node = self.nodes.meet(found, || None);
        let kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink(target),
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice => Kind::CharacterDevice(attributes.device),
            FileType::BlockDevice => Kind::BlockDevice(attributes.device),
            FileType::RegularFile | FileType::Unknown => Kind::File,
        };
        let made =
            Made { mode: u32::from(stat.stx_mode) & 0o7777, uid: stat.stx_uid, gid: stat.stx_gid, modified: modified(&stat) };
        let at = Some(Place { parent: parent.id, name: name.to_bytes() });
        let directory = modified(&look(directory.as_fd())?);
        let position = self.recorder.record(Operation::Make { object, at, kind, made, directory });
        if kind != Kind::Symlink(target) {
            self.tell_inherited(parent, &node);
        }
        let entry = Entry { node: node.number, attributes };
        Ok((position, node, entry))
    }

    pub(super) fn link(&self, node: &Arc<Node>, (parent, name): (&Arc<Node>, &CStr)) -> io::Result<Answer> {
        if node.directory {
            return Err(Errno::PERM.into());
        }
        let change = (self.enter(), parent.change(), node.change());
        self.tell(parent);
        self.tell(node);
        let (directory, object) = (self.reach(parent)?, self.reach(node)?);
        self.before_name(parent, name)?;
        linkat(&object, c"", &directory, name, AtFlags::EMPTY_PATH)?;
        let looked = look(directory.as_fd()).and_then(|parent| Ok((parent, self.beneath.find(directory.as_fd(), name)?)));
        let (stat, found) = looked.inspect_err(|_| self.recorder.missed(Touch::Names { directory: parent.id }))?;
        let at = Place { parent: parent.id, name: name.to_bytes() };
        let position = self.recorder.record(Operation::Link { object: node.id, at, directory: modified(&stat) });
        let (_, entry) = self.entry(found, (parent, name));
        drop(change);
        self.recorder.named(position)?;
        Ok(Answer::Entry(entry))
    }
}

/// Whether what is made in a directory gets its group, and not that of whoever makes it.
fn hands_group_on(parent: &Node) -> bool {
    parent.mode.load(std::sync::atomic::Ordering::Relaxed) & 0o2000 != 0
}

fn belongs(found: &Found, parent: &Node, who: Who) -> bool {
    found.stat.stx_uid == who.0 && (hands_group_on(parent) || found.stat.stx_gid == who.1)
}
