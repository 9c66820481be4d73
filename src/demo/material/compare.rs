//! Compares two trees by themselves, with nothing of the replication: what a mirror is judged by.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::platform;

const PIECE_LEN: usize = 1024 * 1024;

/// Every difference between the trees at `a` and `b`, a line each: kind, data (a hole equals zeros), size, mode, owner, extended
/// attributes (lists are such), time to the nanosecond, target of links, which names are one file. What cannot be read is a difference.
pub(crate) fn compare(a: &Path, b: &Path) -> Vec<String> {
    let mut comparison = Comparison {
        a: a.to_owned(),
        b: b.to_owned(),
        differences: Vec::new(),
        names_a: HashMap::new(),
        names_b: HashMap::new(),
        buffers: (vec![0; PIECE_LEN], vec![0; PIECE_LEN]),
    };
    comparison.object(Path::new(""));
    comparison.differences
}

struct Comparison {
    a: PathBuf,
    b: PathBuf,
    differences: Vec<String>,
    /// The first name seen of each file with several.
    names_a: HashMap<(u64, u64), PathBuf>,
    names_b: HashMap<(u64, u64), PathBuf>,
    buffers: (Vec<u8>, Vec<u8>),
}

impl Comparison {
    fn object(&mut self, path: &Path) {
        let result = self.compare_object(path);
        if let Err(error) = result {
            self.differences.push(format!("{path:?}: cannot be compared: {error}"));
        }
    }

    fn compare_object(&mut self, path: &Path) -> io::Result<()> {
        let (full_a, full_b) = (join(&self.a, path), join(&self.b, path));
        let (a, b) = (fs::symlink_metadata(&full_a)?, fs::symlink_metadata(&full_b)?);
        let (facts_a, facts_b) = (platform::facts(&full_a, &a)?, platform::facts(&full_b, &b)?);
        for (fact_a, fact_b) in facts_a.iter().zip(&facts_b) {
            if fact_a != fact_b {
                self.differences.push(format!("{path:?}: {}: {} / {}", fact_a.0, fact_a.1, fact_b.1));
            }
        }
        if a.file_type() != b.file_type() {
            return Ok(());
        }
        self.compare_names(path, &a, &b);
        if a.is_dir() {
            return self.compare_children(path, &full_a, &full_b);
        }
        if a.is_file() && a.len() == b.len() {
            self.compare_data(path, &full_a, &full_b)?;
        }
        Ok(())
    }

    /// The trees are walked in the same order, so a file with several names must be met under the same first name.
    fn compare_names(&mut self, path: &Path, a: &Metadata, b: &Metadata) {
        let first = |names: &mut HashMap<(u64, u64), PathBuf>, metadata| {
            let identity = platform::shared_identity(metadata);
            identity.map_or_else(|| path.to_owned(), |identity| names.entry(identity).or_insert_with(|| path.to_owned()).clone())
        };
        let (first_a, first_b) = (first(&mut self.names_a, a), first(&mut self.names_b, b));
        if first_a != first_b {
            self.differences.push(format!("{path:?}: the same file as {first_a:?} / {first_b:?}"));
        }
    }

    fn compare_children(&mut self, path: &Path, full_a: &Path, full_b: &Path) -> io::Result<()> {
        let (names_a, names_b) = (children(full_a)?, children(full_b)?);
        for name in names_a.union(&names_b) {
            let child = path.join(name);
            match (names_a.contains(name), names_b.contains(name)) {
                (true, true) => self.object(&child),
                (true, false) => self.differences.push(format!("{child:?}: missing on the second side")),
                _ => self.differences.push(format!("{child:?}: only on the second side")),
            }
        }
        Ok(())
    }

    fn compare_data(&mut self, path: &Path, full_a: &Path, full_b: &Path) -> io::Result<()> {
        let (mut a, mut b) = (File::open(full_a)?, File::open(full_b)?);
        let mut offset = 0;
        loop {
            let len_a = read_full(&mut a, &mut self.buffers.0)?;
            let len_b = read_full(&mut b, &mut self.buffers.1)?;
            let (piece_a, piece_b) = (&self.buffers.0[..len_a], &self.buffers.1[..len_b]);
            if piece_a != piece_b {
                let same = piece_a.iter().zip(piece_b).take_while(|(a, b)| a == b).count();
                self.differences.push(format!("{path:?}: data differ first at byte {}", offset + same));
                return Ok(());
            }
            if len_a == 0 {
                return Ok(());
            }
            offset += len_a;
        }
    }
}

/// Without the slash at the end that joining nothing would leave: it would follow a link.
fn join(root: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { root.to_owned() } else { root.join(path) }
}

fn children(path: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
