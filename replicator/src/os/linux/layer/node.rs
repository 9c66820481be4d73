//! The objects that the kernel knows of.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::fs::{FileType, OFlags};

use super::beneath::{Beneath, Found, again, name_only};
use super::way::Ways;
use super::wire::ROOT;
use crate::capture::ordered::ObjectId;
use crate::os::linux::resolve::{Handle, NAME_ONLY};

/// An object. It goes when the kernel forgets it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: ObjectId,
    pub(super) number: u64,
    pub(super) directory: bool,
    handle: Box<[u8]>,
    /// Names the object; kept where there is room, and always when no name leads to it any more.
    fd: OnceLock<OwnedFd>,
    lookups: AtomicU64,
    order: RwLock<()>,
    /// The 12 mode bits that were recorded, or found, last.
    pub(super) mode: AtomicU32,
    default_acl: AtomicU8,
    told: AtomicBool,
    /// All names by which it was found, until it is told.
    places: Mutex<Vec<At>>,
    ways: Mutex<Ways>,
}

/// A name of an object.
#[derive(Debug)]
pub(super) struct At {
    pub(super) parent: Arc<Node>,
    pub(super) name: Box<[u8]>,
}

const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

impl Node {
    fn new(number: u64, found: Found, at: Option<At>) -> Self {
        Self {
            id: found.id,
            number,
            directory: FileType::from_raw_mode(found.stat.stx_mode.into()) == FileType::Directory,
            handle: found.handle,
            fd: OnceLock::new(),
            lookups: AtomicU64::new(0),
            order: RwLock::new(()),
            mode: AtomicU32::new(u32::from(found.stat.stx_mode) & 0o7777),
            default_acl: AtomicU8::new(UNKNOWN),
            told: AtomicBool::new(at.is_none()),
            places: Mutex::new(at.into_iter().collect()),
            ways: Mutex::default(),
        }
    }

