//! The kernel's end of a layer, which lives as long as any mount of it does: a container that was started meanwhile has a copy of every mount.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// What ends a connection. It stands for that one alone: once it has ended by itself, another one may get its number, and is left alone.
#[derive(Debug)]
pub(super) struct Connection(File);

impl Connection {
    /// That of a file system, given its device number as `major:minor` (Documentation/filesystems/fuse: a directory for each connection, named
    /// by that number; with no major number it is the minor one). The control file system is reached whether it is mounted anywhere or not.
    pub(super) fn open(device: &str) -> io::Result<Self> {
        let minor = device.strip_prefix("0:").ok_or(io::ErrorKind::Unsupported)?;
        let control = control()?;
        let abort = openat(control, format!("{minor}/abort"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self(abort.into()))
    }

    /// Ends it: whoever still uses a mount of it gets errors, and whoever serves it is told that it is over. One that has ended already is no error.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.0.write_all(b"1")
    }
}

fn control() -> io::Result<OwnedFd> {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}
