//! Extended attributes, which ACLs are too.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::buffer::{SpareCapacity, spare_capacity};
use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;

use super::super::beneath::{look, path_of};
use super::super::caller::Caller;
use super::super::node::Node;
use super::{Answer, Serving};
use crate::capture::ordered::{Operation, Touch};
use crate::os::linux::xattr::ACL;

/// The ACL that a directory hands on.
const DEFAULT_ACL: &CStr = c"system.posix_acl_default";
/// The ACL that counts.
const ACCESS_ACL: &CStr = c"system.posix_acl_access";

/// The longest value, and the longest list of names, in bytes (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const MOST: usize = 64 * 1024;

/// Room for nearly all of them, in bytes. The kernel clears as much as it is offered.
const USUAL: usize = 256;

/// Answers with what `read` puts into a buffer, or with how long it is for whoever has no room yet.
fn read_into(room: u32, read: impl Fn(SpareCapacity<'_, u8>) -> rustix::io::Result<usize>) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(if room == 0 { USUAL } else { room as usize });
    match read(spare_capacity(&mut bytes)) {
        Err(Errno::RANGE) if room == 0 => {
            bytes.reserve(MOST);
            read(spare_capacity(&mut bytes))?;
        }
        done => drop(done?),
    }
    Ok(if room == 0 { Answer::Needed(bytes.len() as u32) } else { Answer::Bytes(bytes) })
}

impl Serving {
    pub(super) fn set_xattr(
        &self,
        caller: &mut Caller,
        node: &Arc<Node>,
        (name, value, flags): (&CStr, &[u8], u32),
        kill: bool,
    ) -> io::Result<Answer> {
        let _entered = self.enter();
        let _change = node.change();
        self.tell(node);
        let object = node.id;
        let reached = self.reach(node)?;
        self.recorder.before(Touch::Attributes { object })?;
        caller.keep_set_id(!kill)?;
        setxattr(&*path_of(reached.as_fd()), name, value, XattrFlags::from_bits_retain(flags))?;
        let name = name.to_bytes();
        self.recorder.record(Operation::SetXattr { object, name, value });
        self.after_acl(node, name)?;
        Ok(Answer::Done)
    }

    pub(super) fn remove_xattr(&self, node: &Arc<Node>, name: &CStr) -> io::Result<Answer> {
        let _entered = self.enter();
        let _change = node.change();
        self.tell(node);
        let object = node.id;
        let reached = self.reach(node)?;
        self.recorder.before(Touch::Attributes { object })?;
        removexattr(&*path_of(reached.as_fd()), name)?;
        let name = name.to_bytes();
        self.recorder.record(Operation::RemoveXattr { object, name });
        self.after_acl(node, name)?;
        Ok(Answer::Done)
    }

    /// An ACL changes the mode, and what new objects are given.
    fn after_acl(&self, node: &Node, name: &[u8]) -> io::Result<()> {
        if name.starts_with(ACL) {
            node.default_acl_changed();
            self.tell_mode(node, &look(self.reach(node)?.as_fd())?);
        }
        Ok(())
    }

    pub(super) fn get_xattr(&self, node: &Node, name: &CStr, len: u32) -> io::Result<Answer> {
        let reached = self.reach(node)?;
        let path = path_of(reached.as_fd());
        read_into(len, |room| getxattr(&*path, name, room))
    }

    pub(super) fn list_xattr(&self, node: &Node, len: u32) -> io::Result<Answer> {
        let reached = self.reach(node)?;
        let path = path_of(reached.as_fd());
        read_into(len, |room| listxattr(&*path, room))
    }

    /// Records the ACLs that an object was given when it was made. Of a directory without one to hand on, there are none.
    pub(super) fn tell_inherited(&self, parent: &Node, node: &Node) {
        let of = |node: &Node, name: &CStr| {
            let mut value = Vec::with_capacity(4096);
            let reached = self.reach(node).ok()?;
            getxattr(&*path_of(reached.as_fd()), name, spare_capacity(&mut value)).ok().filter(|len| *len > 0)?;
            Some(value)
        };
        if !parent.has_default_acl(|| of(parent, DEFAULT_ACL).is_some()) {
            return;
        }
        for name in [ACCESS_ACL, DEFAULT_ACL] {
            if let Some(value) = of(node, name) {
                self.recorder.record(Operation::SetXattr { object: node.id, name: name.to_bytes(), value: &value });
            }
        }
    }
}
