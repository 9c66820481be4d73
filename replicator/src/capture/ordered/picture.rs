//! A picture of a few places: what they held at one moment, although they go on changing.
//!
//! It is taken while the layers of all roots are held: names and attributes are copied, and each file is opened. The data stays where it is.
//! From then on, before a range of such a file changes, what it held is put aside ([`Keeps::keep`]); whoever reads the picture finds it
//! there. So applications are kept waiting while a few objects are looked at, not while they are read and sent.
//!
//! What is put aside has to fit into memory. Where there is no room, whoever wants to change something waits, at most for the patience of the
//! picture, and then the picture is spoilt: it can be read on, but is not of one moment any more.

mod file;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use standin_common::entry::Attrs;
use standin_common::id::RootIndex;
use standin_common::message::{Position, RootKind};
use standin_common::path::RelPath;

use self::file::Kept;
pub use self::file::{PictureFile, Room};
use crate::rules::Rules;
use crate::scopes::Scopes;
use crate::volume::{Abilities, Directory, Names, Object, ObjectKind, Place, SideId, Volume};
use crate::walk::Walk;

/// What has to be told before data changes.
pub trait Keeps: Send + Sync {
    /// Puts aside what `start..end` of an object holds; it does not change before this returns.
    fn keep(&self, root: RootIndex, inode: u64, start: u64, end: u64);
    /// Nobody reads any more: nobody has to wait.
    fn over(&self);
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum NoPicture {
    /// There are too many objects in these places.
    #[error("there are more objects than may be looked at while everybody waits")]
    TooMany,
    /// Something could not be read.
    #[error("{0:?} cannot be read: {1}")]
    Unreadable(Position, io::Error),
}

/// The objects of one root.
struct Objects {
    all: BTreeMap<RelPath, Object>,
    names: HashMap<RelPath, Names>,
}

/// One root of a picture. It can only be read.
pub struct Picture<V: Volume> {
    kind: RootKind,
    abilities: Abilities,
    objects: Arc<Objects>,
    files: HashMap<u64, Arc<Kept<V::File>>>,
    room: Arc<Room>,
}

/// A picture of all roots of a set.
pub struct Album<V: Volume> {
    /// Each root.
    pub pictures: Vec<Picture<V>>,
    room: Arc<Room>,
}

impl<V: Volume> Album<V> {
    /// Takes a picture of these places, while nothing changes. Not more than `most` objects are looked at; `room_bytes` is for what is put
    /// aside later, and whoever finds none waits for `patience`.
    pub fn take(
        volumes: &[V],
        rules: &[Rules],
        scopes: &BTreeMap<RootIndex, Scopes>,
        (most, room_bytes, patience): (usize, u64, Duration),
    ) -> Result<Self, NoPicture> {
        let room = Arc::new(Room::new(room_bytes, patience));
        let mut left = most;
        let pictures = volumes.iter().zip(rules).enumerate().map(|(index, (volume, rules))| {
            let root = RootIndex(index as u16);
            Picture::take(volume, rules, (root, scopes.get(&root)), &mut left, &room)
        });
        Ok(Self { pictures: pictures.collect::<Result<_, _>>()?, room })
    }

    /// Whether it is of one moment, as far as was read until now.
    pub fn is_whole(&self) -> bool {
        !self.room.is_spoilt()
    }

    /// Bytes that were put aside.
    pub fn kept_bytes(&self) -> u64 {
        self.room.taken()
    }
}

impl<V: Volume> Keeps for Album<V> {
    fn keep(&self, root: RootIndex, inode: u64, start: u64, end: u64) {
        if let Some(file) = self.pictures.get(usize::from(root.0)).and_then(|picture| picture.files.get(&inode)) {
            file.keep(start, end);
        }
    }

