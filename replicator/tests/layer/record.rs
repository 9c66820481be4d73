//! A recorder that writes what it hears to a file, and reads it back.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use standin_replicator::capture::ordered::{Operation, Position, Recorder, Touch};

/// Writes each operation: its length in four bytes, and postcard.
pub(crate) struct ToFile {
    inner: Mutex<(BufWriter<File>, u64)>,
}

impl ToFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { inner: Mutex::new((BufWriter::with_capacity(1 << 20, File::create(path)?), 0)) })
    }

    /// How many operations there are so far, all of them in the file.
    pub(crate) fn flush(&self) -> io::Result<u64> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.flush()?;
        Ok(inner.1)
    }
}

impl Recorder for ToFile {
    fn before(&self, _: Touch) -> io::Result<()> {
        Ok(())
    }

    fn record(&self, operation: Operation<'_>) -> Position {
        let bytes = postcard::to_stdvec(&operation).unwrap_or_default();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let written = inner.0.write_all(&(bytes.len() as u32).to_le_bytes()).and_then(|()| inner.0.write_all(&bytes));
        // A record that cannot be written would make a test pass that must not.
        assert!(written.is_ok(), "cannot write the record: {written:?}");
        inner.1 += 1;
        Position(inner.1)
    }

    fn missed(&self, touch: Touch) {
        panic!("a change was missed: {touch:?}");
    }

    fn flushed(&self, _: Position) -> io::Result<()> {
        self.flush().map(drop)
    }
}

/// Reads the operations of a file.
pub(crate) struct FromFile {
    file: BufReader<File>,
    buffer: Vec<u8>,
}

impl FromFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::with_capacity(1 << 20, File::open(path)?), buffer: Vec::new() })
    }

    /// `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Operation<'_>>> {
        let mut len = [0; 4];
        match self.file.read_exact(&mut len) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        self.buffer.resize(u32::from_le_bytes(len) as usize, 0);
        self.file.read_exact(&mut self.buffer)?;
        postcard::from_bytes(&self.buffer).map(Some).map_err(io::Error::other)
    }
}
