//! Each request performed on the directory beneath, and told.
//!
//! The rule of order is in `ARCHITECTURE.md`, "The layer": every change is performed and recorded while [`Node::change`] is held of all
//! that it concerns. Directories come before files; whoever holds two directories holds [`Serving::moves`], too.

mod attributes;
mod data;
mod directories;
mod make;
mod moves;
#[cfg(test)]
mod tests;
mod xattrs;

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Statx, fstatvfs};
use rustix::io::Errno;

use super::beneath::{Beneath, Found, attributes, look};
use super::caller::Caller;
use super::device::Device;
use super::node::{At, Node, Nodes};
use super::open::{OpenDirectory, OpenFile, Opens};
use super::wire::{Attributes, Entry, Header, Opened, Request, Statistics};
use crate::capture::ordered::{Operation, Place, Position, Recorder, Touch};
use crate::os::linux::resolve::Handle;

/// What the kernel is told.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing: it does not wait.
    None,
    Done,
    Entry(Entry),
    Created(Entry, Opened),
    Attributes(Attributes),
    Opened(Opened),
    /// So many bytes of the buffer for data.
    Data(usize),
    Bytes(Vec<u8>),
    Written(u32),
    /// The size of an extended attribute, or of the list of them.
    Needed(u32),
    Offset(u64),
    Statistics(Statistics),
}

/// Everything that the threads share.
pub(super) struct Serving {
    pub(super) beneath: Beneath,
    nodes: Nodes,
    files: Opens<OpenFile>,
    directories: Opens<OpenDirectory>,
    recorder: Arc<dyn Recorder>,
    /// Through which files are lent to the kernel, if any are.
    lender: Option<Arc<Device>>,
    /// Held by what concerns the names in more than one directory: renames, and removing a directory.
    moves: Mutex<()>,
}

impl Serving {
    /// Begins a history.
    pub(super) fn new(beneath: Beneath, recorder: Arc<dyn Recorder>) -> io::Result<Self> {
        let root = beneath.find_open(beneath.root())?;
        recorder.record(Operation::Root { object: root.id });
        let (files, directories) = (Opens::new(), Opens::new());
        Ok(Self { beneath, nodes: Nodes::new(root), files, directories, recorder, lender: None, moves: Mutex::new(()) })
    }

    /// Whether files are to be lent to the kernel, if it can do with them.
    pub(super) fn has_passthrough(&self) -> bool {
        self.recorder.has_passthrough()
    }

    /// They are from now on, through this.
    pub(super) fn lend_through(&mut self, device: Device) {
        self.lender = Some(Arc::new(device));
    }

    /// Does what is asked. Data that is read goes into `buffer`.
    pub(super) fn serve(
        &self,
        caller: &mut Caller,
        header: &Header,
        request: Request<'_>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Answer> {
        match request {
            Request::Forget { lookups } => {
                self.forget(header.node, lookups);
                return Ok(Answer::None);
            }
            Request::BatchForget(names) => {
                names.for_each(|(node, lookups)| self.forget(node, lookups));
                return Ok(Answer::None);
            }
            Request::Statistics => return self.statistics(),
            // The first is answered before anything is served.
            Request::Destroy => return Ok(Answer::Done),
            // It is for whoever knows what is under way.
            Request::Interrupt { .. } => return Ok(Answer::None),
            Request::Init(_) | Request::Unknown => return Err(Errno::NOSYS.into()),
            _ => {}
        }
        if let Some(answer) = self.serve_handle(caller, request, buffer) {
            return answer;
        }
        let node = self.nodes.get(header.node)?;
        match request {
            Request::Lookup { name } => self.lookup(&node, name),
            Request::Open(flags) => self.open(&node, flags),
            Request::GetAttributes { .. } => self.get_attributes(&node),
            Request::SetAttributes(set) => self.set_attributes(caller, &node, set),
            Request::ReadLink => self.read_link(&node),
            Request::OpenDirectory => self.open_directory(node),
            Request::SetXattr { name, value, flags, kill } => self.set_xattr(caller, &node, (name, value, flags), kill),
            Request::GetXattr { name, len } => self.get_xattr(&node, name, len),
            Request::ListXattr { len } => self.list_xattr(&node, len),
            Request::RemoveXattr { name } => self.remove_xattr(&node, name),
            request => self.serve_names(caller, header, &node, request),
        }
    }