    fn over(&self) {
        self.room.over();
    }
}

impl<V: Volume> Picture<V> {
    fn take(
        volume: &V,
        rules: &Rules,
        (root, scopes): (RootIndex, Option<&Scopes>),
        left: &mut usize,
        room: &Arc<Room>,
    ) -> Result<Self, NoPicture> {
        let mut objects = Objects { all: BTreeMap::new(), names: HashMap::new() };
        let mut files = HashMap::new();
        // Where nothing is looked at, nothing is in the picture.
        let walk = scopes.map(|scopes| Walk::new(volume, None, rules).within(Some(scopes)));
        for step in walk.into_iter().flatten() {
            let failed = |path: &RelPath, error| NoPicture::Unreadable(Position { root, path: path.clone() }, error);
            let step = step.map_err(|error| failed(&error.path, error.source))?;
            *left = left.checked_sub(1).ok_or(NoPicture::TooMany)?;
            let inode = step.object.stamp.inode;
            if step.object.kind == ObjectKind::File && !files.contains_key(&inode) {
                let file = volume.open(&Place::Tree(&step.path), false).map_err(|error| failed(&step.path, error))?;
                files.insert(inode, Arc::new(Kept::new(file, step.object.clone(), room.clone())));
            }
            if let Some(parent) = step.path.parent() {
                let pushed = objects.names.entry(parent).or_default().push(step.path.name());
                pushed.map_err(|error| failed(&step.path, io::Error::other(error)))?;
            }
            objects.all.insert(step.path, step.object);
        }
        objects.names.values_mut().for_each(Names::sort);
        let (kind, abilities) = (volume.kind(), volume.abilities());
        Ok(Self { kind, abilities, objects: Arc::new(objects), files, room: room.clone() })
    }
}

/// A directory of a picture.
pub struct PictureDirectory {
    path: RelPath,
    objects: Arc<Objects>,
}

impl Directory for PictureDirectory {
    fn names(&self) -> io::Result<Names> {
        Ok(self.objects.names.get(&self.path).cloned().unwrap_or_default())
    }

    fn object(&self, name: &[u8]) -> io::Result<Option<Object>> {
        let path = self.path.join(name).map_err(io::Error::other)?;
        Ok(self.objects.all.get(&path).cloned())
    }
}

fn only_read() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "a picture can only be read")
}

impl<V: Volume> Volume for Picture<V> {
    type File = PictureFile<V::File>;
    type Directory = PictureDirectory;

    fn kind(&self) -> RootKind {
        self.kind
    }

    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn open_directory(&self, path: &RelPath) -> io::Result<PictureDirectory> {
        match self.objects.all.get(path) {
            Some(object) if object.kind == ObjectKind::Directory => {
                Ok(PictureDirectory { path: path.clone(), objects: self.objects.clone() })
            }
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn object(&self, place: &Place<'_>) -> io::Result<Option<Object>> {
        match place {
            Place::Tree(path) => Ok(self.objects.all.get(path).cloned()),
            Place::Side(_) => Err(only_read()),
        }
    }

    fn open(&self, place: &Place<'_>, write: bool) -> io::Result<Self::File> {
        match self.object(place)? {
            _ if write => Err(only_read()),
            Some(object) if object.kind == ObjectKind::File => {
                let file = self.files.get(&object.stamp.inode).ok_or(io::ErrorKind::NotFound)?;
                Ok(PictureFile::new(file.clone(), object))
            }
            Some(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, _: &Place<'_>) -> io::Result<Self::File> {
        Err(only_read())
    }

    fn make_directory(&self, _: &RelPath) -> io::Result<()> {
        Err(only_read())
    }

    fn make_symlink(&self, _: &Place<'_>, _: &[u8]) -> io::Result<()> {
        Err(only_read())
    }

    fn make_fifo(&self, _: &Place<'_>) -> io::Result<()> {
        Err(only_read())
    }

    fn link(&self, _: &Place<'_>, _: &Place<'_>) -> io::Result<()> {
        Err(only_read())
    }

    fn rename(&self, _: &Place<'_>, _: &Place<'_>) -> io::Result<()> {
        Err(only_read())
    }

    fn remove(&self, _: &Place<'_>) -> io::Result<()> {
        Err(only_read())
    }

    fn remove_directory(&self, _: &RelPath) -> io::Result<()> {
        Err(only_read())
    }

    fn set_attrs(&self, _: &Place<'_>, _: &Attrs) -> io::Result<()> {
        Err(only_read())
    }

    fn clone_file(&self, _: &Place<'_>, _: &Place<'_>) -> io::Result<()> {
        Err(only_read())
    }

    fn side_objects(&self) -> io::Result<Vec<SideId>> {
        Err(only_read())
    }

    fn sync(&self) -> io::Result<()> {
        Err(only_read())
    }
}

impl<V: Volume> Drop for Picture<V> {
    fn drop(&mut self) {
        self.room.over();
    }
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
