//! Zones that are in Active Directory: the records of a name are values of one object.
//!
//! Each name is changed in one compare-and-swap, with the old values by value; several names are several changes. The DNS servers of Windows
//! look for changes in the directory every three minutes (`DsPollingInterval`); Samba's see them at once.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use super::Authority;
use super::exchange::DnsError;
use super::records::{Change, Kind, RrSet};
use crate::directory::{self, AttributeName, Directory, DirectoryError, Dn, Entry, Modify, Rdn, Value};

/// The record's head: lengths, type, version and rank, time to live, time stamp. Source: MS-DNSP 2.3.2.2.
const HEAD_BYTES: usize = 24;
const VERSION: u8 = 5;
/// A record of the zone itself. Source: MS-DNSP 2.3.2.2, `RANK_ZONE`.
const RANK_ZONE: u8 = 0xf0;
const CNAME: u16 = 5;
/// Longest name that is read, in labels.
const MAX_LABELS: u8 = 127;

/// The zones of a directory.
pub(super) struct Objects {
    directory: Arc<dyn Directory>,
}

impl Objects {
    pub(super) fn new(directory: Arc<dyn Directory>) -> Self {
        Self { directory }
    }

    /// The object of a name. Zones are in one of three places of a domain. Source: MS-DNSP 2.3.1.1.
    fn node(&self, zone: &str, name: &str) -> Result<Option<Entry>, DnsError> {
        let contexts = self.directory.contexts().map_err(failed)?;
        let attributes = ["dnsRecord", "dNSTombstoned"].map(AttributeName::new);
        let label =
            name.strip_suffix(zone).map(|label| label.trim_end_matches('.')).filter(|label| !label.is_empty()).unwrap_or("@");
        for domain in &contexts.domains {
            let beneath = |partition: &str| domain.context.child(&Rdn::new("DC", partition)).child_cn("MicrosoftDNS");
            let places = [
                beneath("DomainDnsZones"),
                beneath("ForestDnsZones"),
                domain.context.child_cn("System").child_cn("MicrosoftDNS"),
            ];
            for place in places {
                let zone = place.child(&Rdn::new("DC", zone));
                if directory::read(&*self.directory, &zone, &[AttributeName::new("objectClass")]).map_err(failed)?.is_some() {
                    let node: Dn = zone.child(&Rdn::new("DC", label));
                    return directory::read(&*self.directory, &node, &attributes).map_err(failed);
                }
            }
        }
        Err(DnsError::Refused { server: "the directory".to_owned(), said: format!("has no zone {zone}") })
    }

    fn change_name(&self, zone: &str, name: &str, changes: &[&Change]) -> Result<(), DnsError> {
        let Some(node) = self.node(zone, name)? else {
            if changes.iter().all(|change| change.after.values.is_empty()) {
                return Ok(());
            }
            return Err(DnsError::Refused {
                server: "the directory".to_owned(),
                said: format!("has no object for {name}: make a record of it once"),
            });
        };
        let (mut delete, mut add) = (Vec::new(), Vec::new());
        let serial = node.values("dnsRecord").iter().filter_map(|value| value.as_bytes().get(8..12)?.try_into().ok());
        let serial = serial.map(u32::from_le_bytes).max().unwrap_or_default().wrapping_add(1);
        for change in changes {
            if !read_node(&change.before, &node)?.same_values(&change.before) {
                return Err(DnsError::Changed);
            }
            let ours =
                |value: &&Value| Record::parse(value.as_bytes()).is_some_and(|record| record.kind == number(change.before.kind));
            delete.extend(node.values("dnsRecord").iter().filter(ours).cloned());
            for value in &change.after.values {
                let bytes = write_record(change.after.kind, value, change.after.ttl_s, serial);
                let odd = || DnsError::Refused { server: "the directory".to_owned(), said: format!("can not hold {value}") };
                add.push(Value::from(bytes.ok_or_else(odd)?));
            }
        }
        let mut all = vec![directory::Change { attribute: "dnsRecord".into(), delete, add }];
        if node.is_true("dNSTombstoned") {
            let (delete, add) = (node.values("dNSTombstoned").to_vec(), vec![Value::from("FALSE")]);
            all.push(directory::Change { attribute: "dNSTombstoned".into(), delete, add });
        }
        self.directory.modify(&Modify { dn: node.dn, changes: all }).map_err(failed)
    }
}

fn failed(error: DirectoryError) -> DnsError {
    match error {
        DirectoryError::Changed { .. } => DnsError::Changed,
        error if error.is_worth_a_retry() => DnsError::Unreachable(error.to_string()),
        error => DnsError::Directory(error.to_string()),
    }
}

