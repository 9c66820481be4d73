//! Puts the layer over a directory, takes it away, clears a dead one.

use std::ffi::CString;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, StatVfsMountFlags, StatxFlags, fstatvfs, statx};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::beneath::path_of;
use super::device::Device;
use super::{explain, holders};

/// How the file system is called in the table of mounts.
const KIND: &str = "fuse.standin";
/// How long a gap is looked for between those who use it.
const MOMENT: Duration = Duration::from_millis(100);

/// A mounted layer.
#[derive(Debug)]
pub(super) struct Mounted {
    path: PathBuf,
    /// The kernel's number of the mount.
    pub(super) id: u64,
    /// The device number of its file system, as `major:minor`.
    pub(super) device: String,
}

impl Mounted {
    /// Mounts over the directory that the handle stands for, wherever its path leads by now.
    pub(super) fn mount(path: &Path, over: BorrowedFd<'_>, device: &Device) -> io::Result<Self> {
        let number = device.as_fd().as_raw_fd();
        let data = format!("fd={number},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other");
        let data = CString::new(data)?;
        mount(c"standin", &*path_of(over), KIND, flags_of(over)?, &*data).map_err(|errno| match errno {
            Errno::PERM => io::Error::new(io::ErrorKind::PermissionDenied, "only root may put a layer over a directory"),
            errno => explain("mount over", path, &errno.into()),
        })?;
        let line = table()?.into_iter().rev().find(|line| line.at == path && line.kind == KIND);
        let line = line.ok_or_else(|| explain("find the mount over", path, &Errno::NOENT.into()))?;
        Ok(Self { path: path.to_owned(), id: line.id, device: line.device })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes it away, unless somebody uses it.
    pub(super) fn unmount(&self) -> io::Result<()> {
        // Never that of somebody who mounted over us.
        if mount_id(&self.path)? != self.id {
            return Err(io::Error::other(format!(
                "another file system is mounted over {}: unmount that first",
                self.path.display()
            )));
        }
        match self.unmount_in_a_moment() {
            Err(Errno::BUSY) => {
                let mut text = format!("{} is in use", self.path.display());
                let mut by = holders::of(self);
                if by.is_empty() {
                    by.push("somebody who is gone by now, or in another container: try again".to_owned());
                }
                let _ = write!(text, " by {}; end what uses it, or stop the services first", by.join(", "));
                Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
            }
            done => done.map_err(|errno| explain("unmount", &self.path, &errno.into())),
        }
    }

    /// Whoever opens files for a moment, again and again, leaves gaps; they may be short.
    fn unmount_in_a_moment(&self) -> Result<(), Errno> {
        let until = Instant::now() + MOMENT;
        loop {
            match unmount(self.path.as_path(), UnmountFlags::NOFOLLOW) {
                Err(Errno::BUSY) if Instant::now() < until => std::thread::park_timeout(Duration::from_millis(1)),
                done => return done,
            }
        }
    }
}

/// What holds of the mount beneath holds of the layer.
fn flags_of(over: BorrowedFd<'_>) -> io::Result<MountFlags> {
    let beneath = fstatvfs(over)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
    ];
    Ok(pairs
        .into_iter()
        .filter(|(is, _)| beneath.contains(*is))
        .map(|(_, flag)| flag)
        .fold(MountFlags::empty(), |all, flag| all | flag))
}

/// Whether a layer is what is seen at a path.
pub(super) fn is_layer(path: &Path) -> io::Result<bool> {
    let id = mount_id(path)?;
    Ok(table()?.iter().any(|line| line.id == id && line.at == path && line.kind == KIND))
}

/// Clears away dead layers over a directory, and what was mounted in them; returns whether there was one.
pub(super) fn clear_dead(directory: &Path) -> io::Result<bool> {
    let mut cleared = false;
    // The path itself cannot be looked up through a dead mount, what is above it can.
    let Some(name) = directory.file_name() else { return Ok(false) };
    let above = match directory.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let Ok(above) = above.canonicalize() else { return Ok(false) };
    let path = above.join(name);
    while is_dead(&path) && table()?.iter().any(|line| line.at == path && line.kind == KIND) {
        unmount(path.as_path(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            .map_err(|errno| explain("clear away the dead layer over", &path, &errno.into()))?;
        tracing::info!(path = %path.display(), "cleared away the layer of a daemon that died");
        cleared = true;
    }
    Ok(cleared)
}

fn is_dead(path: &Path) -> bool {
    // What the kernel remembers of a dead layer says nothing: it has to be asked.
    let asked = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    matches!(statx(CWD, path, asked, StatxFlags::BASIC_STATS), Err(Errno::NOTCONN | Errno::CONNABORTED))
}

/// The number of the mount that a path leads to; nobody is asked for attributes.
fn mount_id(path: &Path) -> io::Result<u64> {
    Ok(statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// A line of the table of mounts, see proc_pid_mountinfo(5).
struct Line {
    id: u64,
    device: String,
    at: PathBuf,
    kind: String,
}

fn table() -> io::Result<Vec<Line>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(line).collect())
}

fn line(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = String::from_utf8_lossy(fields.nth(1)?).into_owned();
    let at = crate::os::linux::mount::path_of_field(fields.nth(1)?);
    let kind = String::from_utf8_lossy(fields.skip_while(|field| *field != b"-").nth(1)?).into_owned();
    Some(Line { id, device, at, kind })
}
