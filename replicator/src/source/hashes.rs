//! Lists of file hashes, as `b3sum` writes and checks them: so a replica can be checked by a program that knows nothing of Standin.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use standin_common::message::Position;
use standin_common::tree::Root;

/// A list for each root, of what a verification read; they replace those of the last one when it is complete.
#[derive(Debug)]
pub struct HashLists {
    lists: Vec<List>,
    /// The first error; the verification goes on without a list.
    failed: Mutex<Option<io::Error>>,
}

#[derive(Debug)]
struct List {
    /// What the root itself is called, if it is a file.
    root_name: Vec<u8>,
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
}

impl HashLists {
    /// Begins lists for these roots in a directory, under the names `verified-N.b3` with the root's number.
    pub fn create(directory: &Path, roots: &[&Path]) -> io::Result<Self> {
        let list = |(index, root): (usize, &&Path)| {
            let path = directory.join(format!("verified-{index}.b3"));
            let file = Mutex::new(BufWriter::new(File::create(unfinished(&path))?));
            let root_name = root.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
            Ok(List { root_name, path, file })
        };
        let lists = roots.iter().enumerate().map(list).collect::<io::Result<_>>()?;
        Ok(Self { lists, failed: Mutex::default() })
    }

    /// Adds a file.
    pub(super) fn note(&self, at: &Position, root: &Root) {
        let Some(list) = self.lists.get(usize::from(at.root.0)) else { return };
        let name = if at.path.is_root() { &list.root_name } else { at.path.as_bytes() };
        let written = list.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line(name, root));
        if let Err(error) = written {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// Puts the lists in their places; returns their paths.
    pub fn finish(self) -> io::Result<Vec<PathBuf>> {
        if let Some(error) = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let finish = |list: List| {
            list.file.into_inner().unwrap_or_else(PoisonError::into_inner).flush()?;
            fs::rename(unfinished(&list.path), &list.path)?;
            Ok(list.path)
        };
        self.lists.into_iter().map(finish).collect()
    }
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("b3.unfinished")
}

/// A line of a list. Names with a backslash or the end of a line in them are escaped, and the line says so by beginning with a backslash.
fn line(name: &[u8], root: &Root) -> Vec<u8> {
    let escaped = name.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
    let mut line = if escaped { b"\\".to_vec() } else { Vec::new() };
    line.extend_from_slice(blake3::Hash::from(root.0).to_hex().as_bytes());
    line.extend_from_slice(b"  ");
    for byte in name {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}
