//! The watcher with a watch on each directory, for where whole file systems cannot be marked.
//!
//! A new directory is watched first and told as a whole then: what was put into it before is found by who looks at it, what comes later is
//! told. Weaker than marks in one thing: a file that is written by a name that it loses before the next look is told by that name
//! only, though it may have others; a rescan finds it by its change time. Reading the kernel's queue ourselves, as a crate with a thread of its own would not let us, is what makes `drain` tell everything up to its call.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use standin_common::message::Position;
use standin_common::path::RelPath;
use standin_common::scope::{Depth, Scope};

use super::super::object;
use super::ground::{Ground, Root};
use super::wait::Waiting;
use crate::capture::{Method, Noticed, Waker, Watcher};
use crate::volume::is_reserved;

/// How long after watches ran out it is tried again to watch everything.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// Bytes of an event without a name.
const SMALLEST_EVENT: u64 = 16;
/// Bytes that are read from the kernel at once.
const BUFFER: usize = 64 * 1024;

const CHANGES: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DELETE_SELF);

/// A name came or went.
const NAMES: ReadFlags = ReadFlags::CREATE.union(ReadFlags::DELETE).union(ReadFlags::MOVED_FROM).union(ReadFlags::MOVED_TO);

type Each<'a> = &'a mut dyn FnMut(Noticed);

/// An event, taken out of the kernel's queue.
struct Event {
    watch: i32,
    flags: ReadFlags,
    name: Option<Vec<u8>>,
}

/// Notices by inotify(7).
#[derive(Debug)]
pub(super) struct Inotify {
    queue: OwnedFd,
    waiting: Waiting,
    method: Method,
    ground: Ground,
    watches: HashMap<i32, Position>,
    places: BTreeMap<Position, i32>,
    /// Why something is not watched, and since when.
    incomplete: Option<(String, Instant)>,
    /// A root is not where it was, or the kernel lost events.
    lost: Option<&'static str>,
}