    /// While this is held, no change of the object is under way, nor of names in the directory.
    pub(super) fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.order.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held from before a change until it is recorded.
    pub(super) fn change(&self) -> RwLockWriteGuard<'_, ()> {
        self.order.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle that names the object.
    pub(super) fn reach(&self, beneath: &Beneath) -> io::Result<Handle<'_>> {
        if let Some(fd) = self.fd.get() {
            return Ok(Handle::Borrowed(fd.as_fd()));
        }
        let fd = beneath.by_handle(&self.handle, NAME_ONLY)?;
        if !beneath.may_keep() {
            return Ok(Handle::Owned(fd));
        }
        Ok(self.kept(fd, beneath))
    }

    fn kept(&self, fd: OwnedFd, beneath: &Beneath) -> Handle<'_> {
        let mut fd = Some(fd);
        let kept = self.fd.get_or_init(|| fd.take().unwrap_or_else(|| unreachable!("taken once")));
        if fd.is_some() {
            beneath.let_go();
        }
        Handle::Borrowed(kept.as_fd())
    }

    /// Keeps hold of an object whose last name is about to go.
    pub(super) fn hold(&self, directory: &Handle<'_>, name: &CStr, beneath: &Beneath) -> io::Result<()> {
        if self.fd.get().is_none() {
            self.hold_as(name_only(directory.as_fd(), name)?, beneath);
        }
        Ok(())
    }

    /// Keeps hold of an object by this handle, whatever the bound.
    pub(super) fn hold_as(&self, fd: OwnedFd, beneath: &Beneath) {
        beneath.keeps();
        self.kept(fd, beneath);
    }

    /// Opens the object's data.
    pub(super) fn open(&self, flags: OFlags, beneath: &Beneath) -> io::Result<OwnedFd> {
        match self.fd.get() {
            Some(fd) => again(fd.as_fd(), flags),
            None => beneath.by_handle(&self.handle, flags),
        }
    }

    /// How it is open.
    pub(super) fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the directory hands an ACL on; `ask` finds out the first time.
    pub(super) fn has_default_acl(&self, ask: impl FnOnce() -> bool) -> bool {
        match self.default_acl.load(Ordering::Relaxed) {
            UNKNOWN => {
                let has = ask();
                self.default_acl.store(if has { YES } else { NO }, Ordering::Relaxed);
                has
            }
            known => known == YES,
        }
    }

    /// It may have one now, or none.
    pub(super) fn default_acl_changed(&self) {
        self.default_acl.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Whether the recorder knows the object.
    pub(super) fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// The directory that has to be told first, if there is one.
    pub(super) fn untold_parent(&self) -> Option<Arc<Node>> {
        let places = self.places();
        places.iter().find(|at| !at.parent.is_told()).map(|at| Arc::clone(&at.parent))
    }

    /// Lets `tell` tell where the object is, each name once; whoever comes meanwhile waits until that is done. Nothing is told as long as
    /// there is an [`untold_parent`](Self::untold_parent).
    pub(super) fn tell(&self, tell: impl FnMut(&At)) {
        let mut places = self.places();
        if self.is_told() || places.iter().any(|at| !at.parent.is_told()) {
            return;
        }
        std::mem::take(&mut *places).iter().for_each(tell);
        self.told.store(true, Ordering::Release);
    }

    /// It was found by this name, too, which is told with the others. If they were told, it is given back: then it is to be told now.
    pub(super) fn found_at(&self, at: At) -> Option<At> {
        let mut places = self.places();
        if self.is_told() {
            return Some(at);
        }
        if !places.iter().any(|known| Arc::ptr_eq(&known.parent, &at.parent) && known.name == at.name) {
            places.push(at);
        }
        None
    }

    fn places(&self) -> MutexGuard<'_, Vec<At>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them, by the number by which the kernel calls them.
#[derive(Debug)]
pub(super) struct Nodes {
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    by_number: HashMap<u64, Arc<Node>>,
    by_object: HashMap<ObjectId, u64>,
    next: u64,
}

impl Nodes {
    /// With the root, which stays.
    pub(super) fn new(root: Found) -> Self {
        let id = root.id;
        let node = Arc::new(Node::new(ROOT, root, None));
        node.lookups.store(1, Ordering::Relaxed);
        let inner = Inner { by_number: HashMap::from([(ROOT, node)]), by_object: HashMap::from([(id, ROOT)]), next: ROOT + 1 };
        Self { inner: RwLock::new(inner) }
    }

    /// The object that the kernel calls so.
    pub(super) fn get(&self, number: u64) -> io::Result<Arc<Node>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.by_number.get(&number).cloned().ok_or_else(|| rustix::io::Errno::STALE.into())
    }

    /// The node of an object that was found, looked up once more. `at` gives where it is, for an object that was there before; one that
    /// was just made gives `None`, and counts as told.
    pub(super) fn meet(&self, found: Found, at: impl FnOnce() -> Option<At>) -> Arc<Node> {
        {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(node) = inner.known(found.id) {
                return node;
            }
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = inner.known(found.id) {
            return node;
        }
        let (id, number) = (found.id, inner.next);
        let node = Arc::new(Node::new(number, found, at()));
        node.lookups.store(1, Ordering::Relaxed);
        inner.next += 1;
        inner.by_object.insert(id, number);
        inner.by_number.insert(number, Arc::clone(&node));
        node
    }

    /// The kernel forgets so many lookups. `gone` is called if those were all, before anybody can find the object again.
    pub(super) fn forget(&self, number: u64, lookups: u64, beneath: &Beneath, gone: impl FnOnce(&Node)) {
        if number == ROOT {
            return;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let Some(node) = inner.by_number.get(&number) else { return };
        let before = node.lookups.fetch_sub(lookups, Ordering::Relaxed);
        if before > lookups {
            return;
        }
        if let Some(node) = inner.by_number.remove(&number) {
            inner.by_object.remove(&node.id);
            if node.fd.get().is_some() {
                beneath.let_go();
            }
            gone(&node);
        }
    }
}

impl Inner {
    fn known(&self, id: ObjectId) -> Option<Arc<Node>> {
        let node = self.by_number.get(self.by_object.get(&id)?)?;
        node.lookups.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(node))
    }
}
