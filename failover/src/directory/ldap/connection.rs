//! One connection to a controller: TLS, then the bind, then requests, each with a limit of time.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ldap3::controls::{Control, ControlType, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Mod, ResultEntry, SearchEntry, StdStream};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::{AttributeName, DirectoryError, Dn, Entry, Modify, Rename, Scope, Search, Value};
use super::answer::{broken, not_logged_on, refused};
use super::settings::{Endpoint, Limits, Security};
use crate::credentials::Credentials;

/// A connection that is logged on.
#[derive(Clone)]
pub(super) struct Connection {
    ldap: Ldap,
    server: Arc<str>,
    patience: Duration,
}

/// A page of a search, and where the next one begins if there is one.
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    pub(super) next: Option<Vec<u8>>,
}

impl Connection {
    /// Connects to the first address that answers, and logs on.
    pub(super) async fn open(
        endpoint: &Endpoint,
        addresses: &[SocketAddr],
        tls: Arc<ClientConfig>,
        credentials: &Credentials,
        limits: &Limits,
    ) -> Result<Self, DirectoryError> {
        let server = endpoint.to_string();
        let slow =
            || DirectoryError::Unreachable { server: server.clone(), why: format!("no answer within {:?}", limits.connect) };
        let opening = async {
            let stream = dial(&server, addresses).await?;
            let ldap = secure(endpoint, stream, tls, limits).await?;
            let mut connection = Self { ldap, server: server.as_str().into(), patience: limits.answer };
            connection.log_on(endpoint, credentials).await?;
            Ok(connection)
        };
        timeout(limits.connect, opening).await.map_err(|_| slow())?
    }

    async fn log_on(&mut self, endpoint: &Endpoint, credentials: &Credentials) -> Result<(), DirectoryError> {
        let result = match credentials {
            Credentials::Password { user, password } => self.ldap.simple_bind(user, password.reveal()).await,
            Credentials::Kerberos => kerberos(&mut self.ldap, endpoint).await?,
        };
        let result = result.map_err(|error| broken(&self.server, &Dn::root(), &error, self.patience))?;
        if result.rc == 0 { Ok(()) } else { Err(not_logged_on(&self.server, &result)) }
    }

    /// Whether the server or the line has gone.
    pub(super) fn is_closed(&mut self) -> bool {
        self.ldap.is_closed()
    }

    /// One page of a search, and where the next begins.
    pub(super) async fn page(mut self, search: Search, size: u16, cookie: Vec<u8>) -> Result<Page, DirectoryError> {
        let attributes: Vec<&str> = match search.attributes.is_empty() {
            true => vec!["*"],
            false => search.attributes.iter().map(AttributeName::as_str).collect(),
        };
        let failed = |error: LdapError| broken(&self.server, &search.base, &error, self.patience);
        let paged = PagedResults { size: i32::from(size), cookie };
        self.ldap.with_controls(vec![ldap3::controls::RawControl::from(paged)]).with_timeout(self.patience);
        let filter = search.filter.to_string();
        let scope = match search.scope {
            Scope::Base => ldap3::Scope::Base,
            Scope::Children => ldap3::Scope::OneLevel,
            Scope::Subtree => ldap3::Scope::Subtree,
        };
        let opened = self.ldap.streaming_search(search.base.as_str(), scope, &filter, attributes).await;
        let mut stream = opened.map_err(failed)?;
        let mut entries = Vec::new();
        while let Some(found) = stream.next().await.map_err(failed)? {
            if !found.is_ref() && !found.is_intermediate() {
                entries.push(entry(found, &self.server)?);
            }
        }
        let result = stream.finish().await;
        if result.rc != 0 {
            return Err(refused(&self.server, &search.base, &result));
        }
        Ok(Page { entries, next: next_page(&result.ctrls) })
    }

    /// A compare-and-swap write.
    pub(super) async fn modify(mut self, modify: Modify) -> Result<(), DirectoryError> {
        let mut steps = Vec::new();
        for change in &modify.changes {
            let name = change.attribute.as_str().as_bytes().to_vec();
            // Deletions first: an attribute that takes one value has room for the new one then.
            if !change.delete.is_empty() {
                steps.push(Mod::Delete(name.clone(), bytes(&change.delete)));
            }
            if !change.add.is_empty() {
                steps.push(Mod::Add(name, bytes(&change.add)));
            }
        }
        let answer = self.ldap.with_timeout(self.patience).modify(modify.dn.as_str(), steps).await;
        self.concluded(&modify.dn, answer)
    }

