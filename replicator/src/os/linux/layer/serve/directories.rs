//! Lists of names.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

use rustix::fs::{FileType, OFlags, RawDir, RawDirEntry, SeekFrom, seek};
use rustix::io::Errno;

use super::super::beneath::again;
use super::super::node::Node;
use super::super::open::OpenDirectory;
use super::super::wire::flags::opened;
use super::super::wire::{Entries, Entry, Opened};
use super::{Answer, Serving};
use crate::capture::ordered::Position;

/// Bytes of a list that are read at once.
const LIST: usize = 16 * 1024;
/// The most bytes of an answer; more is never asked for.
const MOST: usize = 1024 * 1024;

impl Serving {
    pub(super) fn open_directory(&self, node: Arc<Node>) -> io::Result<Answer> {
        let file = again(self.reach(&node)?.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?.into();
        let handle = self.directories.put(OpenDirectory { node, file, at: 0.into() });
        Ok(Answer::Opened(Opened { handle, flags: opened::KEEP_CACHE | opened::CACHE_DIR, backing: None }))
    }

    pub(super) fn read_directory(&self, handle: u64, offset: u64, len: usize, plus: bool) -> io::Result<Answer> {
        let open = self.directories.get(handle)?;
        let _still = open.node.still();
        let mut at = open.at.lock().unwrap_or_else(PoisonError::into_inner);
        if *at != offset {
            seek(&open.file, SeekFrom::Start(offset))?;
            *at = offset;
        }
        let mut entries = Entries::new(len.min(MOST));
        let mut space = [MaybeUninit::uninit(); LIST];
        let mut list = RawDir::new(&open.file, &mut space);
        while let Some(entry) = list.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !entries.fits(name, plus) {
                break;
            }
            let looked = if plus && name != b"." && name != b".." { self.look_up(&open, &entry)? } else { Looked::Not };
            let node = match looked {
                Looked::Gone => None,
                Looked::Not => Some(Entry::default()),
                Looked::Up(node) => Some(node),
            };
            *at = entry.next_entry_cookie();
            if let Some(node) = node {
                entries.push(name, entry.ino(), *at, kind(entry.file_type()), plus.then_some(&node));
            }
        }
        // What was read beyond the last that fitted is read again.
        if *at != offset || entries.is_empty() {
            seek(&open.file, SeekFrom::Start(*at))?;
        }
        Ok(Answer::Bytes(entries.as_bytes().to_vec()))
    }

    fn look_up(&self, open: &OpenDirectory, entry: &RawDirEntry<'_>) -> io::Result<Looked> {
        match self.beneath.find(open.file.as_fd(), entry.file_name()) {
            Ok(found) => Ok(Looked::Up(self.entry(found, (&open.node, entry.file_name())).1)),
            // Taken away by a back door.
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(Looked::Gone),
            // It is listed, and whoever opens it is told.
            Err(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => Ok(Looked::Not),
            Err(error) => Err(error),
        }
    }

    pub(super) fn sync_directory(&self, handle: u64, data_only: bool) -> io::Result<Answer> {
        let open = self.directories.get(handle)?;
        self.make_durable(&open.node, &open.file, data_only, Position::default())?;
        Ok(Answer::Done)
    }
}

enum Looked {
    Up(Entry),
    /// Not asked for, or not to be had.
    Not,
    Gone,
}

/// The kind of an object as a list has it, `DT_…`.
fn kind(kind: FileType) -> u32 {
    match kind {
        FileType::RegularFile => libc::DT_REG.into(),
        FileType::Directory => libc::DT_DIR.into(),
        FileType::Symlink => libc::DT_LNK.into(),
        FileType::Fifo => libc::DT_FIFO.into(),
        FileType::Socket => libc::DT_SOCK.into(),
        FileType::CharacterDevice => libc::DT_CHR.into(),
        FileType::BlockDevice => libc::DT_BLK.into(),
        FileType::Unknown => libc::DT_UNKNOWN.into(),
    }
}