impl Authority for Objects {
    fn read(&self, wanted: &RrSet, _: Instant) -> Result<RrSet, DnsError> {
        match self.node(&wanted.zone, &wanted.name)? {
            Some(node) => read_node(wanted, &node),
            None => Ok(RrSet { values: Default::default(), ..wanted.clone() }),
        }
    }

    fn change(&self, zone: &str, changes: &[Change], _: Instant) -> Result<(), DnsError> {
        let mut names: Vec<&str> = changes.iter().map(|change| change.before.name.as_str()).collect();
        names.dedup();
        for name in names {
            let of_name: Vec<&Change> = changes.iter().filter(|change| change.before.name == name).collect();
            self.change_name(zone, name, &of_name)?;
        }
        Ok(())
    }
}

/// The records of one type among the values of an object.
fn read_node(wanted: &RrSet, node: &Entry) -> Result<RrSet, DnsError> {
    let mut set = RrSet { values: Default::default(), ..wanted.clone() };
    if node.is_true("dNSTombstoned") {
        return Ok(set);
    }
    for record in node.values("dnsRecord").iter().filter_map(|value| Record::parse(value.as_bytes())) {
        if record.kind == CNAME {
            let target = read_name(record.data).unwrap_or_else(|| "another name".to_owned());
            return Err(DnsError::Alias { name: wanted.name.clone(), target });
        }
        if record.kind != number(wanted.kind) {
            continue;
        }
        let value = match wanted.kind {
            Kind::A => <[u8; 4]>::try_from(record.data).ok().map(|bytes| Ipv4Addr::from(bytes).to_string()),
            Kind::Aaaa => <[u8; 16]>::try_from(record.data).ok().map(|bytes| Ipv6Addr::from(bytes).to_string()),
            Kind::Ptr => read_name(record.data),
        };
        let odd = || DnsError::Refused {
            server: "the directory".to_owned(),
            said: format!("has a record of {} that makes no sense", wanted.name),
        };
        set.values.insert(value.ok_or_else(odd)?);
        set.ttl_s = record.ttl_s;
    }
    Ok(set)
}

/// The number of a type. Source: RFC 1035, section 3.2.2; RFC 3596.
fn number(kind: Kind) -> u16 {
    match kind {
        Kind::A => 1,
        Kind::Ptr => 12,
        Kind::Aaaa => 28,
    }
}

/// What a value of `dnsRecord` says. Source: MS-DNSP 2.3.2.2: numbers with the low byte first, but for the time to live.
struct Record<'a> {
    kind: u16,
    ttl_s: u32,
    data: &'a [u8],
}

impl<'a> Record<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_le_bytes(bytes.get(2..4)?.try_into().ok()?);
        let ttl_s = u32::from_be_bytes(bytes.get(12..16)?.try_into().ok()?);
        Some(Self { kind, ttl_s, data: bytes.get(HEAD_BYTES..HEAD_BYTES + length)? })
    }
}

