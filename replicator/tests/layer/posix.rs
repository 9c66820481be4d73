//! The same things done in a plain directory and through the layer have the same results.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, Uid, XattrFlags, chown, fallocate,
    fcntl_lock, flock, lsetxattr, mknodat, open, renameat_with, seek, statvfs, unlinkat,
};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::ground::Ground;

/// What was done and what came of it.
struct Results(Vec<String>);

impl Results {
    fn note<T: Debug>(&mut self, what: &str, result: T) {
        self.0.push(format!("{what}: {result:?}"));
    }

    fn object(&mut self, what: &str, path: &Path) {
        let seen = fs::symlink_metadata(path).map(|stat| (stat.mode(), stat.uid(), stat.gid(), stat.nlink(), stat.size()));
        self.note(what, seen.map_err(|error| error.raw_os_error()));
    }
}

fn modes(root: &Path, of: &mut Results) {
    let private = root.join("set-gid");
    fs::create_dir(&private).unwrap();
    chown(&private, Some(Uid::from_raw(1234)), Some(Gid::from_raw(4321))).unwrap();
    rustix::fs::chmod(&private, Mode::from_raw_mode(0o2777)).unwrap();
    fs::create_dir(private.join("by root")).unwrap();
    File::create(private.join("file by root")).unwrap();
    symlink("nowhere", private.join("link by root")).unwrap();
    for name in ["by root", "file by root", "link by root"] {
        of.object(name, &private.join(name));
    }
    let set_id = root.join("set-id");
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o777).open(&set_id).unwrap();
    let set = || rustix::fs::chmod(&set_id, Mode::from_raw_mode(0o6777)).unwrap();
    set();
    fs::write(&set_id, "root may keep them").unwrap();
    of.object("after a write of root", &set_id);
    as_nobody(|| OpenOptions::new().write(true).open(&set_id).unwrap().write_all(b"others may not").unwrap());
    of.object("after a write of another", &set_id);
    set();
    as_nobody(|| OpenOptions::new().write(true).open(&set_id).unwrap().set_len(3).unwrap());
    of.object("after another cut it", &set_id);
    set();
    chown(&set_id, Some(Uid::from_raw(7)), None).unwrap();
    of.object("after a change of owner", &set_id);
}

fn as_another(root: &Path, of: &mut Results) {
    let open_to_all = root.join("all");
    fs::create_dir(&open_to_all).unwrap();
    rustix::fs::chmod(&open_to_all, Mode::from_raw_mode(0o1777)).unwrap();
    fs::write(open_to_all.join("of root"), "mine").unwrap();
    fs::create_dir(root.join("closed")).unwrap();
    rustix::fs::chmod(root.join("closed"), Mode::from_raw_mode(0o700)).unwrap();
    let results = as_nobody(|| {
        let mut of = Results(Vec::new());
        let number = |error: std::io::Error| error.raw_os_error();
        of.note("made", File::create(open_to_all.join("new")).map(drop).map_err(number));
        of.note("directory", fs::create_dir(open_to_all.join("dir")).map_err(number));
        of.note("in set-gid", File::create(root.join("set-gid/of nobody")).map(drop).map_err(number));
        of.note("sticky", fs::remove_file(open_to_all.join("of root")).map_err(number));
        of.note("not writable", fs::write(open_to_all.join("of root"), "x").map_err(number));
        of.note("not searchable", fs::read_dir(root.join("closed")).map(drop).map_err(number));
        of.note("mode of another's", rustix::fs::chmod(root.join("closed"), Mode::from_raw_mode(0o777)));
        of.note("device", mknodat(CWD, open_to_all.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), 0x103));
        of.note("trusted", lsetxattr(open_to_all.join("new"), "trusted.x", b"1", XattrFlags::empty()));
        of.note("user", lsetxattr(open_to_all.join("new"), "user.x", b"1", XattrFlags::empty()));
        of
    });
    of.0.extend(results.0);
    for name in ["all/new", "all/dir", "set-gid/of nobody"] {
        of.object(name, &root.join(name));
    }
}

/// Does something in the name of another user who is in no groups.
fn as_nobody<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
            set_thread_groups(&[]).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            what()
        });
        thread.join().unwrap()
    })
}

