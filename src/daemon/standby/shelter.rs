//! Where a former source keeps what the new source lacks: a folder named after the generation at which it was source, and a list beside it.
//!
//! The folder is `kept/generation-N` in the set's state directory, with `root-0` and so on in it. Of a root in another file system it is
//! `.standin/kept/generation-N/root-0` at the top of that root, so that data can be shared with it; that name is never replicated. The list is
//! always `kept/generation-N.txt` in the state directory.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use standin_common::disk::{self, Mode};
use standin_common::id::{Generation, PointNumber, RootIndex};
use standin_common::message::RootKind;
use standin_config::Set;
use standin_replicator::os::OsVolume;
use standin_replicator::standby::aside::{Kept, Shelter};
use standin_replicator::volume::Volume;

const KEPT: &str = "kept";

/// The folder of one former source.
#[derive(Debug)]
pub(super) struct Folder {
    /// The set's state directory.
    directory: PathBuf,
    set: String,
    roots: Vec<PathBuf>,
    name: String,
}

/// The lists that there are.
pub(super) fn lists(directory: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(directory.join(KEPT)) else { return Vec::new() };
    let paths = found.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "txt"));
    let mut lists: Vec<_> = paths.map(|path| path.display().to_string()).collect();
    lists.sort();
    lists
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Folder {
    pub(super) fn new(directory: &Path, set: &Set, was: Generation) -> Self {
        let roots = set.roots.iter().map(|root| root.target.clone()).collect();
        Self { directory: directory.to_owned(), set: set.name.to_string(), roots, name: format!("generation-{was}") }
    }

    fn outside(&self) -> PathBuf {
        self.directory.join(KEPT).join(&self.name)
    }

    fn inside(&self, root: &Path) -> PathBuf {
        root.join(".standin").join(KEPT).join(&self.name)
    }

    fn list(&self) -> PathBuf {
        self.directory.join(KEPT).join(format!("{}.txt", self.name))
    }

    /// What a volume of the folder needs for itself.
    fn scratch(&self) -> PathBuf {
        self.directory.join(KEPT).join("scratch")
    }

    /// Where the objects of a root are kept: in the root, or outside it.
    fn place(&self, root: RootIndex, inside: bool) -> PathBuf {
        let own = self.roots.get(usize::from(root.0)).filter(|_| inside);
        own.map_or_else(|| self.outside(), |own| self.inside(own)).join(format!("root-{}", root.0))
    }

    fn text(&self, kept: &[Kept]) -> String {
        let mut text = format!(
            "# What this node had as the source of {} and the new source lacked: {} of it.\n\
             # Copies are in {}, or in {} at the top of a root.\n\
             # what\troot\tpath\tbytes\tmodified (seconds since 1970)\tcopied\n",
            self.set,
            kept.len(),
            self.outside().display(),
            self.inside(Path::new("")).display(),
        );
        for Kept { root, path, fate, object, copied } in kept {
            let copied = if *copied { "copied" } else { "not copied" };
            let path = if path.is_root() { "(the root itself)".to_owned() } else { path.to_string() };
            // Writing to a text never fails.
            let _ = writeln!(text, "{fate}\t{}\t{path}\t{}\t{}\t{copied}", root.0, object.size, object.attrs.mtime.secs);
        }
        text
    }
}

impl Shelter<OsVolume> for Folder {
    fn begin(&self, _point: PointNumber) -> io::Result<()> {
        disk::remove(&self.list()).map_err(io::Error::from)?;
        let inside = self.roots.iter().map(|root| self.inside(root)).filter(|path| path.is_dir());
        inside.chain([self.outside()]).try_for_each(|path| remove_all(&path))
    }

    fn volume(&self, root: RootIndex, of: &OsVolume) -> io::Result<OsVolume> {
        let place = self.place(root, of.has_side_inside());
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        let kind = if of.kind() == RootKind::Directory { RootKind::Directory } else { RootKind::File };
        OsVolume::open_target(&place, &self.scratch().join(root.0.to_string()), kind)
    }

    fn end(&self, kept: &[Kept]) -> io::Result<()> {
        remove_all(&self.scratch())?;
        if kept.is_empty() {
            return Ok(());
        }
        disk::create_private_dir(&self.directory.join(KEPT)).map_err(io::Error::from)?;
        disk::replace(&self.list(), self.text(kept).as_bytes(), Mode::Private).map_err(io::Error::from)?;
        tracing::warn!(set = %self.set, objects = kept.len(), list = %self.list().display(), "kept aside what only this node had");
        Ok(())
    }
}
