//! Exchange as the directory describes it: organization, servers, storage groups, stores, and what refers to them.
//!
//! Objects are found by class and attribute anywhere in the configuration, never by an assumed container.

mod computer;
mod legacy;
mod server;
mod snapshot;
#[cfg(test)]
mod tests;
mod tree;
mod version;

pub use computer::{Computer, find_computer};
pub use legacy::LegacyDn;
pub use server::{MailStore, Server, StorageGroup, StoreKind};
pub use snapshot::Snapshot;
pub(crate) use tree::duties;
pub use tree::{GroupBranch, StoreBranch, Tree, tree};
pub use version::{Generation, Version};

use crate::directory::{DirectoryError, Dn};

/// Why Exchange could not be read from a directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The forest has no Exchange organization.
    #[error(
        "there is no Exchange organization in {0}: is it the right forest, may the account read it, and is the configuration in the export?"
    )]
    NoOrganization(Dn),
    /// No server has this name.
    #[error("there is no Exchange server {name}; there are {}", list(.there_are))]
    NoServer {
        /// The name asked for.
        name: String,
        /// The names of all servers.
        there_are: Vec<String>,
    },
    /// A server lacks what it must have.
    #[error("server {server}: {why}")]
    Server {
        /// Its name.
        server: String,
        /// What is missing, and what to do.
        why: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
