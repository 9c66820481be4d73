//! The watcher that marks whole file systems.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use standin_common::message::Position;
use standin_common::path::RelPath;
use standin_common::scope::{Depth, Scope};

use super::directories::{Directories, Directory, Found, Mounts, find_file};
use super::ground::Ground;
use super::kernel::{self, CAME, CONTENT, Event, Group, Handle, MOVED, NAMES};
use super::wait::Waiting;
use crate::capture::{Method, Noticed, Waker, Watcher};
use crate::volume::is_reserved;

/// Bytes that are read from the kernel at once.
const BUFFER: usize = 64 * 1024;
/// So many new names are remembered, for objects that are written by a name that they do not have any more.
const NEW_NAMES: usize = 4096;

type Each<'a> = &'a mut dyn FnMut(Noticed);

/// Notices by fanotify(7).
#[derive(Debug)]
pub(super) struct Fanotify {
    group: Group,
    waiting: Waiting,
    buffer: Vec<u8>,
    ground: Ground,
    /// How many marks there are.
    marks: usize,
    directories: Directories,
    /// Where objects were put lately, and before that.
    new_names: [HashMap<Box<[u8]>, Position>; 2],
    /// Objects that were changed, and of which the kernel told no name so far.
    nameless: Vec<Box<[u8]>>,
    /// A directory above a root was moved: the roots may be elsewhere.
    moved_above: bool,
}

