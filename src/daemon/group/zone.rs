//! Active Directory for names whose zone is kept in it: reached when it is needed, with the account of `[directory]` as it is by then.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use standin_failover::directory::ldap::{ConnectError, LdapDirectory};
use standin_failover::directory::{Directory, DirectoryError, Entry, Modify, NamingContexts, Rename, Search};

use crate::daemon::peer::Context;
use crate::directory::Access;

/// See the module. A connection is kept as long as it holds.
pub(super) struct Zone {
    context: Arc<Context>,
    last: Mutex<Option<Arc<LdapDirectory>>>,
}

impl Zone {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, last: Mutex::default() }
    }

    fn open(&self) -> Result<Arc<LdapDirectory>, DirectoryError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = last.as_ref() {
            return Ok(directory.clone());
        }
        let access = Access::default().or(Some(&self.context.settings()));
        let unable = |why: String| DirectoryError::Credentials { server: access.servers.join(" or "), why };
        let (settings, credentials) = access.unattended_way().map_err(|stop| unable(stop.why))?;
        let opened = LdapDirectory::connect(settings, credentials).map_err(|error| match error {
            ConnectError::Directory(error) => error,
            other => unable(other.to_string()),
        })?;
        Ok(last.insert(Arc::new(opened)).clone())
    }

    fn ask<T>(&self, what: impl FnOnce(&LdapDirectory) -> Result<T, DirectoryError>) -> Result<T, DirectoryError> {
        let done = what(&*self.open()?);
        // Another controller may do it the next time, or another account.
        if let Err(error) = &done
            && !matches!(error, DirectoryError::NoSuchObject { .. } | DirectoryError::Changed { .. })
        {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        done
    }
}

impl Directory for Zone {
    fn contexts(&self) -> Result<NamingContexts, DirectoryError> {
        self.ask(|directory| directory.contexts())
    }

    fn search(&self, search: &Search, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), DirectoryError> {
        self.ask(|directory| directory.search(search, each))
    }

    fn modify(&self, modify: &Modify) -> Result<(), DirectoryError> {
        self.ask(|directory| directory.modify(modify))
    }

    fn rename(&self, rename: &Rename) -> Result<(), DirectoryError> {
        self.ask(|directory| directory.rename(rename))
    }
}
