//! etcd's JSON gateway: the messages of its gRPC services, by HTTP POST, bytes as base64. One endpoint after the other until one answers.
//!
//! Each request has a connection of its own: after a restart of etcd no dead one is left over that would swallow the first request.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::CertificateError;
use rustls::crypto::ring::default_provider;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::super::WitnessError;
use super::file_error;
use crate::credentials::PasswordSource;

/// An answer of the services asked for here has less than 2 KiB.
const LONGEST: u64 = 64 * 1024;

/// The least time for an attempt at an endpoint, as long as there is any.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Codes of gRPC.
const UNAUTHENTICATED: u32 = 16;
/// Those that another endpoint would not give, however often it is asked: wrong argument, not found, permission, precondition, range,
/// not implemented.
const FINAL: [u32; 6] = [3, 5, 7, 9, 11, 12];

/// Who logs on.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The file with the password in its first line, for its owner only.
    pub password_file: PathBuf,
}

/// A cluster.
pub(super) struct Gateway {
    endpoints: Vec<String>,
    ca: Option<PathBuf>,
    /// This node's certificate and its key.
    own: Option<(PathBuf, PathBuf)>,
    login: Option<Login>,
    /// The endpoint that answered last, to begin with.
    first: AtomicUsize,
    /// What etcd gave for the password.
    token: Mutex<Option<String>>,
    system: OnceLock<Vec<Certificate<'static>>>,
}

/// An answer.
pub(super) struct Told<T> {
    pub(super) answer: T,
    /// Whether an attempt before may have been heard, too.
    pub(super) again: bool,
}

#[derive(Serialize)]
struct Authenticate<'a> {
    name: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct Authenticated {
    token: String,
}

/// What etcd says in place of an answer.
#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    message: String,
    code: u32,
}

/// Why one endpoint gave no answer.
enum Attempt {
    /// Another one may.
    Next(String),
    /// None would.
    Final(String),
    /// The token holds no longer, or none was given.
    Token(String),
}

impl Gateway {
    pub(super) fn new(
        endpoints: Vec<String>,
        ca: Option<PathBuf>,
        own: Option<(PathBuf, PathBuf)>,
        login: Option<Login>,
    ) -> Self {
        let endpoints = endpoints.iter().map(|endpoint| endpoint.trim_end_matches('/').to_owned()).collect();
        let (first, token, system) = (AtomicUsize::new(0), Mutex::default(), OnceLock::new());
        Self { endpoints, ca, own, login, first, token, system }
    }

    /// Where it is, for messages.
    pub(super) fn place(&self) -> String {
        self.endpoints.join(" or ")
    }

    /// Asks for something, logged on if there is a user.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        deadline: Instant,
    ) -> Result<Told<T>, WitnessError> {
        let body = serde_json::to_vec(request).map_err(|error| WitnessError::Refused(error.to_string()))?;
        let agent = self.agent()?;
        let mut renewed = false;
        loop {
            let token = match &self.login {
                Some(login) => Some(self.token(&agent, login, deadline)?),
                None => None,
            };
            match self.around(&agent, path, &body, token.as_deref(), deadline)? {
                Ok(told) => return Ok(told),
                // It ran out, or users were changed: etcd did nothing, so once more with another.
                Err(_) if token.is_some() && !renewed => *self.lock() = None,
                Err(why) if token.is_none() => {
                    return Err(WitnessError::Refused(format!("{why}; write user and password_file")));
                }
                Err(why) => return Err(WitnessError::Refused(why)),
            }
            renewed = true;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn token(&self, agent: &Agent, login: &Login, deadline: Instant) -> Result<String, WitnessError> {
        if let Some(token) = self.lock().clone() {
            return Ok(token);
        }
        let nobody = || Ok(String::new());
        let password = PasswordSource::File(login.password_file.clone()).password(nobody);
        let password = password.map_err(|error| WitnessError::Refused(error.to_string()))?;
        let request = Authenticate { name: &login.user, password: password.reveal() };
        let body =
            zeroize::Zeroizing::new(serde_json::to_vec(&request).map_err(|error| WitnessError::Refused(error.to_string()))?);
        let told = self.around::<Authenticated>(agent, "/v3/auth/authenticate", &body, None, deadline)?;
        let token = told.map_err(WitnessError::Refused)?.answer.token;
        *self.lock() = Some(token.clone());
        Ok(token)
    }

    /// One endpoint after the other; `Ok(Err(_))`: the token does not hold.
    fn around<T: DeserializeOwned>(
        &self,
        agent: &Agent,
        path: &str,
        body: &[u8],
        token: Option<&str>,
        deadline: Instant,
    ) -> Result<Result<Told<T>, String>, WitnessError> {
        let (count, first) = (self.endpoints.len(), self.first.load(Ordering::Relaxed));
        let mut reasons = Vec::new();
        for turn in 0..count {
            let place = (first + turn) % count;
            let Some(endpoint) = self.endpoints.get(place) else { continue };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                reasons.push(format!("{endpoint}: no time was left to ask it"));
                continue;
            }
            let share = left / u32::try_from(count - turn).unwrap_or(1);
            match attempt(agent, &format!("{endpoint}{path}"), body, token, share.max(ATTEMPT).min(left)) {
                Ok(answer) => {
                    self.first.store(place, Ordering::Relaxed);
                    return Ok(Ok(Told { answer, again: !reasons.is_empty() }));
                }
                Err(Attempt::Next(why)) => reasons.push(format!("{endpoint}: {why}")),
                Err(Attempt::Final(why)) => return Err(WitnessError::Refused(format!("{endpoint}: {why}"))),
                Err(Attempt::Token(why)) => return Ok(Err(format!("{endpoint}: {why}"))),
            }
        }
        Err(WitnessError::Unreachable(reasons.join("; ")))
    }

    fn agent(&self) -> Result<Agent, WitnessError> {
        let own = self.own.as_ref().map(|(certificate, key)| own_certificate(certificate, key)).transpose()?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&self.roots()?))
            .client_cert(own)
            .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .build();
        Ok(config.new_agent())
    }

    fn roots(&self) -> Result<Vec<Certificate<'static>>, WitnessError> {
        match &self.ca {
            Some(path) => certificates(path),
            None => {
                let load = || {
                    let found = rustls_native_certs::load_native_certs().certs;
                    found.iter().map(|one| Certificate::from_der(one.as_ref()).to_owned()).collect()
                };
                Ok(self.system.get_or_init(load).clone())
            }
        }
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<Certificate<'static>>, WitnessError> {
    let text = std::fs::read(path).map_err(|error| file_error(path, error))?;
    let is_one = |item: Result<PemItem<'static>, ureq::Error>| match item {
        Ok(PemItem::Certificate(one)) => Some(Ok(one)),
        Ok(_) => None,
        Err(error) => Some(Err(file_error(path, error))),
    };
    let found: Vec<_> = parse_pem(&text).filter_map(is_one).collect::<Result<_, _>>()?;
    if found.is_empty() { Err(file_error(path, "it holds no certificate; give a PEM file with at least one")) } else { Ok(found) }
}

