//! A directory in LDIF files (RFC 2849): an export in, the same searches answered from memory, change files out.
//!
//! Modifies and renames work as a domain controller does them (all or nothing, old values must be there, links follow a
//! rename), on the objects in memory. So a plan can be tried on an export before it is carried out.

mod domains;
mod forest;
mod objects;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use domains::by_domain;
pub use reader::{Reader, Record};
pub use writer::{Write, write_changes, write_record};

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Directory, DirectoryError, Dn, Entry, Modify, NamingContexts, Rename, Scope, Search};
use objects::Objects;

/// An exported directory in memory.
pub struct LdifDirectory {
    objects: RwLock<Objects>,
    contexts: NamingContexts,
}

impl LdifDirectory {
    /// Reads exports, one after the other: of each naming context one, or of all in one. Later files add objects, none may be there twice.
    ///
    /// # Errors
    /// [`DirectoryError::Protocol`] with file and line for what is no export; [`DirectoryError::Unreachable`] for a file that can not be read.
    pub fn open(files: &[&Path]) -> Result<Self, DirectoryError> {
        let mut objects = Objects::default();
        for file in files {
            let name = file.display().to_string();
            let open =
                File::open(file).map_err(|error| DirectoryError::Unreachable { server: name.clone(), why: error.to_string() })?;
            load(&mut objects, &name, BufReader::with_capacity(1 << 16, open))?;
        }
        Self::of(objects)
    }

    /// Reads one export from text.
    ///
    /// # Errors
    /// As [`LdifDirectory::open`].
    pub fn from_text(text: &str) -> Result<Self, DirectoryError> {
        let mut objects = Objects::default();
        load(&mut objects, "export", text.as_bytes())?;
        Self::of(objects)
    }

    fn of(objects: Objects) -> Result<Self, DirectoryError> {
        let contexts = forest::contexts(&objects)?;
        Ok(Self { objects: RwLock::new(objects), contexts })
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Attributes of which the export holds only a part of the values (`;range=0-1499`), with an object that has it.
    pub fn incomplete(&self) -> Vec<(String, Dn)> {
        self.read().incomplete.clone()
    }

    /// Writes all objects as an export, in the order of their names.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn export(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let objects = self.read();
        let mut entries: Vec<usize> = (0..objects.len()).collect();
        entries.sort_by(|a, b| objects.dn(*a).cmp(objects.dn(*b)));
        for at in entries {
            write_record(out, &objects.entry(at, &[]))?;
        }
        Ok(())
    }

    // A thread that panicked left whole objects behind: every write replaces one.
    fn read(&self) -> RwLockReadGuard<'_, Objects> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(objects: &mut Objects, file: &str, input: impl BufRead) -> Result<(), DirectoryError> {
    let mut reader = Reader::new(file, input)?;
    while let Some(record) = reader.next_record()? {
        let line = record.line;
        objects.add(record).map_err(|why| DirectoryError::Protocol { server: format!("{file}, line {line}"), why })?;
    }
    Ok(())
}

impl Directory for LdifDirectory {
    fn contexts(&self) -> Result<NamingContexts, DirectoryError> {
        Ok(self.contexts.clone())
    }

    fn search(&self, search: &Search, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), DirectoryError> {
        let objects = self.read();
        let base = objects.find(&search.base);
        // An export of users only does not have to hold the containers above them.
        let is_known = base.is_some() || (search.scope != Scope::Base && objects.any_within(&search.base));
        if !is_known {
            return Err(DirectoryError::NoSuchObject { object: search.base.clone() });
        }
        let context = self.contexts.of(&search.base);
        let depth = search.base.depth();
        // Zones of the name service are contexts of their own, beneath those of the forest.
        let domain_parts = forest::domain_parts(&search.base);
        let places = match search.scope {
            Scope::Base => base.unwrap_or_default()..base.map_or(0, |at| at + 1),
            _ => 0..objects.len(),
        };
        for at in places {
            let dn = objects.dn(at);
            let is_meant = match search.scope {
                Scope::Base => true,
                Scope::Children => dn.is_within(&search.base) && dn.depth() == depth + 1,
                Scope::Subtree => {
                    dn.is_within(&search.base) && self.contexts.of(dn) == context && forest::domain_parts(dn) == domain_parts
                }
            };
            if is_meant && search.filter.matches(&objects.object(at)) && each(objects.entry(at, &search.attributes)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn modify(&self, modify: &Modify) -> Result<(), DirectoryError> {
        self.write().modify(modify)
    }

    fn rename(&self, rename: &Rename) -> Result<(), DirectoryError> {
        self.write().rename(rename)
    }
}