/// A record that does not age (time stamp 0).
fn write_record(kind: Kind, value: &str, ttl_s: u32, serial: u32) -> Option<Vec<u8>> {
    let data = match kind {
        Kind::A => value.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
        Kind::Aaaa => value.parse::<Ipv6Addr>().ok()?.octets().to_vec(),
        Kind::Ptr => write_name(value)?,
    };
    let mut bytes = u16::try_from(data.len()).ok()?.to_le_bytes().to_vec();
    bytes.extend(number(kind).to_le_bytes());
    bytes.extend([VERSION, RANK_ZONE, 0, 0]);
    bytes.extend(serial.to_le_bytes());
    bytes.extend(ttl_s.to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend(data);
    Some(bytes)
}

/// A name as values have it: its length, the number of its labels, and the labels, each after its length. Source: MS-DNSP 2.2.2.2.2.
fn write_name(name: &str) -> Option<Vec<u8>> {
    let labels: Vec<&str> = name.split('.').collect();
    let mut text = Vec::new();
    for label in &labels {
        text.push(u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?);
        text.extend(label.as_bytes());
    }
    text.push(0);
    let mut bytes = vec![u8::try_from(text.len()).ok()?, u8::try_from(labels.len()).ok().filter(|count| *count <= MAX_LABELS)?];
    bytes.extend(text);
    Some(bytes)
}

fn read_name(bytes: &[u8]) -> Option<String> {
    let (count, mut rest) = (*bytes.get(1)?, bytes.get(2..)?);
    let mut labels = Vec::new();
    for _ in 0..count.min(MAX_LABELS) {
        let length = usize::from(*rest.first()?);
        labels.push(std::str::from_utf8(rest.get(1..=length)?).ok()?.to_ascii_lowercase());
        rest = rest.get(length + 1..)?;
    }
    (!labels.is_empty()).then(|| labels.join("."))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::directory::ldif::LdifDirectory;

    fn set(name: &str, kind: Kind, values: &[&str]) -> RrSet {
        let values: BTreeSet<String> = values.iter().map(|value| (*value).to_owned()).collect();
        RrSet { zone: "x.y".to_owned(), name: name.to_owned(), kind, ttl_s: 60, values }
    }

    fn objects() -> Objects {
        let record = |kind, value| STANDARD.encode(write_record(kind, value, 3600, 7).unwrap());
        let text = format!(
            "dn: DC=x,DC=y\nobjectClass: domainDNS\n\ndn: CN=Configuration,DC=x,DC=y\nobjectClass: configuration\n\n\
             dn: CN=Schema,CN=Configuration,DC=x,DC=y\nobjectClass: dMD\n\n\
             dn: DC=x.y,CN=MicrosoftDNS,DC=DomainDnsZones,DC=x,DC=y\nobjectClass: dnsZone\n\n\
             dn: DC=mail,DC=x.y,CN=MicrosoftDNS,DC=DomainDnsZones,DC=x,DC=y\nobjectClass: dnsNode\ndnsRecord:: {}\ndnsRecord:: {}\n\n\
             dn: DC=old,DC=x.y,CN=MicrosoftDNS,DC=DomainDnsZones,DC=x,DC=y\nobjectClass: dnsNode\ndNSTombstoned: TRUE\ndnsRecord:: {}\n",
            record(Kind::A, "10.0.0.1"),
            record(Kind::Ptr, "odd.x.y"),
            record(Kind::A, "10.0.0.9"),
        );
        Objects::new(Arc::new(LdifDirectory::from_text(&text).unwrap()))
    }

    #[test]
    fn a_record_is_as_it_is_drawn() {
        let bytes = write_record(Kind::A, "10.1.2.3", 0x0102_0304, 0x0a0b_0c0d).unwrap();
        let expected = [4, 0, 1, 0, 5, 0xf0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 2, 3];
        assert_eq!(bytes, expected);
        assert_eq!(write_name("a.bc").unwrap(), [6, 2, 1, b'a', 2, b'b', b'c', 0]);
        assert_eq!(read_name(&write_name("mail.example.org").unwrap()).as_deref(), Some("mail.example.org"));
        for cut in 0..bytes.len() {
            assert!(Record::parse(&bytes[..cut]).is_none());
        }
        assert!(write_name("a..b").is_none() && write_name(&"x".repeat(64)).is_none() && read_name(&[3, 9, 200]).is_none());
    }

    #[test]
    fn values_of_one_type_are_swapped_and_others_stay() {
        let (objects, now) = (objects(), Instant::now());
        let before = objects.read(&set("mail.x.y", Kind::A, &[]), now).unwrap();
        assert_eq!((before.values.iter().map(String::as_str).collect::<Vec<_>>(), before.ttl_s), (vec!["10.0.0.1"], 3600));
        let six = objects.read(&set("mail.x.y", Kind::Aaaa, &[]), now).unwrap();
        let changes = [
            Change { before: before.clone(), after: set("mail.x.y", Kind::A, &["10.1.0.2"]) },
            Change { before: six, after: set("mail.x.y", Kind::Aaaa, &["2001:db8::2"]) },
        ];
        objects.change("x.y", &changes, now).unwrap();
        for (kind, value) in [(Kind::A, "10.1.0.2"), (Kind::Aaaa, "2001:db8::2"), (Kind::Ptr, "odd.x.y")] {
            assert_eq!(objects.read(&set("mail.x.y", kind, &[]), now).unwrap().values, [value.to_owned()].into());
        }
        // What was read is old by now.
        assert_eq!(objects.change("x.y", &changes[..1], now), Err(DnsError::Changed));
    }

    #[test]
    fn what_is_buried_or_missing_is_said() {
        let (objects, now) = (objects(), Instant::now());
        let old = objects.read(&set("old.x.y", Kind::A, &[]), now).unwrap();
        assert!(old.values.is_empty());
        let none = objects.read(&set("none.x.y", Kind::A, &[]), now).unwrap();
        let refused =
            objects.change("x.y", &[Change { before: none.clone(), after: set("none.x.y", Kind::A, &["10.0.0.1"]) }], now);
        assert!(refused.unwrap_err().to_string().contains("make a record of it once"));
        objects.change("x.y", &[Change { before: none.clone(), after: none }], now).unwrap();
        assert!(objects.read(&RrSet { zone: "z".to_owned(), ..old }, now).unwrap_err().to_string().contains("has no zone z"));
    }
}
