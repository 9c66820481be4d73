//! A small tree with a bit of everything, and changes of it that are easy to get half done.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FallocateFlags, FileType, Mode, XattrFlags, fallocate, mknodat, setxattr};

use crate::material::Random;

const PAGE: u64 = 4096;
/// Directories that stay, so that there is always a place for something new.
const PLACES: [&str; 4] = ["mail", "mail/cur", "queue", "store"];
/// Files whose pages change.
const DATABASES: [&str; 3] = ["store/one.db", "store/two.db", "mail/three.db"];
const DATABASE_LEN: u64 = 1_300_000;

/// Makes it.
pub(crate) fn make(root: &Path, random: &mut Random, numbers: &mut Numbers) {
    for place in PLACES {
        fs::create_dir(root.join(place)).unwrap();
    }
    for database in DATABASES {
        write(&root.join(database), DATABASE_LEN, random);
    }
    File::create(root.join("store/sparse")).unwrap().set_len(3 << 20).unwrap();
    for _ in 0..150 {
        Change::Make.perform(root, random, numbers);
    }
}

/// Changes it: what is done depends on the numbers alone.
pub(crate) fn change(root: &Path, random: &mut Random, numbers: &mut Numbers) {
    for database in DATABASES {
        let file = File::options().read(true).write(true).open(root.join(database)).unwrap();
        let mut page = vec![0; PAGE as usize];
        for _ in 0..40 + random.below(60) {
            random.fill(&mut page);
            file.write_all_at(&page, random.below(DATABASE_LEN / PAGE) * PAGE).unwrap();
        }
        fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, random.below(60) * PAGE, 3 * PAGE).unwrap();
        if random.below(3) == 0 {
            file.set_len(DATABASE_LEN + random.below(100_000)).unwrap();
        }
    }
    for _ in 0..60 + random.below(60) {
        random.pick(ALL).perform(root, random, numbers);
    }
}

/// Counts what is made, so that no name comes twice.
#[derive(Debug, Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    fn name(&mut self, random: &mut Random) -> String {
        self.0 += 1;
        // Anywhere in the order of the walk.
        format!("{:02x}-{}", random.below(256), self.0)
    }
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Make,
    Rewrite,
    Resize,
    Remove,
    Move,
    MoveOver,
    Exchange,
    Link,
    PartLink,
    Symlink,
    OtherKind,
    NewDirectory,
    MoveDirectory,
    RemoveDirectory,
    Attributes,
}

const ALL: &[Change] = &[
    Change::Make,
    Change::Make,
    Change::Rewrite,
    Change::Resize,
    Change::Remove,
    Change::Move,
    Change::MoveOver,
    Change::Exchange,
    Change::Link,
    Change::Link,
    Change::PartLink,
    Change::Symlink,
    Change::OtherKind,
    Change::NewDirectory,
    Change::MoveDirectory,
    Change::RemoveDirectory,
    Change::Attributes,
    Change::Attributes,
];

/// Everything beneath the root that may be changed: files, other names, directories.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    all: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl Found {
    fn beneath(root: &Path) -> Self {
        let mut found = Self::default();
        found.look(root, root);
        found
    }

    fn look(&mut self, root: &Path, directory: &Path) {
        let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let name = path.strip_prefix(root).unwrap();
            if kind.is_dir() {
                self.look(root, &path);
                if !PLACES.iter().any(|place| name == Path::new(place)) {
                    self.directories.push(path);
                }
            } else if !DATABASES.iter().any(|database| name == Path::new(database)) {
                if kind.is_file() {
                    self.files.push(path.clone());
                }
                self.all.push(path);
            }
        }
    }

    fn pick<'a>(&self, from: &'a [PathBuf], random: &mut Random) -> Option<&'a PathBuf> {
        (!from.is_empty()).then(|| random.pick(from))
    }

    /// A place for something new.
    fn place(&self, root: &Path, random: &mut Random) -> PathBuf {
        let here = random.below((PLACES.len() + self.directories.len()) as u64) as usize;
        PLACES.get(here).map_or_else(|| self.directories[here - PLACES.len()].clone(), |place| root.join(place))
    }
}