    /// What concerns something open.
    fn serve_handle(&self, caller: &mut Caller, request: Request<'_>, buffer: &mut Vec<u8>) -> Option<io::Result<Answer>> {
        Some(match request {
            Request::Write { handle, offset, data, kill } => self.write(caller, handle, (offset, data), kill),
            Request::Read { handle, offset, len } => self.read(handle, offset, len, buffer),
            Request::Sync { handle, data_only } => self.sync_file(handle, data_only),
            Request::Allocate { handle, offset, len, mode } => {
                self.allocate(caller, handle, offset..offset.saturating_add(len), mode)
            }
            Request::Seek { handle, offset, whence } => self.seek(handle, offset, whence),
            Request::Copy { handle, offset, to_handle, to_offset, len } => {
                self.copy(caller, (handle, offset), (to_handle, to_offset), len)
            }
            Request::GetAttributes { handle: Some(handle) } => self.get_attributes_of_open(handle)?,
            Request::ReadDirectory { handle, offset, len, plus } => self.read_directory(handle, offset, len as usize, plus),
            Request::SyncDirectory { handle, data_only } => self.sync_directory(handle, data_only),
            Request::Release { handle } => {
                self.files.take(handle);
                Ok(Answer::Done)
            }
            Request::ReleaseDirectory { handle } => {
                self.directories.take(handle);
                Ok(Answer::Done)
            }
            _ => return None,
        })
    }

    /// What makes, moves and takes names.
    fn serve_names(&self, caller: &mut Caller, header: &Header, node: &Arc<Node>, request: Request<'_>) -> io::Result<Answer> {
        use make::Making;
        directory(node)?;
        let who = (header.uid, header.gid);
        match request {
            Request::Symlink { name, target } => self.make(caller, who, (node, name), Making::Symlink(target)),
            Request::MakeNode { name, mode, device, umask } => {
                caller.umask(umask);
                self.make(caller, who, (node, name), Making::Node { mode, device })
            }
            Request::MakeDirectory { name, mode, umask } => {
                caller.umask(umask);
                self.make(caller, who, (node, name), Making::Directory { mode })
            }
            Request::Create { name, flags, mode, umask } => {
                caller.umask(umask);
                self.create(caller, who, (node, name), (flags, mode))
            }
            Request::Unnamed { flags, mode, umask } => {
                caller.umask(umask);
                self.make_unnamed(caller, who, node, (flags, mode))
            }
            Request::Link { object, name } => self.link(&self.nodes.get(object)?, (node, name)),
            Request::Unlink { name } => self.unlink((node, name)),
            Request::RemoveDirectory { name } => self.remove_directory((node, name)),
            Request::Rename { name, to_directory, to_name, flags } => {
                let to = self.nodes.get(to_directory)?;
                directory(&to)?;
                self.rename((node, name), (&to, to_name), flags)
            }
            _ => Err(Errno::NOSYS.into()),
        }
    }

