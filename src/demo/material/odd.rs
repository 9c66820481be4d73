//! One of everything that a file system can hold and a copier can get wrong.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::random::Random;
use super::volume::write_file;
use super::{MaterialError, at, platform};

const SPARSE_LEN: u64 = 64 * 1024 * 1024;
const DEEP_LEVELS: usize = 60;
const LONGEST_NAME_LEN: usize = 255;

/// Makes them; says how many objects there are.
pub(crate) fn make(root: &Path, seed: u64) -> Result<u64, MaterialError> {
    let mut random = Random::new(seed);
    names(&root.join("names"), &mut random)?;
    links(&root.join("links"), &mut random)?;
    holes(&root.join("holes"), &mut random)?;
    times(&root.join("times"), &mut random)?;
    deep(&root.join("deep"), &mut random)?;
    let attributes = root.join("attributes");
    make_directory(&attributes)?;
    at("set attributes beneath", &attributes, platform::make_attributes(&attributes, &mut random))?;
    for empty in ["empty", "empty/of/all/files"] {
        at("make directory", root, fs::create_dir_all(root.join(empty)))?;
    }
    write_file(&root.join("nothing"), b"", &mut random)?;
    at("count", root, set_times_and_count(root, &mut random))
}

fn make_directory(path: &Path) -> Result<(), MaterialError> {
    at("make directory", path, fs::create_dir(path))
}

fn names(root: &Path, random: &mut Random) -> Result<(), MaterialError> {
    make_directory(root)?;
    let longest = "n".repeat(LONGEST_NAME_LEN);
    // The two accented names differ only in how the accent is encoded (NFC, NFD).
    let ordinary =
        ["-rf", " spaces at both ends ", ".hidden", "caf\u{e9}", "cafe\u{301}", "100%", "$(reboot)", "a;b&c", "...", &longest];
    for name in ordinary.iter().map(PathBuf::from).chain(platform::odd_names()) {
        write_file(&root.join(&name), format!("{name:?}").as_bytes(), random)?;
    }
    let directory = root.join("-directory with spaces");
    make_directory(&directory)?;
    write_file(&directory.join("--"), b"dashes", random)
}

fn links(root: &Path, random: &mut Random) -> Result<(), MaterialError> {
    make_directory(root)?;
    make_directory(&root.join("a"))?;
    make_directory(&root.join("b"))?;
    let first = root.join("a/one of three");
    write_file(&first, b"three names, one file", random)?;
    for other in ["b/two of three", "three of three"] {
        at("link", &first, fs::hard_link(&first, root.join(other)))?;
    }
    write_file(&root.join("-linked-a"), b"two names side by side", random)?;
    at("link", root, fs::hard_link(root.join("-linked-a"), root.join("-linked-b")))?;
    at("link beneath", root, platform::make_symlinks(root))
}

/// Files that are mostly holes: at the start, in the middle, at the end, and nothing else.
fn holes(root: &Path, random: &mut Random) -> Result<(), MaterialError> {
    make_directory(root)?;
    let mut data = vec![0; 10_000];
    random.fill(&mut data);
    let files: [(&str, u64, &[u64]); 4] = [
        ("in the middle", SPARSE_LEN, &[0, SPARSE_LEN / 3, SPARSE_LEN - 10_000]),
        ("at both ends", SPARSE_LEN / 4, &[SPARSE_LEN / 8]),
        ("at odd places", 1_234_567, &[4_095, 70_001]),
        ("nothing else", 300_000, &[]),
    ];
    for (name, len, places) in files {
        let path = root.join(name);
        let mut file = at("make", &path, File::create(&path))?;
        at("extend", &path, file.set_len(len))?;
        for place in places {
            at("write", &path, file.seek(SeekFrom::Start(*place)).and_then(|_| file.write_all(&data)))?;
        }
        at("set the time of", &path, file.set_modified(random.time()))?;
    }
    // Zeros that are written are no hole, but read the same.
    write_file(&root.join("written zeros"), &vec![0; 200_000], random)
}

fn times(root: &Path, random: &mut Random) -> Result<(), MaterialError> {
    make_directory(root)?;
    let epoch = SystemTime::UNIX_EPOCH;
    let times = [
        ("the first nanosecond", epoch + Duration::new(0, 1)),
        ("before 1970", epoch - Duration::new(86_400, 123_456_789)),
        ("after 2038", epoch + Duration::new(4_000_000_000, 999_999_999)),
    ];
    for (name, time) in times {
        let path = root.join(name);
        write_file(&path, name.as_bytes(), random)?;
        at("set the time of", &path, File::options().write(true).open(&path).and_then(|file| file.set_modified(time)))?;
    }
    Ok(())
}

fn deep(root: &Path, random: &mut Random) -> Result<(), MaterialError> {
    let mut path = root.to_owned();
    for level in 0..DEEP_LEVELS {
        path.push(format!("level {level}"));
    }
    at("make directory", &path, fs::create_dir_all(&path))?;
    write_file(&path.join("at the bottom"), b"deep", random)
}

/// Gives directories and symbolic links times of the seed's, the deepest first; says how many objects there are.
fn set_times_and_count(path: &Path, random: &mut Random) -> std::io::Result<u64> {
    let mut children: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
    children.sort_by_key(fs::DirEntry::file_name);
    let mut count = 0;
    for child in children {
        let kind = child.file_type()?;
        count += 1;
        if kind.is_dir() {
            count += set_times_and_count(&child.path(), random)?;
        } else if kind.is_symlink() {
            platform::set_link_time(&child.path(), random.time())?;
        }
    }
    File::open(path)?.set_modified(random.time())?;
    Ok(count)
}