impl Change {
    /// Does nothing if there is nothing to do it to.
    fn perform(self, root: &Path, random: &mut Random, numbers: &mut Numbers) {
        let found = Found::beneath(root);
        let new = found.place(root, random).join(numbers.name(random));
        let (file, any) = (found.pick(&found.files, random), found.pick(&found.all, random));
        let directory = found.pick(&found.directories, random);
        match (self, file, any, directory) {
            (Self::Make, ..) => make_any(&new, any, random),
            (Self::NewDirectory, ..) => {
                fs::create_dir(&new).unwrap();
                for _ in 0..random.below(4) {
                    make_any(&new.join(numbers.name(random)), any, random);
                }
            }
            (Self::Rewrite, Some(file), ..) => write(file, random.below(40_000), random),
            (Self::Resize, Some(file), ..) => open(file).set_len(random.below(80_000)).unwrap(),
            (Self::Remove, _, Some(any), _) => fs::remove_file(any).unwrap(),
            (Self::Move, _, Some(any), _) => fs::rename(any, &new).unwrap(),
            (Self::MoveOver, Some(file), Some(any), _) => fs::rename(file, any).unwrap(),
            (Self::Exchange, Some(file), Some(any), _) if file != any => {
                fs::rename(file, &new).unwrap();
                fs::rename(any, file).unwrap();
                fs::rename(&new, any).unwrap();
            }
            (Self::Link, Some(file), ..) => fs::hard_link(file, &new).unwrap(),
            (Self::PartLink, Some(file), ..) => {
                fs::copy(file, &new).unwrap();
                fs::rename(&new, file).unwrap();
            }
            (Self::Symlink, _, Some(any), _) => {
                fs::remove_file(any).unwrap();
                symlink(format!("../{}", random.below(1000)), any).unwrap();
            }
            (Self::OtherKind, Some(file), _, Some(directory)) if !file.starts_with(directory) => {
                fs::remove_file(file).unwrap();
                fs::rename(directory, file).unwrap();
                write(directory, random.below(9_000), random);
            }
            (Self::MoveDirectory, _, _, Some(directory)) if !new.starts_with(directory) => {
                fs::rename(directory, &new).unwrap();
            }
            (Self::RemoveDirectory, _, _, Some(directory)) => fs::remove_dir_all(directory).unwrap(),
            (Self::Attributes, _, Some(any), directory) => {
                attributes(directory.filter(|_| random.below(2) == 0).unwrap_or(any), random)
            }
            _ => {}
        }
    }
}

fn make_any(path: &Path, other: Option<&PathBuf>, random: &mut Random) {
    match (random.below(12), other) {
        (0, _) => symlink("../nowhere", path).unwrap(),
        (1, _) => mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
        (2, Some(other)) => fs::hard_link(other, path).unwrap(),
        (3, _) => {
            write(path, 5_000, random);
            open(path).set_len(500_000).unwrap();
        }
        (4, _) => write(path, 100_000 + random.below(300_000), random),
        _ => write(path, random.below(20_000), random),
    }
    if random.below(2) == 0 && !path.is_symlink() {
        attributes(path, random);
    }
}

fn open(path: &Path) -> File {
    File::options().write(true).open(path).unwrap()
}

fn write(path: &Path, len: u64, random: &mut Random) {
    let mut data = vec![0; len as usize];
    random.fill(&mut data);
    File::create(path).unwrap().write_all(&data).unwrap();
}

fn attributes(path: &Path, random: &mut Random) {
    let kind = fs::symlink_metadata(path).unwrap().file_type();
    if kind.is_symlink() {
        return;
    }
    let least = if kind.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, Permissions::from_mode(least | random.below(0o100) as u32)).unwrap();
    if kind.is_dir() || kind.is_file() {
        let value = random.next().to_le_bytes();
        // Not every file system has them.
        let _ = setxattr(path, format!("user.{}", random.below(3)), &value, XattrFlags::empty());
        File::open(path).unwrap().set_modified(random.time()).unwrap();
    }
}
