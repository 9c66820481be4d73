//! What an execution needs of a directory beyond searching and writing: to know who writes, and to ask each controller.

use std::ops::ControlFlow;

use crate::directory::ldap::LdapDirectory;
use crate::directory::{Directory, DirectoryError, Dn, Entry, Search};

/// A directory of several controllers, of which one writes each naming context.
pub trait Controllers: Directory {
    /// The controller that writes a context.
    ///
    /// # Errors
    /// [`DirectoryError::Unreachable`] where none can.
    fn writer(&self, context: &Dn) -> Result<String, DirectoryError>;

    /// Makes a controller the one that writes a context, if it answers.
    ///
    /// # Errors
    /// As its answer, or the lack of it; the writer stays the one it was.
    fn use_writer(&self, context: &Dn, controller: &str) -> Result<(), DirectoryError>;

    /// All controllers that hold a context and may change it.
    fn holders(&self, context: &Dn) -> Vec<String>;

    /// Searches at one controller.
    ///
    /// # Errors
    /// As [`Directory::search`].
    fn search_at(
        &self,
        controller: &str,
        search: &Search,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), DirectoryError>;
}

impl Controllers for LdapDirectory {
    fn writer(&self, context: &Dn) -> Result<String, DirectoryError> {
        Self::writer(self, context)
    }

    fn use_writer(&self, context: &Dn, controller: &str) -> Result<(), DirectoryError> {
        Self::use_writer(self, context, controller)
    }

    fn holders(&self, context: &Dn) -> Vec<String> {
        Self::holders(self, context)
    }

    fn search_at(
        &self,
        controller: &str,
        search: &Search,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), DirectoryError> {
        Self::search_at(self, controller, search, each)
    }
}
