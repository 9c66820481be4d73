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
mod pool;
mod ranges;
mod settings;
mod tls;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

pub use settings::{CertificateFingerprint, Endpoint, LdapSettings, Limits, Security, Servers, SettingsError, Trust};
pub use tls::TrustError;

use super::{Directory, DirectoryError, Dn, Entry, Filter, Modify, NamingContexts, Rename, Scope, Search};
use crate::credentials::Credentials;
use forest::{Known, Server};
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
    /// How the first controller was reached; others are reached the same way.
    first: Endpoint,
    contexts: NamingContexts,
    known: Vec<Known>,
    /// Those that were named to begin with, the first one before all.
    preferred: Vec<Endpoint>,
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
        let mut directory = Self { pool, first, contexts, known, preferred, writers: Mutex::default() };
        directory.learn_own_name(&own);
        directory.find_domains();
        Ok(directory)
    }

    /// The first controller stays what it was reached as, whatever it calls itself: its certificate may have only that name, and DNS
    /// here may not know the other.
    fn learn_own_name(&mut self, own: &str) {
        for known in self.known.iter_mut().filter(|known| known.host.eq_ignore_ascii_case(own)) {
            known.host.clone_from(&self.first.host);
        }
    }

    /// How a controller is reached: as it was named, or like the first.
    fn endpoint(&self, host: &str) -> Endpoint {
        let named = self.preferred.iter().find(|endpoint| endpoint.host.eq_ignore_ascii_case(host));
        named.cloned().unwrap_or_else(|| self.first.of_host(host))
    }

    /// Which controller each domain is read and written through: one that answers.
    fn find_domains(&mut self) {
        let found: Vec<Option<String>> = self.contexts.domains.iter().map(|domain| self.writer(&domain.context).ok()).collect();
        for (domain, controller) in self.contexts.domains.iter_mut().zip(found) {
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
        self.pool.lease(&self.endpoint(controller))?;
        lock(&self.writers).insert(context.key().to_owned(), controller.to_owned());
        Ok(())
    }

    /// All controllers that hold a context and may change it, best first.
    pub fn holders(&self, context: &Dn) -> Vec<String> {
        let holds = |known: &&Known| known.contexts.contains(context);
        self.best_first(self.known.iter().filter(holds).map(|known| known.host.clone()).collect())
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
        let lease = self.pool.lease(&self.endpoint(controller))?;
        pages(&self.pool, &lease, search, each).map_err(|(error, _)| error)
    }

    /// Who can answer a search, best first: with the root as base the global catalogs, which know every domain.
    fn answerers(&self, search: &Search) -> Result<Vec<Endpoint>, DirectoryError> {
        if search.base == Dn::root() && search.scope != Scope::Base {
            let catalogs = self.known.iter().filter(|known| known.catalog).map(|known| known.host.clone());
            return Ok(self.best_first(catalogs.collect()).iter().map(|host| self.endpoint(host).catalog()).collect());
        }
        let context = self.contexts.of(&search.base).unwrap_or(&self.contexts.default);
        let writer = self.writer(context)?;
        let others = self.holders(context).into_iter().filter(|host| *host != writer);
        Ok([writer.clone()].into_iter().chain(others).map(|host| self.endpoint(&host)).collect())
    }

    fn best_first(&self, mut hosts: Vec<String>) -> Vec<String> {
        let rank = |host: &String| self.preferred.iter().position(|named| named.host.eq_ignore_ascii_case(host));
        hosts.sort_by_key(|host| rank(host).unwrap_or(usize::MAX));
        hosts
    }

    fn lease_writer(&self, object: &Dn) -> Result<Lease, DirectoryError> {
        let outside = || DirectoryError::NoSuchObject { object: object.clone() };
        let context = self.contexts.of(object).ok_or_else(outside)?;
        self.pool.lease(&self.endpoint(&self.writer(context)?))
    }
}

impl Directory for LdapDirectory {
    fn contexts(&self) -> Result<NamingContexts, DirectoryError> {
        Ok(self.contexts.clone())
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
