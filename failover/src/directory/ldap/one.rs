//! One controller and no other, for what holds at one only: a compare-and-swap that two parties race for.

use super::super::{AttributeName, DirectoryError, Dn, Entry, Filter, Modify, Scope, Search};
use super::pool::Pool;
use super::settings::{Endpoint, LdapSettings, Servers};
use super::{ConnectError, collect, tls};
use crate::credentials::Credentials;

/// A controller. Connections to it are opened when they are needed; nobody else is ever asked.
pub struct OneController {
    pool: Pool,
    endpoint: Endpoint,
}

impl OneController {
    /// The first server of the settings. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConnectError`]: certificates that cannot be read, or no server named.
    pub fn new(settings: LdapSettings, credentials: Credentials) -> Result<Self, ConnectError> {
        let none = || DirectoryError::Unreachable { server: "(none)".into(), why: "no server was named".into() };
        let endpoint = match settings.servers {
            Servers::List(servers) => servers.into_iter().next().ok_or_else(none)?,
            Servers::Domain(_) => return Err(none().into()),
        };
        let tls = tls::client(&settings.trust)?;
        Ok(Self { pool: Pool::new(tls, credentials, settings.name_servers, settings.limits)?, endpoint })
    }

    /// One object with the attributes named, or `None` where it does not exist or may not be seen.
    ///
    /// # Errors
    /// Any [`DirectoryError`] but [`DirectoryError::NoSuchObject`].
    pub fn read(&self, object: &Dn, attributes: &[&str]) -> Result<Option<Entry>, DirectoryError> {
        let attributes = attributes.iter().copied().map(AttributeName::from).collect();
        let filter = Filter::Present("objectClass".into());
        let search = Search { base: object.clone(), scope: Scope::Base, filter, attributes };
        match self.pool.lease(&self.endpoint).and_then(|lease| collect(&self.pool, &lease, &search)) {
            Ok(found) => Ok(found.into_iter().next()),
            Err(DirectoryError::NoSuchObject { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes one object, all or nothing; as [`super::super::Directory::modify`].
    ///
    /// # Errors
    /// Any [`DirectoryError`].
    pub fn modify(&self, modify: &Modify) -> Result<(), DirectoryError> {
        self.pool.modify(&self.pool.lease(&self.endpoint)?, modify)
    }

    /// Makes an object.
    ///
    /// # Errors
    /// Any [`DirectoryError`]: [`DirectoryError::Refused`] where it is there already, [`DirectoryError::NoSuchObject`] where what it lies in
    /// is not.
    pub fn add(&self, entry: &Entry) -> Result<(), DirectoryError> {
        self.pool.add(&self.pool.lease(&self.endpoint)?, entry)
    }
}
