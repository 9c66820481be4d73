//! What only a Unix file system has.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags};

use super::random::Random;

/// A POSIX access control list as the kernel keeps it (`linux/posix_acl_xattr.h`): version 2; owner rw, user 1001 r, group r, mask r.
const ACL: &[(u16, u16, u32)] =
    &[(0x01, 6, u32::MAX), (0x02, 4, 1001), (0x04, 4, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)];

/// Names that are not text.
pub(crate) fn odd_names() -> impl Iterator<Item = PathBuf> {
    let names: [&[u8]; 6] = [b"not \xff\xfe UTF-8", b"two\nlines", b"tab\there", b"back\\slash", b"\x01control", b"*?[glob]\"'"];
    names.into_iter().map(|name| PathBuf::from(OsString::from_vec(name.to_vec())))
}

/// Symbolic links of all kinds beneath the directory.
pub(crate) fn make_symlinks(root: &Path) -> io::Result<()> {
    symlink("a/one of three", root.join("to a file"))?;
    symlink("a", root.join("to a directory"))?;
    symlink("nowhere", root.join("to nothing"))?;
    symlink("/nonexistent/absolute", root.join("to an absolute path"))?;
    symlink("../../..", root.join("out of the root"))?;
    symlink("to itself", root.join("to itself"))?;
    symlink(OsStr::from_bytes(b"\xff\n"), root.join("to no text"))?;
    symlink("x".repeat(1000), root.join("to a long path"))
}

/// Sets the time of a symbolic link itself.
pub(crate) fn set_link_time(path: &Path, time: SystemTime) -> io::Result<()> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
    let last_modification = Timespec { tv_sec: since.as_secs() as i64, tv_nsec: i64::from(since.subsec_nanos()) };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Ok(rustix::fs::utimensat(CWD, path, &Timestamps { last_access, last_modification }, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Files with modes, owners, lists and extended attributes, and a pipe. What the file system or the user may not do is left out.
pub(crate) fn make_attributes(root: &Path, random: &mut Random) -> io::Result<()> {
    for mode in [0o400, 0o600, 0o644, 0o755, 0o1777, 0o2755, 0o4755] {
        let path = root.join(format!("mode {mode:o}"));
        write(&path, random)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    let owned = root.join("of another owner");
    write(&owned, random)?;
    permitted(std::os::unix::fs::chown(&owned, Some(1001), Some(1002)))?;
    for (name, value_len) in [("user.standin", 20), ("user.empty", 0), ("user.large", 3_000)] {
        let path = root.join(name);
        write(&path, random)?;
        let mut value = vec![0; value_len];
        random.fill(&mut value);
        permitted(rustix::fs::lsetxattr(&path, name, &value, XattrFlags::empty()).map_err(Into::into))?;
        permitted(rustix::fs::lsetxattr(&path, "user.on.all", b"yes", XattrFlags::empty()).map_err(Into::into))?;
    }
    permitted(rustix::fs::lsetxattr(root, "user.directory", b"its own", XattrFlags::empty()).map_err(Into::into))?;
    let listed = root.join("with a list");
    write(&listed, random)?;
    permitted(rustix::fs::lsetxattr(&listed, "system.posix_acl_access", &acl(), XattrFlags::empty()).map_err(Into::into))?;
    let pipe = root.join("a pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o620), 0)?;
    set_link_time(&pipe, random.time())
}

fn write(path: &Path, random: &mut Random) -> io::Result<()> {
    fs::write(path, path.as_os_str().as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default())?;
    File::options().write(true).open(path)?.set_modified(random.time())
}

/// Ignores that the file system does not know such things or the user may not do it: the volume then has one oddity less.
fn permitted(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

fn acl() -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in ACL {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Which file this is, if it has more names than one: its device and number.
pub(crate) fn shared_identity(metadata: &Metadata) -> Option<(u64, u64)> {
    (metadata.nlink() > 1 && !metadata.is_dir()).then(|| (metadata.dev(), metadata.ino()))
}

/// Everything of an object that is to be equal on both sides besides data and links, as words.
pub(crate) fn facts(path: &Path, metadata: &Metadata) -> io::Result<Vec<(&'static str, String)>> {
    let kind = match metadata.mode() & 0o170_000 {
        0o040_000 => "directory",
        0o100_000 => "file",
        0o120_000 => "symbolic link",
        0o010_000 => "pipe",
        0o140_000 => "socket",
        0o060_000 => "block device",
        _ => "character device",
    };
    let mut facts = vec![
        ("kind", kind.to_owned()),
        ("owner", format!("{}:{}", metadata.uid(), metadata.gid())),
        ("time", format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec())),
        ("extended attributes", xattrs(path)?),
    ];
    match kind {
        "symbolic link" => facts.push(("target", format!("{:?}", fs::read_link(path)?))),
        _ => facts.push(("mode", format!("{:o}", metadata.mode() & 0o7777))),
    }
    if kind == "file" {
        facts.push(("size", metadata.len().to_string()));
    }
    if kind.ends_with("device") {
        facts.push(("device", metadata.rdev().to_string()));
    }
    Ok(facts)
}

fn xattrs(path: &Path) -> io::Result<String> {
    let mut list = Vec::with_capacity(64 * 1024);
    match rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) => {}
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    }
    let mut texts = Vec::new();
    // What marks a live tree is that tree's own.
    let is_copied = |name: &&[u8]| !name.is_empty() && !name.ends_with(b".standin.live");
    for name in list.split(|byte| *byte == 0).filter(is_copied) {
        let mut value = Vec::with_capacity(64 * 1024);
        rustix::fs::lgetxattr(path, CString::new(name)?.as_c_str(), rustix::buffer::spare_capacity(&mut value))?;
        texts.push(format!("{}={:?}", OsStr::from_bytes(name).display(), OsStr::from_bytes(&value)));
    }
    texts.sort();
    Ok(texts.join(" "))
}
