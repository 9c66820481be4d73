//! A step that remembers, for tests.

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Memo, Step};

/// A step of a run that never is.
pub(super) struct TestStep {
    deadline: Instant,
    lines: Mutex<Vec<String>>,
    memo: Mutex<Option<Memo>>,
    /// Whether the disk takes nothing.
    is_disk_full: bool,
    haste: Option<Duration>,
}

impl TestStep {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            deadline: Instant::now() + limit,
            lines: Mutex::default(),
            memo: Mutex::default(),
            is_disk_full: false,
            haste: None,
        }
    }

    /// This step, whose disk takes nothing.
    pub(super) fn on_full_disk(self) -> Self {
        Self { is_disk_full: true, ..self }
    }

    /// This step in haste, with this grace for commands.
    pub(super) fn in_haste(self, grace: Duration) -> Self {
        Self { haste: Some(grace), ..self }
    }

    /// Everything that was told.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Step for TestStep {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn haste(&self) -> Option<Duration> {
        self.haste
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        self.lines.lock().unwrap().push(line.to_string());
    }

    fn keep(&self, memo: Memo) -> io::Result<()> {
        if self.is_disk_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *self.memo.lock().unwrap() = Some(memo);
        Ok(())
    }

    fn memo(&self) -> Option<Memo> {
        self.memo.lock().unwrap().clone()
    }

    fn variables(&self) -> Vec<(String, String)> {
        vec![("STANDIN_GROUP".to_owned(), "mail".to_owned())]
    }
}
