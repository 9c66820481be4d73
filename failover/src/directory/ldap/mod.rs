//! A directory reached by LDAP: every controller of the forest behind one [`Directory`], over TLS only.
//!
//! Each naming context has one *writer*, a controller that takes all writes of it and answers searches in it, from the first use to the
//! end: a compare-and-swap holds at one controller only. While the writer is away, searches go to another controller that holds the
//! context; writes fail with [`DirectoryError::Unreachable`] until it is back or [`LdapDirectory::use_writer`] names another.
//!
//! Calls block, and must not be made from within an asynchronous runtime.

mod answer;
mod connection;
mod forest;
mod locate;
mod map;
mod one;
mod pool;
mod ranges;
mod settings;
mod tls;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

pub use one::OneController;
pub use settings::{CertificateFingerprint, Endpoint, LdapSettings, Limits, Security, Servers, SettingsError, Trust};
pub use tls::TrustError;

use super::{Directory, DirectoryError, Dn, Entry, Filter, Modify, NamingContexts, Rename, Scope, Search};
use crate::credentials::Credentials;
use forest::Server;
use map::Map;
use pool::{Lease, Pool, lock};
use ranges::Range;

/// Why there is no directory.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No certificate could be believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No controller could be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The system gives no thread.
    #[error("the thread for connections cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Active Directory by LDAP.
pub struct LdapDirectory {
    pool: Pool,
    map: Map,
    /// The writer of a context, by the context's key.
    writers: Mutex<HashMap<String, String>>,
}

impl LdapDirectory {
    /// Finds the first controller that answers, logs on, and learns the forest from it. Credentials that one refuses are not shown to
    /// the next.
    ///
    /// # Errors
    /// [`ConnectError`]; where no controller answers, with the reason of each.
    pub fn connect(settings: LdapSettings, credentials: Credentials) -> Result<Self, ConnectError> {
        let tls = tls::client(&settings.trust)?;
        let pool = Pool::new(tls, credentials, settings.name_servers, settings.limits)?;
        let endpoints = match settings.servers {
            Servers::List(endpoints) => endpoints,
            Servers::Domain(domain) => {
                let hosts = pool.controllers_of(&domain, u64::from(std::process::id()))?;
                hosts.iter().map(|host| Endpoint::ldaps(host)).collect()
            }
        };
        let (first, server) = first_that_answers(&pool, &endpoints)?;
        let lease = pool.lease(&first)?;
        let contexts = server.contexts(&collect(&pool, &lease, &server.cross_references())?);
        let known = forest::known(&collect(&pool, &lease, &server.controllers())?);
        let own = server.host.clone().unwrap_or_else(|| first.host.clone());
        let others = endpoints.into_iter().filter(|endpoint| *endpoint != first);
        let preferred = [first.clone()].into_iter().chain(others).collect();
        let mut map = Map { first, preferred, contexts, known };
        map.learn_own_name(&own);
        let mut directory = Self { pool, map, writers: Mutex::default() };
        directory.find_domains();
        Ok(directory)
    }

    /// Which controller each domain is read and written through: one that answers.
    fn find_domains(&mut self) {
        let found: Vec<Option<String>> =
            self.map.contexts.domains.iter().map(|domain| self.writer(&domain.context).ok()).collect();
        for (domain, controller) in self.map.contexts.domains.iter_mut().zip(found) {
            domain.controller = controller;
        }
    }

    /// The writer of a naming context, chosen now if it was not yet: the first controller, then the others that were named, then any.
    ///
    /// # Errors
    /// [`DirectoryError::Unreachable`] if no controller that holds it answers.
    pub fn writer(&self, context: &Dn) -> Result<String, DirectoryError> {
        if let Some(host) = lock(&self.writers).get(context.key()) {
            return Ok(host.clone());
        }
        let mut last = None;
        for host in self.holders(context) {
            match self.use_writer(context, &host) {
                Ok(()) => return Ok(host),
                Err(error) => last = Some(error),
            }
        }
        let none = || DirectoryError::Unreachable {
            server: context.to_string(),
            why: "the forest has no controller that may write it".into(),
        };
        Err(last.unwrap_or_else(none))
    }

    /// Makes a controller the writer of a context, if it answers.
    ///
    /// # Errors
    /// [`DirectoryError::Unreachable`] and others, from the attempt to log on there; the writer is then the one it was.
    pub fn use_writer(&self, context: &Dn, controller: &str) -> Result<(), DirectoryError> {
        self.pool.lease(&self.map.endpoint(controller))?;
        lock(&self.writers).insert(context.key().to_owned(), controller.to_owned());
        Ok(())
    }

    /// All controllers that hold a context and may change it, best first.
    pub fn holders(&self, context: &Dn) -> Vec<String> {
        self.map.holders(context)
    }

    /// Searches at one controller, whatever the writer is. Otherwise as [`Directory::search`].
    ///
    /// # Errors
    /// As [`Directory::search`].
    pub fn search_at(
        &self,
        controller: &str,
        search: &Search,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), DirectoryError> {
        let lease = self.pool.lease(&self.map.endpoint(controller))?;
        pages(&self.pool, &lease, search, each).map_err(|(error, _)| error)
    }

