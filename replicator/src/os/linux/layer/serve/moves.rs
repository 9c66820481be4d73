//! Names that go, and names that move.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::RwLockWriteGuard;

use rustix::fs::{AtFlags, RenameFlags, StatxFlags, renameat_with, statx, unlinkat};
use rustix::io::Errno;

use super::super::beneath::{look, modified};
use super::super::node::Node;
use super::{Answer, Serving};
use crate::capture::ordered::{Operation, Place, Position};
use crate::os::linux::resolve::Handle;

/// A name in a directory.
type Name<'a> = (&'a Arc<Node>, &'a CStr);

impl Serving {
    pub(super) fn unlink(&self, from: Name<'_>) -> io::Result<Answer> {
        let position = {
            let _entered = self.enter();
            self.remove(from, AtFlags::empty())?
        };
        self.recorder.named(position)?;
        Ok(Answer::Done)
    }

    pub(super) fn remove_directory(&self, from: Name<'_>) -> io::Result<Answer> {
        let position = {
            let _entered = self.enter();
            // Two directories are held: that of the name, and the one that has to be empty.
            let _moving = self.moving();
            self.remove(from, AtFlags::REMOVEDIR)?
        };
        self.recorder.named(position)?;
        Ok(Answer::Done)
    }

    fn remove(&self, (parent, name): Name<'_>, how: AtFlags) -> io::Result<Position> {
        let change = parent.change();
        let directory = self.reach(parent)?;
        let found = self.beneath.find(directory.as_fd(), name)?;
        let node = self.meet(found, (parent, name));
        let removed = self.remove_met((parent, &directory, name), &node, how);
        drop(change);
        self.forget(node.number, 1);
        removed
    }

    fn remove_met(
        &self,
        (parent, directory, name): (&Arc<Node>, &Handle<'_>, &CStr),
        node: &Arc<Node>,
        how: AtFlags,
    ) -> io::Result<Position> {
        if how.is_empty() && node.directory {
            return Err(Errno::ISDIR.into());
        }
        let _change = node.change();
        self.tell(node);
        let last = is_last(node, directory, name)?;
        if last {
            node.hold(directory, name, &self.beneath)?;
        }
        self.before_name(parent, name)?;
        unlinkat(directory, name, how)?;
        if last {
            self.recorder.nameless(node.id);
        }
        let at = Place { parent: parent.id, name: name.to_bytes() };
        Ok(self.recorder.record(Operation::Remove { object: node.id, at, directory: self.time_of(directory) }))
    }

    /// The time of a directory in which a name changed. If it cannot be told, the change is told all the same.
    fn time_of(&self, directory: &Handle<'_>) -> standin_common::entry::Time {
        look(directory.as_fd()).map(|stat| modified(&stat)).unwrap_or_default()
    }

    pub(super) fn rename(&self, from: Name<'_>, to: Name<'_>, flags: u32) -> io::Result<Answer> {
        let flags = RenameFlags::from_bits_retain(flags);
        // A whiteout belongs to overlays, which keep their layers elsewhere.
        if !(flags - RenameFlags::EXCHANGE - RenameFlags::NOREPLACE).is_empty() {
            return Err(Errno::INVAL.into());
        }
        let _entered = self.enter();
        let _moving = self.moving();
        let _changes = change_both(from.0, to.0);
        let (left, entered) = (self.reach(from.0)?, self.reach(to.0)?);
        let found = self.beneath.find(left.as_fd(), from.1)?;
        let other = match self.beneath.find(entered.as_fd(), to.1) {
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => None,
            other => Some(other?),
        };
        let same = other.as_ref().is_some_and(|other| other.id == found.id);
        let node = self.meet(found, from);
        let other = other.map(|other| self.meet(other, to));
        let renamed = if same {
            // Two names of one object: POSIX has it that nothing happens.
            renameat_with(&left, from.1, &entered, to.1, flags).map(|()| None).map_err(io::Error::from)
        } else {
            self.rename_met((from, &left), (to, &entered), (&node, other.as_ref()), flags).map(Some)
        };
        self.forget(node.number, 1);
        if let Some(other) = other {
            self.forget(other.number, 1);
        }
        drop((_changes, _moving, _entered));
        if let Some(position) = renamed? {
            self.recorder.named(position)?;
        }
        Ok(Answer::Done)
    }

    fn rename_met(
        &self,
        (from, left): (Name<'_>, &Handle<'_>),
        (to, entered): (Name<'_>, &Handle<'_>),
        (node, other): (&Arc<Node>, Option<&Arc<Node>>),
        flags: RenameFlags,
    ) -> io::Result<Position> {
        // A directory that is replaced has to be empty, and one that is replaced or exchanged may be held as one of the two already.
        let _other = other.filter(|other| !is_one_of(other, from.0, to.0)).map(|other| other.change());
        for node in [Some(node), other, Some(from.0), Some(to.0)].into_iter().flatten() {
            self.tell(node);
        }
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let lost = match other.filter(|_| !exchange) {
            Some(other) if is_last(other, entered, to.1)? => Some(other),
            _ => None,
        };
        if let Some(lost) = lost {
            lost.hold(entered, to.1, &self.beneath)?;
        }
        self.before_name(from.0, from.1)?;
        self.before_name(to.0, to.1)?;
        let moved = [Some(node).map(|node| (node, to)), other.filter(|_| exchange).map(|other| (other, from))];
        for (_, (parent, name)) in moved.into_iter().flatten().filter(|(node, _)| node.directory) {
            self.recorder.before_move(Place { parent: parent.id, name: name.to_bytes() })?;
        }
        renameat_with(left, from.1, entered, to.1, flags)?;
        if let Some(lost) = lost {
            self.recorder.nameless(lost.id);
        }
        let (left, entered) = (self.time_of(left), self.time_of(entered));
        let place = |(parent, name): Name<'_>| (parent.id, name.to_bytes().to_owned());
        let (from, to) = (place(from), place(to));
        let (from, to) = (Place { parent: from.0, name: &from.1 }, Place { parent: to.0, name: &to.1 });
        Ok(self.recorder.record(match other {
            Some(other) if exchange => Operation::Exchange { object: node.id, other: other.id, from, to, left, entered },
            other => {
                let replaced = other.map(|other| other.id);
                Operation::Rename { object: node.id, from, to, replaced, left, entered }
            }
        }))
    }
}

/// Holds two directories, which may be one. Whoever holds two holds `moves`, so no order is needed.
fn change_both<'a>(one: &'a Arc<Node>, two: &'a Arc<Node>) -> (RwLockWriteGuard<'a, ()>, Option<RwLockWriteGuard<'a, ()>>) {
    (one.change(), (!Arc::ptr_eq(one, two)).then(|| two.change()))
}

fn is_one_of(node: &Arc<Node>, one: &Arc<Node>, two: &Arc<Node>) -> bool {
    Arc::ptr_eq(node, one) || Arc::ptr_eq(node, two)
}

/// Whether an object, of which the caller holds [`Node::change`], has no other name than this.
fn is_last(node: &Node, directory: &Handle<'_>, name: &CStr) -> io::Result<bool> {
    Ok(node.directory || statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::NLINK)?.stx_nlink == 1)
}
