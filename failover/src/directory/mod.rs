//! What Standin needs of a directory (Active Directory): searching, compare-and-swap modifies, renames. LDAP and LDIF files are behind it.

pub mod dn;
mod entry;
mod error;
pub mod filter;
pub mod ldap;
pub mod ldif;
mod name;

pub use dn::{Dn, DnError, Rdn};
pub use entry::{Entry, Value};
pub use error::DirectoryError;
pub use filter::{Filter, FilterError};
pub use name::AttributeName;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

/// How far below its base a search looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The base object alone.
    Base,
    /// The direct children of the base, without it.
    Children,
    /// The base and all beneath it. Other naming contexts beneath the base are not entered: referrals are not followed.
    Subtree,
}

/// What is looked for, where, and which attributes of it are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Where the search begins.
    pub base: Dn,
    /// How far it goes.
    pub scope: Scope,
    /// Which objects are meant.
    pub filter: Filter,
    /// The attributes wanted of each; empty for all that are readable (operational and constructed ones only when named).
    pub attributes: Vec<AttributeName>,
}

/// One compare-and-swap write: everything in it happens in one operation of the directory, or nothing does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modify {
    /// The object that is changed.
    pub dn: Dn,
    /// At most one for each attribute.
    pub changes: Vec<Change>,
}

/// The change of one attribute: exactly `delete` goes and `add` comes; other values stay.
///
/// A deletion of a value that is not there any more fails the whole [`Modify`] with [`DirectoryError::Changed`], and so does an addition
/// to an attribute of one value that has got one meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The attribute.
    pub attribute: AttributeName,
    /// The old values, as they were read.
    pub delete: Vec<Value>,
    /// The new values.
    pub add: Vec<Value>,
}

impl Modify {
    /// The modify that takes this one back: what it added is deleted, what it deleted is added.
    pub fn inverse(&self) -> Self {
        let back = |change: &Change| Change {
            attribute: change.attribute.clone(),
            delete: change.add.clone(),
            add: change.delete.clone(),
        };
        Self { dn: self.dn.clone(), changes: self.changes.iter().map(back).collect() }
    }
}

/// A new name for an object in the place where it is. The old name goes (deleteoldrdn).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// The object under its old name.
    pub dn: Dn,
    /// Its new first component.
    pub name: Rdn,
}

impl Rename {
    /// The object's distinguished name after the rename.
    pub fn renamed(&self) -> Dn {
        self.dn.with_name(&self.name)
    }

    /// The rename that takes this one back.
    pub fn inverse(&self) -> Self {
        Self { dn: self.renamed(), name: self.dn.name().unwrap_or_else(|| self.name.clone()) }
    }
}

/// The naming contexts of a forest, from the root DSE and `CN=Partitions` (crossRef objects with systemFlags & 3, MS-ADTS 6.1.1.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamingContexts {
    /// The domain of the server that was asked (`defaultNamingContext`).
    pub default: Dn,
    /// `configurationNamingContext`; it hangs off the forest's root domain.
    pub configuration: Dn,
    /// `schemaNamingContext`.
    pub schema: Dn,
    /// Every domain of the forest, the default one among them.
    pub domains: Vec<Domain>,
}

/// A domain of the forest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The root of its naming context, `DC=sales,DC=example,DC=com`.
    pub context: Dn,
    /// Its DNS name (`dnsRoot`), `sales.example.com`.
    pub dns_name: String,
    /// Its NetBIOS name (`nETBIOSName`), where known.
    pub netbios_name: Option<String>,
    /// The controller through which it is read and written, host name, where there is one that answers. `None` in an export.
    pub controller: Option<String>,
}

impl NamingContexts {
    /// The naming context that holds `dn`: the deepest one that it lies in.
    pub fn of(&self, dn: &Dn) -> Option<&Dn> {
        let domains = self.domains.iter().map(|domain| &domain.context);
        let all = domains.chain([&self.default, &self.configuration, &self.schema]);
        all.filter(|context| dn.is_within(context)).max_by_key(|context| context.depth())
    }
}

/// A directory, as the consumer wants it. Every call blocks; several threads may call at once, so several modifies can be in flight.
pub trait Directory: Send + Sync {
    /// The naming contexts of the forest.
    ///
    /// # Errors
    /// Any [`DirectoryError`].
    fn contexts(&self) -> Result<NamingContexts, DirectoryError>;

    /// Gives each object that matches to `each`, as it comes, until there are no more or `each` breaks.
    ///
    /// Attributes with very many values are complete: ranged retrieval is the backend's affair. The order of objects is not defined.
    ///
    /// # Errors
    /// Any [`DirectoryError`]; [`DirectoryError::NoSuchObject`] where the base is not there. What `each` got until then may be incomplete.
    fn search(&self, search: &Search, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), DirectoryError>;

    /// Changes one object, all or nothing.
    ///
    /// # Errors
    /// [`DirectoryError::Changed`] where an old value is not there any more; any other.
    fn modify(&self, modify: &Modify) -> Result<(), DirectoryError>;

    /// Renames one object in its place.
    ///
    /// # Errors
    /// Any [`DirectoryError`].
    fn rename(&self, rename: &Rename) -> Result<(), DirectoryError>;
}

/// All that a search finds, for searches that find few.
///
/// # Errors
/// As [`Directory::search`].
pub fn find_all(directory: &dyn Directory, search: &Search) -> Result<Vec<Entry>, DirectoryError> {
    let mut found = Vec::new();
    directory.search(search, &mut |entry| {
        found.push(entry);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// One object with the attributes named, or `None` where it does not exist.
///
/// # Errors
/// As [`Directory::search`], without [`DirectoryError::NoSuchObject`].
pub fn read(directory: &dyn Directory, dn: &Dn, attributes: &[AttributeName]) -> Result<Option<Entry>, DirectoryError> {
    let filter = Filter::Present(AttributeName::new("objectClass"));
    let search = Search { base: dn.clone(), scope: Scope::Base, filter, attributes: attributes.to_vec() };
    match find_all(directory, &search) {
        Ok(found) => Ok(found.into_iter().next()),
        Err(DirectoryError::NoSuchObject { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