    /// Who can answer a search, best first: with the root as base the global catalogs, which know every domain.
    fn answerers(&self, search: &Search) -> Result<Vec<Endpoint>, DirectoryError> {
        if search.base == Dn::root() && search.scope != Scope::Base {
            return Ok(self.map.catalogs());
        }
        let context = self.map.contexts.of(&search.base).unwrap_or(&self.map.contexts.default);
        let writer = self.writer(context)?;
        let others = self.holders(context).into_iter().filter(|host| *host != writer);
        Ok([writer.clone()].into_iter().chain(others).map(|host| self.map.endpoint(&host)).collect())
    }

    fn lease_writer(&self, object: &Dn) -> Result<Lease, DirectoryError> {
        let outside = || DirectoryError::NoSuchObject { object: object.clone() };
        let context = self.map.contexts.of(object).ok_or_else(outside)?;
        self.pool.lease(&self.map.endpoint(&self.writer(context)?))
    }
}

impl Directory for LdapDirectory {
    fn contexts(&self) -> Result<NamingContexts, DirectoryError> {
        Ok(self.map.contexts.clone())
    }

    fn search(&self, search: &Search, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), DirectoryError> {
        let none =
            || DirectoryError::Unreachable { server: search.base.to_string(), why: "the forest has no global catalog".into() };
        let mut last = none();
        for endpoint in self.answerers(search)? {
            let tried = self.pool.lease(&endpoint).map_err(|error| (error, false));
            match tried.and_then(|lease| pages(&self.pool, &lease, search, each)) {
                // Nothing was given to `each` yet, so another controller may begin anew.
                Err((error, false)) if error.is_worth_a_retry() => last = error,
                Err((error, _)) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
        Err(last)
    }

    fn modify(&self, modify: &Modify) -> Result<(), DirectoryError> {
        self.pool.modify(&self.lease_writer(&modify.dn)?, modify)
    }

    fn rename(&self, rename: &Rename) -> Result<(), DirectoryError> {
        self.pool.rename(&self.lease_writer(&rename.dn)?, rename)
    }
}

fn first_that_answers(pool: &Pool, endpoints: &[Endpoint]) -> Result<(Endpoint, Server), DirectoryError> {
    let mut reasons: Vec<DirectoryError> = Vec::new();
    for endpoint in endpoints {
        let asked = pool.lease(endpoint).and_then(|lease| {
            let found = collect(pool, &lease, &forest::root_dse())?;
            let empty = || DirectoryError::Protocol { server: lease.server(), why: "it does not tell who it is".to_owned() };
            Server::of(found.first().ok_or_else(empty)?, &lease.server())
        });
        match asked {
            Ok(server) => return Ok((endpoint.clone(), server)),
            // The next controller would refuse them, too, and count it.
            Err(refused @ DirectoryError::Credentials { .. }) => return Err(refused),
            Err(error) => {
                tracing::warn!(server = %endpoint, %error, "a controller cannot be used");
                reasons.push(error);
            }
        }
    }
    let all = || {
        let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        DirectoryError::Unreachable { server: format!("{} servers", reasons.len()), why: why.join("; ") }
    };
    match reasons.as_slice() {
        [] => Err(DirectoryError::Unreachable { server: "(none)".into(), why: "no server was named".into() }),
        [only] => Err(only.clone()),
        _ => Err(all()),
    }
}

fn collect(pool: &Pool, lease: &Lease, search: &Search) -> Result<Vec<Entry>, DirectoryError> {
    let mut found = Vec::new();
    let mut keep = |entry| {
        found.push(entry);
        ControlFlow::Continue(())
    };
    pages(pool, lease, search, &mut keep).map_err(|(error, _)| error)?;
    Ok(found)
}

/// All pages of a search. An error comes with whether `each` was given anything.
fn pages(
    pool: &Pool,
    lease: &Lease,
    search: &Search,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), (DirectoryError, bool)> {
    let mut cookie = Vec::new();
    let mut given = false;
    loop {
        let page = pool.page(lease, search, cookie).map_err(|error| (error, given))?;
        for entry in page.entries {
            let entry = whole(pool, lease, entry).map_err(|error| (error, given))?;
            given = true;
            if each(entry).is_break() {
                return Ok(());
            }
        }
        match page.next {
            Some(next) => cookie = next,
            None => return Ok(()),
        }
    }
}

/// Fetches what the server did not give at once of attributes with many values.
fn whole(pool: &Pool, lease: &Lease, mut entry: Entry) -> Result<Entry, DirectoryError> {
    let mut open = ranges::collect(&mut entry);
    while let Some((attribute, from)) = open.pop() {
        let search = Search {
            base: entry.dn.clone(),
            scope: Scope::Base,
            filter: Filter::Present("objectClass".into()),
            attributes: vec![Range::request(&attribute, from)],
        };
        let part = pool.page(lease, &search, Vec::new())?.entries.pop();
        let Some(mut part) = part else { continue };
        let more = ranges::collect(&mut part);
        if part.values(attribute.as_str()).is_empty() {
            continue;
        }
        entry.attributes.entry(attribute.clone()).or_default().extend(part.values(attribute.as_str()).iter().cloned());
        open.extend(more);
    }
    Ok(entry)
}
