//! From the handle of a directory or file to the places that it has in the roots.
//!
//! A handle leads to where the object is now, which may not be where it was at the time of the event. Nothing is lost by that: between the
//! two times a directory was moved, and that is an event of its own, which makes both its names dirty with all beneath them. Of
//! the moves in question the one nearest to the root leads to a directory that did not move, so that its place is right. For the same reason a
//! remembered place does until the next move of a directory is read, and what does not exist any more needs no place: the removal of the
//! topmost directory that is gone has one.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use standin_common::id::RootIndex;
use standin_common::message::Position;

use super::super::object;
use super::ground::Ground;
use super::kernel::{Handle, name_to_handle, open_handle};

/// So many directories are remembered; a mail server has a few for each user.
const REMEMBERED: usize = 32 * 1024;
/// What the kernel puts after the path of what is removed.
const DELETED: &[u8] = b" (deleted)";

/// A directory in which something happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// Its places in the roots; none for most directories of a file system.
    pub(super) inside: Vec<Position>,
    /// It lies deeper than a path can tell: then `inside` is where the nearest directory above is that a path leads to.
    pub(super) too_deep: bool,
    /// Names in it that lead to a root: the root, if it is that name itself and a single file, else `None`.
    pub(super) above: Vec<(Vec<u8>, Option<RootIndex>)>,
}

/// Where a file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// In the roots, at these places; or in none of them.
    At(Vec<Position>),
    /// It is a directory, at these places.
    Directory(Vec<Position>),
    /// It has no name any more.
    Gone,
    /// It has a name, but the kernel does not know which.
    Nameless,
}

/// Opened mounts, for one drain: held longer, they could not be unmounted.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<Option<File>>);

impl Mounts {
    fn get(&mut self, ground: &Ground, number: usize) -> io::Result<&File> {
        self.0.resize_with(ground.mounts.len(), || None);
        let slot = &mut self.0[number];
        if slot.is_none() {
            *slot = Some(File::open(&ground.mounts[number].at)?);
        }
        slot.as_ref().ok_or_else(|| io::Error::other("a mount that was opened is not there"))
    }

    /// Opens an object through every mount that shows its file system.
    fn open(&mut self, ground: &Ground, handle: Handle<'_>) -> io::Result<Vec<OwnedFd>> {
        let mut opened = Vec::new();
        for (number, mount) in ground.mounts.iter().enumerate() {
            if mount.file_system == handle.file_system() {
                match open_handle(self.get(ground, number)?.as_fd(), handle.file_handle()) {
                    Err(error) if error.raw_os_error() == Some(Errno::STALE.raw_os_error()) => {}
                    object => opened.push(object?),
                }
            }
        }
        Ok(opened)
    }
}

/// The directories that were met lately.
#[derive(Debug, Default)]
pub(super) struct Directories {
    known: HashMap<Box<[u8]>, Arc<Directory>>,
}

impl Directories {
    /// The directory of a handle. Errors: the kernel refuses to open it, though it exists.
    pub(super) fn get(&mut self, ground: &Ground, mounts: &mut Mounts, handle: Handle<'_>) -> io::Result<Arc<Directory>> {
        if let Some(known) = self.known.get(handle.as_bytes()) {
            return Ok(Arc::clone(known));
        }
        let mut directory = Directory::default();
        for opened in mounts.open(ground, handle)? {
            let (path, too_deep) = path_of_directory(opened)?;
            directory.too_deep |= too_deep;
            directory.inside.extend(ground.places(&path));
            directory.above.extend(ground.roots.iter().filter_map(|root| {
                let mut rest = root.real.strip_prefix(&path).ok()?.iter();
                let name = rest.next()?.as_bytes().to_vec();
                let itself = rest.next().is_none() && root.is_file;
                Some((name, itself.then_some(root.index)))
            }));
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let directory = Arc::new(directory);
        self.known.insert(handle.as_bytes().into(), Arc::clone(&directory));
        Ok(directory)
    }

    /// A directory was moved: all places may be others.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

/// Where the file of a handle is, by any of its names.
pub(super) fn find_file(ground: &Ground, mounts: &mut Mounts, handle: Handle<'_>) -> io::Result<Found> {
    let mut places = Vec::new();
    let opened = mounts.open(ground, handle)?;
    if opened.is_empty() {
        return Ok(Found::Gone);
    }
    for file in opened {
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let (path, _) = path_of_directory(file)?;
            return Ok(Found::Directory(ground.places(&path)));
        }
        if stat.st_nlink == 0 {
            return Ok(Found::Gone);
        }
        let Some(path) = path(&file)? else { return Ok(Found::Nameless) };
        // A file that the kernel was led to by its handle alone hangs nowhere.
        let hangs_nowhere = path.as_os_str() == "/";
        let removed =
            path.as_os_str().as_bytes().strip_suffix(DELETED).map(|before| Path::new(std::ffi::OsStr::from_bytes(before)));
        let places_of = |path: &Path| ground.places(path);
        match removed {
            Some(before) if !leads_to(&path, handle) => {
                // Under the name that it was opened by it is not any more, under another one it is, unless that has gone meanwhile.
                if fstat(&file)?.st_nlink == 0 {
                    return Ok(Found::Gone);
                }
                if !places_of(before).is_empty() {
                    return Ok(Found::Nameless);
                }
            }
            _ if hangs_nowhere => return Ok(Found::Nameless),
            _ => places.extend(places_of(&path)),
        }
    }
    Ok(Found::At(places))
}

fn leads_to(path: &Path, handle: Handle<'_>) -> bool {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes());
    path.is_ok_and(|path| name_to_handle(&path).is_ok_and(|found| *found == *handle.file_handle()))
}

/// The path of a directory, or, if that is too long for the kernel, of the nearest one above it.
fn path_of_directory(mut directory: OwnedFd) -> io::Result<(PathBuf, bool)> {
    let mut too_deep = false;
    loop {
        if let Some(found) = path(&directory)? {
            let removed = fstat(&directory)?.st_nlink == 0;
            let bytes = found.as_os_str().as_bytes();
            // Removed while we look: the notice of that will come, and what happened in it has a place as long as it has one.
            let real =
                bytes.strip_suffix(DELETED).filter(|_| removed).map(|bytes| PathBuf::from(OsString::from_vec(bytes.to_vec())));
            return Ok((real.unwrap_or(found), too_deep));
        }
        too_deep = true;
        directory = openat(&directory, c"..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    }
}

/// The path by which the kernel knows an object; `None` if it is too long.
fn path(handle: &OwnedFd) -> io::Result<Option<PathBuf>> {
    let link = object::named(handle.as_fd())?;
    match rustix::fs::readlinkat(CWD, link.as_c_str(), Vec::new()) {
        Err(Errno::NAMETOOLONG) => Ok(None),
        path => Ok(Some(PathBuf::from(OsString::from_vec(path?.into_bytes())))),
    }
}