fn own_certificate(certificate: &PathBuf, key: &PathBuf) -> Result<ClientCert, WitnessError> {
    let chain = certificates(certificate)?;
    let text = zeroize::Zeroizing::new(std::fs::read(key).map_err(|error| file_error(key, error))?);
    let key = PrivateKey::from_pem(&text).map_err(|error| file_error(key, error))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

fn attempt<T: DeserializeOwned>(
    agent: &Agent,
    url: &str,
    body: &[u8],
    token: Option<&str>,
    limit: Duration,
) -> Result<T, Attempt> {
    let request = agent.post(url).config().timeout_global(Some(limit)).build().header("Content-Type", "application/json");
    let request = match token {
        Some(token) => request.header("Authorization", token),
        None => request,
    };
    let answered = request.send(body).and_then(|mut answer| {
        let text = answer.body_mut().with_config().limit(LONGEST).read_to_vec()?;
        Ok((answer.status().as_u16(), text))
    });
    let (status, text) = answered.map_err(|error| Attempt::Next(words(&error, limit, url.starts_with("https:"))))?;
    if status == 200 {
        return serde_json::from_slice(&text).map_err(|error| Attempt::Next(format!("its answer cannot be read ({error})")));
    }
    let Ok(Fault { message, code }) = serde_json::from_slice(&text) else {
        let why = format!("it answers {status}, and not as etcd 3.4 or later does; is its gateway (--enable-grpc-gateway) off?");
        return Err(Attempt::Next(why));
    };
    let message = format!("{message} (code {code})");
    match code {
        UNAUTHENTICATED => Err(Attempt::Token(message)),
        // What etcd 3.4 says to whoever gives no user where users are asked for.
        3 if token.is_none() && message.contains("user name is empty") => Err(Attempt::Token(message)),
        code if FINAL.contains(&code) => Err(Attempt::Final(message)),
        _ => Err(Attempt::Next(message)),
    }
}

fn words(error: &ureq::Error, limit: Duration, has_tls: bool) -> String {
    // Who closes a connection right after its alert may be heard closing first, by whoever still writes (RFC 8446, 6.2).
    let is_closed = |error: &io::Error| matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {:.1} s", limit.as_secs_f64()),
        ureq::Error::HostNotFound => "its name leads to no address".to_owned(),
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(fault) => trouble(fault),
            None if has_tls && is_closed(error) => {
                format!("{error}: if it does not take this node's certificate, or the lack of one, write certificate and key")
            }
            None => error.to_string(),
        },
        ureq::Error::Rustls(fault) => trouble(fault),
        other => other.to_string(),
    }
}

fn trouble(fault: &rustls::Error) -> String {
    match fault {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is not signed by an authority that is believed here: write that authority's file as ca".to_owned()
        }
        rustls::Error::InvalidCertificate(fault) => format!("its certificate is not believed ({fault})"),
        rustls::Error::AlertReceived(alert) => {
            format!("it does not take this node's certificate, or the lack of one ({alert:?}): write certificate and key")
        }
        other => format!("TLS: {other}"),
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("its value is not base64 ({error})"))
}
