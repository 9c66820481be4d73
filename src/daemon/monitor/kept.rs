//! What a monitor remembers: `monitor.json` over a restart of the machine, `right` over one of the daemon.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, Mode};
use standin_common::uptime;
use standin_failover::monitor::Moment;
use standin_failover::monitor::alert::Alerts;

/// The file `right` has so many bytes, the last of them blanks.
const RIGHT_LEN: usize = 512;

/// Durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    /// Whether this node stops by itself when its right ends.
    pub(super) stands_down: bool,
    /// Whether it takes over by itself.
    pub(super) takes_over: bool,
    /// What people have to know.
    pub(super) alerts: Alerts,
}

impl Default for Kept {
    fn default() -> Self {
        Self { stands_down: true, takes_over: true, alerts: Alerts::default() }
    }
}

/// The two files.
pub(super) struct Files {
    kept: PathBuf,
    right: PathBuf,
    boot: String,
}

/// Until when the node may serve, by the clock of one start of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Right {
    boot: String,
    /// Until then.
    pub(super) until: Moment,
    /// Whether it has anything to stop when that is over.
    pub(super) serves: bool,
    /// Whether a start was under way.
    #[serde(default)]
    pub(super) starting: bool,
}

impl Files {
    /// In the state directory of a group.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { kept: directory.join("monitor.json"), right: directory.join("right"), boot: uptime::boot()? })
    }

    /// What was kept; what cannot be read is an error, since it may say that a person switched something off.
    pub(super) fn read(&self) -> Result<Kept, String> {
        let text = disk::read_optional(&self.kept).map_err(|error| error.to_string())?;
        let parse = |text: Vec<u8>| {
            let wrong =
                |error| format!("{} cannot be read ({error}): remove it, and everything is switched on", self.kept.display());
            serde_json::from_slice(&text).map_err(wrong)
        };
        text.map_or_else(|| Ok(Kept::default()), parse)
    }

    /// Durable when it returns.
    pub(super) fn write(&self, kept: &Kept) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(kept).map_err(|error| error.to_string())?;
        disk::replace(&self.kept, &text, Mode::Private).map_err(|error| error.to_string())
    }

    /// The right of this start of the machine; none if nothing was ever remembered, and over if it cannot be read or is of another start.
    pub(super) fn right(&self) -> Option<Moment> {
        self.right.exists().then(|| self.read_right().map_or(Moment::default(), |right| right.until))
    }

    /// What was remembered since the machine was started.
    pub(super) fn read_right(&self) -> Option<Right> {
        let right: Right = serde_json::from_slice(&std::fs::read(&self.right).ok()?).ok()?;
        (right.boot == self.boot).then_some(right)
    }

    /// Remembers it. Not synced: of a machine that was restarted nothing runs on. Written over what is there, always as long, so that a disk
    /// that ran full does not end a right; a reader that sees half of it reads again.
    pub(super) fn remember(&self, until: Moment, serves: bool, starting: bool) -> io::Result<()> {
        let mut text = serde_json::to_vec(&Right { boot: self.boot.clone(), until, serves, starting })?;
        text.resize(text.len().max(RIGHT_LEN), b' ');
        let mut file = File::options().create(true).truncate(false).write(true).open(&self.right)?;
        file.write_all(&text)
    }

    /// From now on nobody stops anything here by itself: the guard of a daemon before this one may live, and knows only what is remembered.
    pub(super) fn let_be(&self) -> io::Result<()> {
        if self.right.exists() { self.remember(AT_NO_TIME, false, false) } else { Ok(()) }
    }
}

/// Until when a node may serve that was told not to stop by itself.
pub(super) const AT_NO_TIME: Moment = Moment(u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_of_one_start_of_the_machine() {
        let dir = std::env::temp_dir().join(format!("standin-right-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = Files::new(&dir).unwrap();
        assert_eq!(files.right(), None);
        files.remember(Moment(77), true, false).unwrap();
        assert_eq!(files.right(), Some(Moment(77)));
        // In place, so that a full disk takes it: whoever has the same file open sees the new one, and none of the old.
        let same = dir.join("same");
        std::fs::hard_link(dir.join("right"), &same).unwrap();
        files.remember(Moment(1_234_567_890), false, false).unwrap();
        files.remember(Moment(8), true, false).unwrap();
        assert_eq!(std::fs::read(&same).unwrap(), std::fs::read(dir.join("right")).unwrap());
        assert_eq!(std::fs::read(&same).unwrap().len(), RIGHT_LEN);
        assert_eq!(files.right(), Some(Moment(8)));
        files.remember(Moment(77), true, false).unwrap();
        let other = Files { boot: "another".to_owned(), ..Files::new(&dir).unwrap() };
        assert_eq!(other.right(), Some(Moment(0)), "it is over");
        assert_eq!(files.read().unwrap(), Kept::default());
        let off = Kept { takes_over: false, ..Kept::default() };
        files.write(&off).unwrap();
        assert_eq!(files.read().unwrap(), off);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
