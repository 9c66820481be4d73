//! Lines of JSON over a connection.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::platform::Stream;

/// How often whoever waits for a line looks whether to go on waiting.
const LOOK: Duration = Duration::from_millis(100);

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Lines {
    stream: Stream,
    /// Longest line that is taken, in bytes.
    most: usize,
    /// What was read beyond the last line.
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn new(stream: Stream, most: usize) -> Self {
        Self { stream, most, buffer: Vec::new() }
    }

    /// Writes one value.
    pub(super) fn write(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.stream.write(&line)
    }

    /// Reads one value. `None` at the end, or as soon as `go_on` says no.
    pub(super) fn read<T: DeserializeOwned>(&mut self, go_on: &mut dyn FnMut() -> bool) -> io::Result<Option<T>> {
        match self.line(go_on)? {
            Some(line) => Ok(Some(serde_json::from_slice(&line)?)),
            None => Ok(None),
        }
    }

    fn line(&mut self, go_on: &mut dyn FnMut() -> bool) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = [0; 16 * 1024];
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + end + 1);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            searched = self.buffer.len();
            if searched > self.most {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {} bytes", self.most)));
            }
            if !go_on() {
                return Ok(None);
            }
            match self.stream.read(&mut chunk, LOOK)? {
                Some(0) => return Ok(None),
                Some(len) => self.buffer.extend_from_slice(&chunk[..len]),
                None => {}
            }
        }
    }

    /// Whether the other side has closed the connection.
    pub(super) fn is_hung_up(&self) -> bool {
        self.stream.is_hung_up()
    }
}