    /// A new object.
    pub(super) async fn add(mut self, entry: Entry) -> Result<(), DirectoryError> {
        let attribute = |(name, values): (&AttributeName, &Vec<Value>)| (name.as_str().as_bytes().to_vec(), bytes(values));
        let attributes = entry.attributes.iter().map(attribute).collect();
        let answer = self.ldap.with_timeout(self.patience).add(entry.dn.as_str(), attributes).await;
        self.concluded(&entry.dn, answer)
    }

    /// A new name in the same place.
    pub(super) async fn rename(mut self, rename: Rename) -> Result<(), DirectoryError> {
        let ldap = self.ldap.with_timeout(self.patience);
        let answer = ldap.modifydn(rename.dn.as_str(), rename.name.as_str(), true, None).await;
        self.concluded(&rename.dn, answer)
    }

    fn concluded(&self, object: &Dn, answer: Result<ldap3::LdapResult, LdapError>) -> Result<(), DirectoryError> {
        let result = answer.map_err(|error| broken(&self.server, object, &error, self.patience))?;
        if result.rc == 0 { Ok(()) } else { Err(refused(&self.server, object, &result)) }
    }
}

async fn dial(server: &str, addresses: &[SocketAddr]) -> Result<TcpStream, DirectoryError> {
    let mut why = "its name leads to no address".to_owned();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    Err(DirectoryError::Unreachable { server: server.to_owned(), why })
}

async fn secure(endpoint: &Endpoint, stream: TcpStream, tls: Arc<ClientConfig>, limits: &Limits) -> Result<Ldap, DirectoryError> {
    let server = endpoint.to_string();
    let failed = |error: LdapError| broken(&server, &Dn::root(), &error, limits.connect);
    stream.set_nodelay(true).map_err(|source| failed(source.into()))?;
    let stream = stream.into_std().map_err(|source| failed(source.into()))?;
    let settings = LdapConnSettings::new()
        .set_config(tls)
        .set_starttls(endpoint.security == Security::StartTls)
        .set_std_stream(StdStream::Tcp(stream));
    let scheme = if endpoint.security == Security::Ldaps { "ldaps" } else { "ldap" };
    let (connection, ldap) = LdapConnAsync::with_settings(settings, &format!("{scheme}://{endpoint}")).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.drive().await {
            tracing::debug!(%server, %error, "the connection to the directory ended");
        }
    });
    Ok(ldap)
}

#[cfg(feature = "gssapi")]
async fn kerberos(ldap: &mut Ldap, endpoint: &Endpoint) -> Result<Result<ldap3::LdapResult, LdapError>, DirectoryError> {
    match ldap.sasl_gssapi_bind(&endpoint.host).await {
        Err(LdapError::GssapiOperationError(why)) => Err(DirectoryError::Credentials {
            server: endpoint.to_string(),
            why: format!("{why}; look at `klist`, get a ticket with `kinit`"),
        }),
        answer => Ok(answer),
    }
}

#[cfg(not(feature = "gssapi"))]
async fn kerberos(_: &mut Ldap, endpoint: &Endpoint) -> Result<Result<ldap3::LdapResult, LdapError>, DirectoryError> {
    let why =
        "this program was built without Kerberos; give a user and a password, or build it with --features gssapi".to_owned();
    Err(DirectoryError::Credentials { server: endpoint.to_string(), why })
}

fn next_page(controls: &[Control]) -> Option<Vec<u8>> {
    let paged = controls.iter().find(|control| matches!(control.0, Some(ControlType::PagedResults)))?;
    let cookie = paged.1.parse::<PagedResults>().cookie;
    (!cookie.is_empty()).then_some(cookie)
}

fn bytes(values: &[Value]) -> HashSet<Vec<u8>> {
    values.iter().map(|value| value.as_bytes().to_vec()).collect()
}

fn entry(found: ResultEntry, server: &str) -> Result<Entry, DirectoryError> {
    let found = SearchEntry::construct(found);
    let dn = found.dn.parse().map_err(|error| DirectoryError::Protocol { server: server.to_owned(), why: format!("{error}") })?;
    let mut entry = Entry::new(dn);
    for (name, values) in found.attrs {
        entry.attributes.entry(AttributeName::new(&name)).or_default().extend(values.into_iter().map(Value::from));
    }
    for (name, values) in found.bin_attrs {
        entry.attributes.entry(AttributeName::new(&name)).or_default().extend(values.into_iter().map(Value::from));
    }
    // One that has more values than the server gives at once comes without any, beside its first range.
    entry.attributes.retain(|_, values| !values.is_empty());
    Ok(entry)
}