    fn reach<'a>(&self, node: &'a Node) -> io::Result<Handle<'a>> {
        node.reach(&self.beneath)
    }

    fn forget(&self, number: u64, lookups: u64) {
        self.nodes.forget(number, lookups, &self.beneath, |node| {
            if node.is_told() {
                self.recorder.record(Operation::Forgotten { object: node.id });
            }
        });
    }

    /// Makes sure that the recorder knows an object, and what leads to it.
    fn tell(&self, node: &Arc<Node>) {
        while !node.is_told() {
            let mut top = Arc::clone(node);
            while let Some(parent) = top.untold_parent() {
                top = parent;
            }
            top.tell(|at| {
                let at = Place { parent: at.parent.id, name: &at.name };
                self.recorder.record(Operation::Known { object: top.id, at });
            });
        }
    }

    /// The node of an object that was found in a directory, of which the caller holds [`Node::still`] or [`Node::change`].
    /// Each of several names is told: whoever opened the object by one of them still writes to it when the others are gone.
    fn meet(&self, found: Found, (parent, name): (&Arc<Node>, &CStr)) -> Arc<Node> {
        let at = || At { parent: Arc::clone(parent), name: name.to_bytes().into() };
        let is_one_of_several = found.stat.stx_nlink > 1;
        let node = self.nodes.meet(found, || Some(at()));
        if is_one_of_several
            && !node.directory
            && let Some(at) = node.found_at(at())
        {
            self.tell(&at.parent);
            let at = Place { parent: at.parent.id, name: &at.name };
            self.recorder.record(Operation::Known { object: node.id, at });
        }
        node
    }

    /// Held around a change; nothing else may be held when this is called.
    fn enter(&self) -> Entered<'_> {
        self.recorder.enter();
        Entered(&*self.recorder)
    }

    fn before_name(&self, directory: &Node, name: &CStr) -> io::Result<()> {
        self.recorder.before_name(Place { parent: directory.id, name: name.to_bytes() })?;
        self.recorder.before(Touch::Names { directory: directory.id })
    }

    fn moving(&self) -> MutexGuard<'_, ()> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the mode of an object if it is another than was last recorded.
    fn tell_mode(&self, node: &Node, stat: &Statx) -> Option<Position> {
        let mode = u32::from(stat.stx_mode) & 0o7777;
        (node.mode.swap(mode, Relaxed) != mode).then(|| self.recorder.record(Operation::SetMode { object: node.id, mode }))
    }

    fn lookup(&self, parent: &Arc<Node>, name: &CStr) -> io::Result<Answer> {
        let _still = parent.still();
        let directory = self.reach(parent)?;
        let found = match self.beneath.find(directory.as_fd(), name) {
            // Kept by the kernel, too: nobody but us can make it.
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                return Ok(Answer::Entry(Entry::default()));
            }
            found => found?,
        };
        Ok(Answer::Entry(self.entry(found, (parent, name)).1))
    }

    fn entry(&self, found: Found, at: (&Arc<Node>, &CStr)) -> (Arc<Node>, Entry) {
        let attributes = attributes(&found.stat);
        let node = self.meet(found, at);
        let entry = Entry { node: node.number, attributes };
        (node, entry)
    }

    fn get_attributes(&self, node: &Node) -> io::Result<Answer> {
        Ok(Answer::Attributes(attributes(&look(self.reach(node)?.as_fd())?)))
    }

    /// `None` if the handle is a directory's: then by the node.
    fn get_attributes_of_open(&self, handle: u64) -> Option<io::Result<Answer>> {
        let open = self.files.get(handle).ok()?;
        Some(look(open.file.as_fd()).map(|stat| Answer::Attributes(attributes(&stat))))
    }

    fn statistics(&self) -> io::Result<Answer> {
        let of = fstatvfs(self.beneath.root())?;
        Ok(Answer::Statistics(Statistics {
            blocks: of.f_blocks,
            free: of.f_bfree,
            available: of.f_bavail,
            files: of.f_files,
            files_free: of.f_ffree,
            block_len: of.f_bsize as u32,
            name_len: of.f_namemax as u32,
            fragment_len: of.f_frsize as u32,
        }))
    }
}

/// A change is under way.
struct Entered<'a>(&'a dyn Recorder);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Only a directory has names. The kernel asks for no other; if it did, one object would be held twice.
fn directory(node: &Node) -> io::Result<()> {
    if node.directory { Ok(()) } else { Err(Errno::NOTDIR.into()) }
}