impl Fanotify {
    /// Marks every file system in which something of the roots lies. Errors: the kernel, the privileges or a file system do not allow it;
    /// they say which.
    pub(super) fn new(roots: &[PathBuf], bounded: bool) -> io::Result<Self> {
        let group = Group::new(bounded).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL | libc::ENOSYS) => io::Error::new(error.kind(), "the kernel cannot: Linux 5.17 or newer is needed"),
            _ => explain("fanotify may not be used", error),
        })?;
        let waiting = Waiting::new()?;
        let ground = Ground::survey(roots)?;
        let marks = mark(&group, &ground)?;
        let (directories, new_names, nameless) = Default::default();
        let buffer = vec![0; BUFFER];
        Ok(Self { group, waiting, buffer, ground, marks, directories, new_names, nameless, moved_above: false })
    }

    /// Looks whether the roots and their mounts are what they were; if not, watches those that are there now, and says so.
    fn check_ground(&mut self, each: Each<'_>) -> io::Result<()> {
        let why = if let Some(path) = self.ground.moved() {
            format!("{} is not the same place as before", path.display())
        } else if self.moved_above {
            "a directory above a root was moved".to_owned()
        } else if self.waiting.mounts_changed()? && self.is_mounted_otherwise()? {
            "file systems were mounted or unmounted".to_owned()
        } else {
            return Ok(());
        };
        self.group.unmark()?;
        self.ground = Ground::survey(self.ground.paths())?;
        self.marks = mark(&self.group, &self.ground)?;
        self.moved_above = false;
        self.directories.forget();
        self.new_names = Default::default();
        each(Noticed::Lost(why));
        Ok(())
    }

    /// Whether the roots lie in other mounts than before, or in the same ones again: with a file system its mark goes without a word.
    fn is_mounted_otherwise(&self) -> io::Result<bool> {
        Ok(self.group.marks()? != self.marks || Ground::survey(self.ground.paths())? != self.ground)
    }

    fn tell(&mut self, mounts: &mut Mounts, event: &Event<'_>, each: Each<'_>) -> io::Result<()> {
        if event.is_overflow() {
            self.directories.forget();
            each(Noticed::Lost("the kernel's queue of notices ran over".to_owned()));
            return Ok(());
        }
        let Some((directory, name)) = event.named else {
            // Its directory is not known: a change of its number of names, or a write by a handle, as a file server does.
            return match event.object {
                Some(object) => self.tell_object(mounts, object, each),
                None => Ok(()),
            };
        };
        let directory = self.directories.get(&self.ground, mounts, directory)?;
        for (_, root) in directory.above.iter().filter(|(leading, _)| leading == name) {
            match root {
                Some(root) => each(changed(Position { root: *root, path: RelPath::root() }, Depth::Object)),
                None => self.moved_above |= event.is_directory() && event.mask & MOVED != 0,
            }
        }
        if directory.inside.is_empty() {
            return Ok(());
        }
        if event.is_directory() && event.mask & MOVED != 0 {
            self.directories.forget();
        }
        self.tell_inside(mounts, &directory, name, event, each)
    }

    /// Something happened to a name in a directory of the roots.
    fn tell_inside(
        &mut self,
        mounts: &mut Mounts,
        directory: &Directory,
        name: &[u8],
        event: &Event<'_>,
        each: Each<'_>,
    ) -> io::Result<()> {
        let mut elsewhere = None;
        for inside in &directory.inside {
            let place = match name {
                _ if directory.too_deep => None,
                b"." => Some(inside.clone()),
                name => inside.path.join(name).ok().map(|path| Position { root: inside.root, path }),
            };
            let Some(place) = place else {
                each(changed(inside.clone(), Depth::Subtree));
                continue;
            };
            if is_reserved(&place.path) {
                continue;
            }
            if event.is_directory() {
                let named = event.mask & NAMES != 0;
                each(if named { changed(place, Depth::Subtree) } else { Noticed::Directory(place) });
                continue;
            }
            let object = event.object.filter(|_| event.mask & CONTENT != 0);
            let away = object.filter(|object| !self.is_at(*object, &place));
            if let (Some(object), true) = (event.object, event.mask & CAME != 0) {
                self.remember(object, &place);
            }
            if away.is_none() || event.mask & NAMES != 0 {
                each(changed(place, Depth::Object));
            }
            elsewhere = elsewhere.or(away);
        }
        match elsewhere {
            Some(object) => self.tell_object(mounts, object, each),
            None => Ok(()),
        }
    }

    /// Something happened to an object that is not, or not any more, where the event has it.
    fn tell_object(&mut self, mounts: &mut Mounts, object: Handle<'_>, each: Each<'_>) -> io::Result<()> {
        let place = |at: Position| if is_reserved(&at.path) { None } else { Some(at) };
        match find_file(&self.ground, mounts, object)? {
            Found::Gone => {}
            Found::At(places) => places.into_iter().filter_map(place).for_each(|at| each(changed(at, Depth::Object))),
            Found::Directory(places) => places.into_iter().filter_map(place).for_each(|at| each(Noticed::Directory(at))),
            Found::Nameless => match self.new_name(object) {
                Some(at) => each(changed(at.clone(), Depth::Object)),
                // A later event may tell.
                None => self.nameless.push(object.as_bytes().into()),
            },
        }
        Ok(())
    }

    /// Where an object was put lately and is now.
    fn new_name(&self, object: Handle<'_>) -> Option<&Position> {
        let known = self.new_names.iter().find_map(|names| names.get(object.as_bytes()));
        known.filter(|at| self.is_at(object, at))
    }

    /// All events were read: what has no name yet gets none.
    fn tell_nameless(&mut self, mounts: &mut Mounts, each: Each<'_>) -> io::Result<()> {
        for object in std::mem::take(&mut self.nameless) {
            self.tell_object(mounts, Handle::again(&object), each)?;
        }
        if !self.nameless.is_empty() {
            self.nameless.clear();
            each(Noticed::Lost("a file was changed whose name the kernel does not know".to_owned()));
        }
        Ok(())
    }

    /// Whether an object is at a place now. In doubt it is: then the event is right.
    fn is_at(&self, object: Handle<'_>, place: &Position) -> bool {
        let Some(path) = self.ground.absolute(place) else { return true };
        match kernel::name_to_handle(&path) {
            Ok(found) => *found == *object.file_handle(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn remember(&mut self, object: Handle<'_>, place: &Position) {
        if self.new_names[0].len() >= NEW_NAMES {
            self.new_names.swap(0, 1);
            self.new_names[0].clear();
        }
        self.new_names[0].insert(object.as_bytes().into(), place.clone());
    }
}

impl Watcher for Fanotify {
    fn method(&self) -> &Method {
        &Method::Fanotify
    }

    fn waker(&self) -> Waker {
        self.waiting.waker()
    }

    fn wait(&self, limit: Duration) -> io::Result<()> {
        self.waiting.wait(&self.group, limit)
    }

    fn drain(&mut self, each: Each<'_>) -> io::Result<()> {
        let mut mounts = Mounts::default();
        let mut buffer = std::mem::take(&mut self.buffer);
        let follow = |told: io::Result<()>, each: Each<'_>| {
            if let Err(error) = told {
                each(Noticed::Lost(format!("a notice could not be followed: {error}")));
            }
        };
        // What comes while we read may be for the next time: in a flood there would be no end.
        let mut waiting = self.group.waiting()?;
        while waiting > 0 {
            let len = self.group.read(&mut buffer)?;
            if len == 0 {
                break;
            }
            for event in kernel::events(&buffer[..len]) {
                waiting = waiting.saturating_sub(1);
                let told = match event {
                    Some(event) => self.tell(&mut mounts, &event, each),
                    None => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's notice makes no sense")),
                };
                follow(told, each);
            }
        }
        self.buffer = buffer;
        let told = self.tell_nameless(&mut mounts, each);
        follow(told, each);
        drop(mounts);
        self.check_ground(each)
    }
}

fn changed(at: Position, depth: Depth) -> Noticed {
    Noticed::Changed(Scope { at, depth })
}

/// Marks the file systems of all mounts; returns how many there are.
fn mark(group: &Group, ground: &Ground) -> io::Result<usize> {
    for mount in &ground.mounts {
        try_mark(group, &mount.at)
            .map_err(|error| explain(&format!("{} cannot be watched as a whole", mount.at.display()), error))?;
    }
    group.marks()
}

/// Marks, and tries whether handles lead back to objects.
fn try_mark(group: &Group, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    group.mark(&name)?;
    let handle = kernel::name_to_handle(&name)?;
    let mount = std::fs::File::open(path)?;
    kernel::open_handle(std::os::fd::AsFd::as_fd(&mount), &handle).map(drop)
}

fn explain(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
