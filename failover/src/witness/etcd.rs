//! A witness in etcd: one key for each group, swapped by transactions that compare its revision.
//!
//! The key is `PREFIX/GROUP`, its value the text of a [`Word`]. Reads are linearizable, so what is read is what a quorum agreed on. No
//! lease is attached to it: a key that goes away by itself would take the generation with it.

mod gateway;

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use standin_common::id::GroupName;
use standin_config::group::EtcdWitness as Settings;

use super::{Witness, WitnessError, Word};
use gateway::Gateway;
pub use gateway::Login;

/// How long a call may take in all.
pub const LIMIT: Duration = Duration::from_secs(3);

/// A group's key.
pub struct EtcdWitness {
    gateway: Gateway,
    key: String,
}

/// `etcdserverpb.RangeRequest` of one key.
#[derive(Serialize)]
struct Range<'a> {
    key: &'a str,
}

#[derive(Default, Deserialize)]
struct Found {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

/// `mvccpb.KeyValue`; the gateway leaves out what is empty, and writes 64-bit numbers as text.
#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    value: String,
    mod_revision: String,
}

/// `etcdserverpb.TxnRequest`: if the key's revision is this (0: there is none), put; else tell what is there.
#[derive(Serialize)]
struct Swap<'a> {
    compare: [Compare<'a>; 1],
    success: [Success<'a>; 1],
    failure: [Failure<'a>; 1],
}

#[derive(Serialize)]
struct Compare<'a> {
    key: &'a str,
    target: &'static str,
    result: &'static str,
    mod_revision: &'a str,
}

#[derive(Serialize)]
struct Success<'a> {
    request_put: Put<'a>,
}

#[derive(Serialize)]
struct Put<'a> {
    key: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct Failure<'a> {
    request_range: Range<'a>,
}

#[derive(Deserialize)]
struct Swapped {
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    response_range: Option<Found>,
}

/// What stands at the key, and its revision as text.
struct Standing {
    word: Option<Word>,
    revision: String,
}

impl EtcdWitness {
    /// As the settings say. Nothing is asked and no file is read yet: both at each call, so a new certificate or password holds at once.
    pub fn new(settings: &Settings, group: &GroupName) -> Self {
        let login = settings.user.clone().zip(settings.password_file.clone());
        let gateway = Gateway::new(
            settings.endpoints.clone(),
            settings.ca.clone(),
            settings.certificate.clone().zip(settings.key.clone()),
            login.map(|(user, password_file)| Login { user, password_file }),
        );
        Self { gateway, key: format!("{}/{group}", settings.prefix.trim_end_matches('/')) }
    }

    fn standing(&self, deadline: Instant) -> Result<Standing, WitnessError> {
        let key = gateway::encode(self.key.as_bytes());
        let found = self.gateway.ask::<Found>("/v3/kv/range", &Range { key: &key }, deadline)?;
        self.stands(found.answer)
    }

    fn stands(&self, found: Found) -> Result<Standing, WitnessError> {
        let Some(KeyValue { value, mod_revision }) = found.kvs.into_iter().next() else {
            return Ok(Standing { word: None, revision: "0".to_owned() });
        };
        let unreadable =
            |why: String| WitnessError::Refused(format!("key {}: {why}; look at it with `etcdctl get {}`", self.key, self.key));
        let text = gateway::decode(&value).map_err(unreadable)?;
        let word = Word::parse(&text).map_err(|error| unreadable(error.to_string()))?;
        Ok(Standing { word: Some(word), revision: mod_revision })
    }
}

impl Witness for EtcdWitness {
    fn place(&self) -> String {
        format!("{}, key {}", self.gateway.place(), self.key)
    }

    fn read(&self) -> Result<Option<Word>, WitnessError> {
        self.standing(Instant::now() + LIMIT).map(|standing| standing.word)
    }

    fn swap(&self, expected: Option<&Word>, new: &Word) -> Result<(), WitnessError> {
        let deadline = Instant::now() + LIMIT;
        let now = self.standing(deadline)?;
        if now.word.as_ref() != expected {
            return Err(WitnessError::Changed(now.word));
        }
        let (key, value) = (gateway::encode(self.key.as_bytes()), gateway::encode(new.text().as_bytes()));
        let swap = Swap {
            compare: [Compare { key: &key, target: "MOD", result: "EQUAL", mod_revision: &now.revision }],
            success: [Success { request_put: Put { key: &key, value: &value } }],
            failure: [Failure { request_range: Range { key: &key } }],
        };
        let told = self.gateway.ask::<Swapped>("/v3/kv/txn", &swap, deadline)?;
        if told.answer.succeeded {
            return Ok(());
        }
        let found = told.answer.responses.into_iter().next().and_then(|response| response.response_range).unwrap_or_default();
        let stands = self.stands(found)?.word;
        // An endpoint before this one may have done it and not said so.
        if told.again && stands.as_ref() == Some(new) { Ok(()) } else { Err(WitnessError::Changed(stands)) }
    }
}

fn file_error(path: &Path, why: impl std::fmt::Display) -> WitnessError {
    WitnessError::Refused(format!("{}: {why}", path.display()))
}
