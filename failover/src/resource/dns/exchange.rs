//! A zone's primary server: questions, and signed updates, over TCP.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use hickory_proto::op::update_message::UpdateMessage;
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};

use super::Authority;
use super::key;
use super::records::{Change, Kind, RrSet, plain};

/// Why records cannot be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DnsError {
    /// Nobody answers there, or not in time.
    #[error("{0}")]
    Unreachable(String),
    /// Somebody else changed the records after they were read.
    #[error("somebody else changed the records at the same time")]
    Changed,
    /// What was before cannot be remembered.
    #[error("the old records cannot be remembered, so nothing was changed: {0}")]
    NotKept(String),
    /// The key cannot be used.
    #[error("the key file {}: {why}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The server does not take the signature.
    #[error("the server {server} does not take the signature: {why}")]
    Signature {
        /// The server.
        server: String,
        /// Why.
        why: &'static str,
    },
    /// The name is an alias in DNS.
    #[error("{name} is an alias (CNAME) of {target}, so it can have no addresses of its own")]
    Alias {
        /// The name.
        name: String,
        /// What it leads to.
        target: String,
    },
    /// The directory fails, or says no.
    #[error("{0}")]
    Directory(String),
    /// The server says no, or something that makes no sense.
    #[error("the server {server} {said}")]
    Refused {
        /// The server.
        server: String,
        /// What it says.
        said: String,
    },
}

impl DnsError {
    /// What a person can do.
    pub(super) fn mend(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "see whether the zone's primary server runs, and whether TCP to its port is let through",
            Self::Changed => "see who else sets these records; then try again",
            Self::NotKept(_) => "make room in the state directory",
            Self::Key { .. } => "make one with tsig-keygen, give it to the server, and let only the daemon's user read it",
            Self::Signature { .. } => "compare the key's name, algorithm and secret on both sides, and the clocks",
            Self::Alias { .. } => "name what it leads to, or make addresses of it",
            Self::Directory(_) => "see [directory] in the settings, and the account's rights on the zone",
            Self::Refused { .. } => {
                "name the zone's primary server, and let the key update these names there (allow-update, update-policy)"
            }
        }
    }
}

/// A zone's primary server.
pub(super) struct Primary {
    server: String,
    key_file: PathBuf,
    key: Option<String>,
    algorithm: Option<String>,
}

impl Primary {
    pub(super) fn new(server: &str, key_file: &Path, key: Option<&str>, algorithm: Option<&str>) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self { server: server.to_owned(), key_file: key_file.to_owned(), key: text(key), algorithm: text(algorithm) }
    }

    /// The key is read each time, so that a new one holds at once.
    fn signer(&self) -> Result<TSigner, DnsError> {
        let signer = key::load(&self.key_file, self.key.as_deref(), self.algorithm.as_deref());
        signer.map_err(|why| DnsError::Key { file: self.key_file.clone(), why })
    }

    fn refused(&self, said: impl Into<String>) -> DnsError {
        DnsError::Refused { server: self.server.clone(), said: said.into() }
    }

    /// One message there and one back, each after its length in two bytes. Source: RFC 1035, section 4.2.2.
    fn exchange(&self, message: &[u8], deadline: Instant) -> Result<Vec<u8>, DnsError> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        let unreachable =
            |error: io::Error| DnsError::Unreachable(format!("the server {} does not answer: {error}", self.server));
        for address in self.server.to_socket_addrs().map_err(unreachable)? {
            match TcpStream::connect_timeout(&address, left(deadline)).and_then(|stream| talk(stream, message, deadline)) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(unreachable(last))
    }

    fn understand(&self, question: &Message, answer: &[u8]) -> Result<Message, DnsError> {
        let answer = Message::from_vec(answer).map_err(|error| self.refused(format!("answers with nonsense: {error}")))?;
        if answer.id != question.id {
            return Err(self.refused("answers something else"));
        }
        Ok(answer)
    }
}

fn left(deadline: Instant) -> Duration {
    // A time of zero would be an error.
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn talk(mut stream: TcpStream, message: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(left(deadline)))?;
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())?;
    let mut length = [0; 2];
    read_whole(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_whole(&mut stream, &mut answer, deadline)?;
    Ok(answer)
}