fn names(root: &Path, of: &mut Results) {
    let odd = [vec![b'n'; 255], vec![b'n'; 256], b"\xff\xfe not UTF-8".to_vec(), b"new\nline".to_vec(), b"\\040".to_vec()];
    for name in &odd {
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        of.note("odd name", fs::write(&path, name).map_err(|error| error.raw_os_error()));
        of.object("odd name", &path);
    }
    let mut deep = PathBuf::from(root);
    let mut directory = open(root, OFlags::RDONLY, Mode::empty()).unwrap();
    for depth in 0..300 {
        let name = format!("{depth} {}", "deep ".repeat(20));
        rustix::fs::mkdirat(&directory, &name, Mode::from_raw_mode(0o755)).unwrap();
        directory = rustix::fs::openat(&directory, &name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        deep.push(name);
    }
    of.note("too long a path", fs::metadata(&deep).map(drop).map_err(|error| error.raw_os_error()));
    let file = rustix::fs::openat(&directory, "at the end", OFlags::CREATE | OFlags::RDWR, Mode::from_raw_mode(0o600)).unwrap();
    of.note("deep", rustix::io::write(&file, b"down here"));
    let (one, two) = (root.join("one"), root.join("two"));
    fs::write(&one, "1").unwrap();
    fs::write(&two, "2").unwrap();
    let rename = |flags| renameat_with(CWD, &one, CWD, &two, flags);
    of.note("no replace", rename(RenameFlags::NOREPLACE));
    of.note("exchange", rename(RenameFlags::EXCHANGE));
    of.note("exchanged", (fs::read(&one).unwrap(), fs::read(&two).unwrap()));
    fs::hard_link(&one, root.join("three")).unwrap();
    of.note("onto itself", renameat_with(CWD, &one, CWD, root.join("three"), RenameFlags::empty()));
    of.object("both stay", &one);
    of.note("directory onto a file", renameat_with(CWD, root.join("all"), CWD, &one, RenameFlags::empty()));
    of.note("into itself", renameat_with(CWD, root.join("all"), CWD, root.join("all/dir/x"), RenameFlags::empty()));
    of.note("not empty", unlinkat(CWD, root.join("all"), AtFlags::REMOVEDIR));
}

fn data(root: &Path, of: &mut Results) {
    let path = root.join("data");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.set_len(1 << 20).unwrap();
    file.write_all_at(b"island", 500_000).unwrap();
    let mut seeks = Vec::new();
    for at in [0, 500_000, 600_000, 1 << 20] {
        seeks.push((seek(&file, rustix::fs::SeekFrom::Data(at)), seek(&file, rustix::fs::SeekFrom::Hole(at))));
    }
    of.note("holes", seeks);
    for flags in [FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, FallocateFlags::ZERO_RANGE, FallocateFlags::PUNCH_HOLE]
    {
        of.note("allocate", fallocate(&file, flags, 499_000, 1 << 20));
    }
    of.object("longer", &path);
    let appenders: Vec<_> = (0..3).map(|_| OpenOptions::new().append(true).open(&path).unwrap()).collect();
    file.set_len(0).unwrap();
    std::thread::scope(|scope| {
        for mut file in appenders {
            scope.spawn(move || (0..200).for_each(|_| file.write_all(b"0123456789").unwrap()));
        }
    });
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    of.note("appended whole", text == "0123456789".repeat(600));
    fs::remove_file(&path).unwrap();
    file.write_all_at(b"still there", 0).unwrap();
    of.note("without a name", (file.metadata().unwrap().nlink(), file.metadata().unwrap().len()));
    let lock = |how| flock(File::open(root.join("one")).unwrap(), how);
    let held = File::open(root.join("one")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    of.note("flock", lock(FlockOperation::NonBlockingLockExclusive));
    of.note("record lock", fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive));
    of.note("as a directory", open(root.join("one"), OFlags::DIRECTORY, Mode::empty()).map(drop));
    of.note("through a file", fs::metadata(root.join("one/below")).map(drop).map_err(|error| Errno::from_io_error(&error)));
}

fn all(root: &Path) -> Vec<String> {
    let mut of = Results(Vec::new());
    modes(root, &mut of);
    as_another(root, &mut of);
    names(root, &mut of);
    data(root, &mut of);
    of.0
}

#[test]
fn the_results_are_those_of_a_plain_directory() {
    let plain = tempfile::TempDir::new().unwrap();
    let mut ground = Ground::new(|_| {});
    for root in [plain.path(), &ground.source(), ground.source().parent().unwrap()] {
        rustix::fs::chmod(root, Mode::from_raw_mode(0o755)).unwrap();
    }
    let (expected, found) = (all(plain.path()), all(&ground.source()));
    assert!(expected.len() > 40);
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected, found);
    }
    ground.follow();
    let space = [&ground.source(), &ground.beneath()].map(|path| {
        let space = statvfs(path).unwrap();
        (space.f_blocks, space.f_files, space.f_namemax, space.f_bsize)
    });
    assert_eq!(space[0], space[1]);
    let numbers = [&ground.source(), &ground.beneath()].map(|path| fs::metadata(path.join("one")).unwrap().ino());
    assert_eq!(numbers[0], numbers[1]);
    fs::remove_dir_all(plain.path()).unwrap();
    fs::create_dir(plain.path()).unwrap();
}