impl Inotify {
    /// Watches every directory. `why` not whole file systems is told as a part of the method. Errors: there are no watches to be had.
    pub(super) fn new(roots: &[PathBuf], why: String) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let (waiting, ground, method) = (Waiting::new()?, Ground::survey(roots)?, Method::Inotify { why });
        let (watches, places) = Default::default();
        let mut made = Self { queue, waiting, method, ground, watches, places, incomplete: None, lost: None };
        made.watch_all();
        match made.incomplete.take() {
            Some((why, _)) => Err(io::Error::new(io::ErrorKind::QuotaExceeded, why)),
            None => Ok(made),
        }
    }

    fn watch_all(&mut self) {
        for watch in std::mem::take(&mut self.watches).into_keys() {
            // It may have gone by itself.
            let _ = inotify::remove_watch(&self.queue, watch);
        }
        self.places.clear();
        self.incomplete = None;
        for root in self.ground.roots.clone() {
            let place = Position { root: root.index, path: RelPath::root() };
            if let Err(error) = self.watch_root(&root, &place) {
                self.note_failure(&place, error);
            }
        }
    }

    fn watch_root(&mut self, root: &Root, place: &Position) -> io::Result<()> {
        if root.is_file {
            let watch = inotify::add_watch(&self.queue, &root.real, CHANGES)?;
            self.put(watch, place.clone());
            return Ok(());
        }
        let directory = openat(CWD, &root.real, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        self.watch_tree(directory.as_fd(), place)
    }

    /// Watches a directory and all beneath it.
    fn watch_tree(&mut self, directory: BorrowedFd<'_>, place: &Position) -> io::Result<()> {
        let path = object::named(directory)?;
        let watch = inotify::add_watch(&self.queue, path.as_c_str(), CHANGES | WatchFlags::ONLYDIR)?;
        self.put(watch, place.clone());
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let may_be_directory = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if name == b"." || name == b".." || !may_be_directory {
                continue;
            }
            let child = Position { root: place.root, path: place.path.join(name).map_err(io::Error::other)? };
            if !is_reserved(&child.path) {
                self.watch_child(directory, &child);
            }
        }
        Ok(())
    }

    /// Watches what lies beneath a directory, if it is a directory and is still there.
    fn watch_child(&mut self, directory: BorrowedFd<'_>, child: &Position) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(directory, child.path.name(), flags, Mode::empty());
        let watched = opened.map_err(io::Error::from).and_then(|opened| self.watch_tree(opened.as_fd(), child));
        if let Err(error) = watched {
            self.note_failure(child, error);
        }
    }

    fn note_failure(&mut self, place: &Position, error: io::Error) {
        let errno = Errno::from_io_error(&error);
        // What is gone has its own event. What may not be read cannot be replicated; a change of its mode has an event, too.
        if matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS)) {
            return;
        }
        let why = match errno {
            Some(Errno::NOSPC) => {
                "there are more directories than watches: raise the sysctl fs.inotify.max_user_watches".to_owned()
            }
            _ => format!("{} cannot be watched: {error}", place.path),
        };
        self.incomplete.get_or_insert_with(|| (why, Instant::now()));
    }

    fn put(&mut self, watch: i32, place: Position) {
        // A directory that was moved keeps its watch.
        if let Some(before) = self.watches.insert(watch, place.clone()).filter(|before| *before != place) {
            self.places.remove(&before);
        }
        self.places.insert(place, watch);
    }

    /// Nothing is at this place any more.
    fn forget(&mut self, at: &Position) {
        let beneath = |(place, _): &(&Position, &i32)| place.root == at.root && place.path.starts_with(&at.path);
        let gone: Vec<_> = self.places.range(at..).take_while(beneath).map(|(place, watch)| (place.clone(), *watch)).collect();
        for (place, watch) in gone {
            self.places.remove(&place);
            self.watches.remove(&watch);
            // It may have gone by itself.
            let _ = inotify::remove_watch(&self.queue, watch);
        }
    }

    /// Takes what the kernel has now; what comes meanwhile may be for the next time.
    fn read(&self) -> io::Result<Vec<Event>> {
        let most = rustix::io::ioctl_fionread(&self.queue)?.div_ceil(SMALLEST_EVENT);
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        let mut events = Vec::new();
        for _ in 0..most {
            match reader.next() {
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                event => {
                    let event = event?;
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    events.push(Event { watch: event.wd(), flags: event.events(), name });
                }
            }
        }
        // What was read stands in the buffer to its end.
        while !reader.is_buffer_empty() {
            let event = reader.next()?;
            let name = event.file_name().map(|name| name.to_bytes().to_vec());
            events.push(Event { watch: event.wd(), flags: event.events(), name });
        }
        Ok(events)
    }

    fn tell(&mut self, event: &Event, each: Each<'_>) {
        if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.lost = Some("the kernel's queue of notices ran over");
            return;
        }
        // Unknown: a directory that was moved or removed before, which was told.
        let Some(place) = self.watches.get(&event.watch).cloned() else { return };
        match &event.name {
            None => self.tell_itself(&place, event, each),
            Some(name) => {
                let Ok(path) = place.path.join(name) else { return each(changed(place, Depth::Subtree)) };
                if !is_reserved(&path) {
                    self.tell_child(Position { root: place.root, path }, event, each);
                }
            }
        }
    }

    /// Something happened to the watched object itself.
    fn tell_itself(&mut self, place: &Position, event: &Event, each: Each<'_>) {
        let root = self.ground.roots.iter().find(|root| root.index == place.root).filter(|_| place.path.is_root()).cloned();
        match root {
            Some(root) if root.is_file => {
                // Another file may have taken its place.
                if let Err(error) = self.watch_root(&root, place) {
                    self.note_failure(place, error);
                }
                each(changed(place.clone(), Depth::Object));
            }
            Some(_) if event.flags.intersects(ReadFlags::MOVE_SELF | ReadFlags::DELETE_SELF | ReadFlags::UNMOUNT) => {
                self.lost = Some("a root was moved or removed");
            }
            _ if event.flags.intersects(ReadFlags::UNMOUNT) => self.lost = Some("a file system was unmounted"),
            _ if event.flags.contains(ReadFlags::ATTRIB) => each(Noticed::Directory(place.clone())),
            // Of what was moved or removed its directory tells, too.
            _ => {}
        }
        if event.flags.contains(ReadFlags::IGNORED) && self.watches.remove(&event.watch).is_some() {
            self.places.remove(place);
        }
    }

    /// Something happened to what is in a watched directory.
    fn tell_child(&mut self, child: Position, event: &Event, each: Each<'_>) {
        if !event.flags.contains(ReadFlags::ISDIR) {
            return each(changed(child, Depth::Object));
        }
        let named = event.flags.intersects(NAMES);
        if named {
            self.forget(&child);
        } else if self.places.contains_key(&child) {
            return each(Noticed::Directory(child));
        }
        // Also where something was taken away: of an exchange, that is told last.
        self.watch_place(&child);
        each(changed(child, Depth::Subtree));
    }

    /// Watches the directory at a place, and all beneath it.
    fn watch_place(&mut self, place: &Position) {
        let Some(root) = self.ground.roots.iter().find(|root| root.index == place.root) else { return };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = openat(CWD, &root.real, flags, Mode::empty());
        // Step by step: the whole path may be longer than the kernel takes.
        for name in place.path.parent().iter().flat_map(RelPath::components) {
            directory = directory.and_then(|directory| openat(directory, name, flags, Mode::empty()));
        }
        match directory {
            Ok(directory) => self.watch_child(directory.as_fd(), place),
            Err(errno) => self.note_failure(place, errno.into()),
        }
    }

    /// Looks whether the roots are what they were; if not, or events were lost, watches everything anew and says so.
    fn check_ground(&mut self, each: Each<'_>) -> io::Result<()> {
        let why = if let Some(path) = self.ground.moved() {
            format!("{} is not the same place as before", path.display())
        } else if let Some(lost) = self.lost {
            lost.to_owned()
        } else if self.waiting.mounts_changed()? && Ground::survey(self.ground.paths())? != self.ground {
            "file systems were mounted or unmounted".to_owned()
        } else if let Some((why, since)) = self.incomplete.clone() {
            if since.elapsed() > TRY_AGAIN {
                self.watch_all();
            }
            each(Noticed::Lost(why));
            return Ok(());
        } else {
            return Ok(());
        };
        self.lost = None;
        self.ground = Ground::survey(self.ground.paths())?;
        self.watch_all();
        each(Noticed::Lost(why));
        Ok(())
    }
}

impl Watcher for Inotify {
    fn method(&self) -> &Method {
        &self.method
    }

    fn waker(&self) -> Waker {
        self.waiting.waker()
    }

    fn wait(&self, limit: Duration) -> io::Result<()> {
        self.waiting.wait(&self.queue, limit)
    }

    fn drain(&mut self, each: Each<'_>) -> io::Result<()> {
        for event in self.read()? {
            self.tell(&event, each);
        }
        self.check_ground(each)
    }
}

fn changed(at: Position, depth: Depth) -> Noticed {
    Noticed::Changed(Scope { at, depth })
}