/// Reads until `bytes` are full or time is up: a server that sends a byte now and then does not get more time.
fn read_whole(stream: &mut TcpStream, mut bytes: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left(deadline)))?;
        match stream.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes = &mut bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Authority for Primary {
    fn is_ready(&self) -> Result<(), DnsError> {
        self.signer().map(drop)
    }

    fn read(&self, wanted: &RrSet, deadline: Instant) -> Result<RrSet, DnsError> {
        let mut question = Message::query();
        let name = name(&wanted.name).map_err(|error| self.refused(error))?;
        question.add_query(Query::query(name, record_type(wanted.kind)));
        let bytes = question.to_vec().map_err(|error| self.refused(error.to_string()))?;
        let answer = self.understand(&question, &self.exchange(&bytes, deadline)?)?;
        match answer.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain if !answer.authoritative => {
                Err(self.refused(format!("is no primary or secondary server of the zone {}", wanted.zone)))
            }
            ResponseCode::NoError | ResponseCode::NXDomain => read_answer(wanted, &answer.answers),
            other => Err(self.refused(format!("answers {} with {other}", wanted.name))),
        }
    }

    fn change(&self, zone: &str, changes: &[Change], deadline: Instant) -> Result<(), DnsError> {
        let signer = self.signer()?;
        let mut message = update(zone, changes).map_err(|error| self.refused(error))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let verifier = message.finalize(&signer, now).map_err(|error| self.refused(error.to_string()))?;
        let bytes = message.to_vec().map_err(|error| self.refused(error.to_string()))?;
        let answer = self.exchange(&bytes, deadline)?;
        let understood = self.understand(&message, &answer)?;
        // A refusal of the signature cannot be signed with it.
        if let Some(error) = understood.signature().and_then(|tsig| tsig.data.error.as_ref()) {
            let why = match error {
                TsigError::BadKey => "it does not know the key, or not with this algorithm",
                TsigError::BadSig => "the secret is another",
                TsigError::BadTime => "its clock differs by more than five minutes",
                _ => "it is not what it expects",
            };
            return Err(DnsError::Signature { server: self.server.clone(), why });
        }
        match understood.response_code {
            ResponseCode::NoError => {}
            ResponseCode::YXDomain | ResponseCode::YXRRSet | ResponseCode::NXRRSet | ResponseCode::NXDomain => {
                return Err(DnsError::Changed);
            }
            ResponseCode::Refused => return Err(self.refused("does not let this key change these names")),
            ResponseCode::NotAuth | ResponseCode::NotZone => {
                return Err(self.refused(format!("is not the primary server of the zone {zone}")));
            }
            other => return Err(self.refused(format!("answers the update of {zone} with {other}"))),
        }
        let Some(mut verifier) = verifier else { return Err(self.refused("was not asked with a signature")) };
        verifier.verify(&answer).map_err(|_| DnsError::Signature {
            server: self.server.clone(),
            why: "its own answer is not signed with this key, so nobody knows whether it changed anything",
        })?;
        Ok(())
    }
}

fn name(text: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(text).map_err(|error| format!("cannot be asked for {text}: {error}"))?;
    name.set_fqdn(true);
    Ok(name)
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Ptr => RecordType::PTR,
    }
}

/// The records among an answer that were asked for.
fn read_answer(wanted: &RrSet, answers: &[Record]) -> Result<RrSet, DnsError> {
    let mut set = RrSet { ttl_s: wanted.ttl_s, values: Default::default(), ..wanted.clone() };
    for record in answers.iter().filter(|record| plain(&record.name) == wanted.name) {
        let value = match (&record.data, wanted.kind) {
            (RData::A(address), Kind::A) => address.to_string(),
            (RData::AAAA(address), Kind::Aaaa) => address.to_string(),
            (RData::PTR(target), Kind::Ptr) => plain(&target.0),
            (RData::CNAME(target), _) => {
                return Err(DnsError::Alias { name: wanted.name.clone(), target: plain(&target.0) });
            }
            _ => continue,
        };
        set.values.insert(value);
        set.ttl_s = record.ttl;
    }
    Ok(set)
}

/// An update of a zone: that all records are as they were read, then that they are as wanted. Source: RFC 2136, sections 2.4.2, 2.4.3,
/// 2.5.1 and 2.5.2.
fn update(zone: &str, changes: &[Change]) -> Result<Message, String> {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.metadata.recursion_desired = false;
    let mut query = Query::query(name(zone)?, RecordType::SOA);
    query.set_query_class(DNSClass::IN);
    message.add_zone(query);
    for Change { before, .. } in changes {
        if before.values.is_empty() {
            message.add_pre_requisite(empty(before, DNSClass::NONE)?);
        }
        for value in &before.values {
            message.add_pre_requisite(record(before, value, 0)?);
        }
    }
    for Change { before, after } in changes {
        message.add_update(empty(before, DNSClass::ANY)?);
        for value in &after.values {
            message.add_update(record(after, value, after.ttl_s)?);
        }
    }
    Ok(message)
}

fn empty(set: &RrSet, class: DNSClass) -> Result<Record, String> {
    let mut record = Record::update0(name(&set.name)?, 0, record_type(set.kind));
    record.dns_class = class;
    Ok(record)
}

fn record(set: &RrSet, value: &str, ttl_s: u32) -> Result<Record, String> {
    let odd = |error: &dyn std::fmt::Display| format!("cannot be told {} {} {value}: {error}", set.name, set.kind);
    let data = match set.kind {
        Kind::A => RData::A(A(value.parse().map_err(|error| odd(&error))?)),
        Kind::Aaaa => RData::AAAA(AAAA(value.parse().map_err(|error| odd(&error))?)),
        Kind::Ptr => RData::PTR(PTR(name(value)?)),
    };
    Ok(Record::from_rdata(name(&set.name)?, ttl_s, data))
}
