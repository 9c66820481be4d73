//! Whether a source root is what it was: an unmounted or emptied root must never look like an order to empty the standby.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use standin_common::path::RelPath;

use crate::os::{mount_point, mounts_beneath};
use crate::rules::Rules;

/// What is remembered of a root from its last mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Where the file system was mounted that it lay in.
    pub mount: PathBuf,
    /// Whether there was something in it.
    pub filled: bool,
    /// Where beneath it other file systems were mounted.
    #[serde(default)]
    pub beneath: Vec<PathBuf>,
}

/// Why a root is not mirrored.
#[derive(Debug, thiserror::Error)]
pub enum UnsafeRoot {
    /// It is not there, or cannot be read.
    #[error("the root {} cannot be read: {source}; mount it or correct `path`; nothing was removed on the standby", path.display())]
    Unreadable {
        /// The root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It lies in another file system than before.
    #[error(
        "the root {} was on the file system mounted at {}, which is not mounted now: mount it; nothing was removed on the standby",
        path.display(), mount.display()
    )]
    Unmounted {
        /// The root.
        path: PathBuf,
        /// Where its file system was mounted.
        mount: PathBuf,
    },
    /// A file system was mounted beneath it, and is not any more.
    #[error(
        "{}, in the root {}, was a mounted file system at the last mirror, and is not mounted now: mount it; nothing was removed on the \
         standby; if what was in it is really meant to go, say so with `--max-orphans 100%`",
        at.display(), path.display()
    )]
    UnmountedBeneath {
        /// The root.
        path: PathBuf,
        /// Where beneath it.
        at: PathBuf,
    },
    /// It had contents, and has none.
    #[error(
        "the root {} is empty and was not at the last mirror: is something not mounted? Nothing was removed on the standby; if all of it \
         is really meant to go, say so with `--max-orphans 100%`",
        path.display()
    )]
    Emptied {
        /// The root.
        path: PathBuf,
    },
}

/// Looks at a root before a mirror; returns what to remember of it. `emptied_is_meant` lets an emptied one pass.
pub fn look_at(
    path: &Path,
    rules: &Rules,
    before: Option<&Remembered>,
    emptied_is_meant: bool,
) -> Result<Remembered, UnsafeRoot> {
    let unreadable = |source| UnsafeRoot::Unreadable { path: path.to_owned(), source };
    let mount = mount_point(path).map_err(unreadable)?;
    let mut beneath = mounts_beneath(path).map_err(unreadable)?;
    let counts = |path: &RelPath| rules.judge(path).included || rules.may_include_beneath(path);
    beneath.retain(|point| RelPath::new(point.as_os_str().as_encoded_bytes()).is_ok_and(|path| counts(&path)));
    look_in(path, path, (mount, beneath), before, emptied_is_meant)
}

/// The same of a root with a layer over it, of which `inside` leads to the directory beneath, and which lay in the file system mounted
/// at `mount` before the layer came. Nothing else is mounted beneath.
pub fn look_beneath(
    path: &Path,
    (inside, mount): (&Path, &Path),
    before: Option<&Remembered>,
    emptied_is_meant: bool,
) -> Result<Remembered, UnsafeRoot> {
    look_in(path, inside, (mount.to_owned(), Vec::new()), before, emptied_is_meant)
}

fn look_in(
    path: &Path,
    inside: &Path,
    (mount, beneath): (PathBuf, Vec<PathBuf>),
    before: Option<&Remembered>,
    emptied_is_meant: bool,
) -> Result<Remembered, UnsafeRoot> {
    let unreadable = |source| UnsafeRoot::Unreadable { path: path.to_owned(), source };
    let filled = match inside.metadata().map_err(unreadable)?.is_dir() {
        true => std::fs::read_dir(inside).map_err(unreadable)?.next().is_some(),
        false => true,
    };
    if let Some(before) = before {
        if before.mount != mount && before.mount.starts_with(&mount) {
            return Err(UnsafeRoot::Unmounted { path: path.to_owned(), mount: before.mount.clone() });
        }
        let gone = before.beneath.iter().find(|point| !beneath.contains(point));
        if let Some(at) = gone.filter(|_| !emptied_is_meant) {
            return Err(UnsafeRoot::UnmountedBeneath { path: path.to_owned(), at: at.clone() });
        }
        if before.filled && !filled && !emptied_is_meant {
            return Err(UnsafeRoot::Emptied { path: path.to_owned() });
        }
    }
    Ok(Remembered { mount, filled, beneath })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_gone_or_emptied_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        assert!(matches!(look_at(&root, &Rules::everything(), None, false), Err(UnsafeRoot::Unreadable { .. })));
        std::fs::create_dir(&root).unwrap();
        let empty = look_at(&root, &Rules::everything(), None, false).unwrap();
        assert!(!empty.filled);
        std::fs::write(root.join("file"), b"").unwrap();
        let filled = look_at(&root, &Rules::everything(), Some(&empty), false).unwrap();
        assert!(filled.filled);
        std::fs::remove_file(root.join("file")).unwrap();
        assert!(matches!(look_at(&root, &Rules::everything(), Some(&filled), false), Err(UnsafeRoot::Emptied { .. })));
        assert!(look_at(&root, &Rules::everything(), Some(&filled), true).is_ok());
    }

    #[test]
    fn a_file_system_that_is_not_mounted_any_more_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let now = look_at(directory.path(), &Rules::everything(), None, false).unwrap();
        let before = Remembered { mount: directory.path().canonicalize().unwrap(), ..now };
        assert!(matches!(
            look_at(directory.path(), &Rules::everything(), Some(&before), true),
            Err(UnsafeRoot::Unmounted { .. })
        ));
    }
}
