//! Objects in memory, packed: of each its name and one run of bytes with all values. 100,000 mailboxes take little more than their text.

use std::collections::HashMap;

use super::super::filter::{Attributes, same_value};
use super::super::{AttributeName, Change, DirectoryError, Dn, Entry, Modify, Rename, Value};
use super::Record;

/// Attributes that nothing here asks for and that are large: not kept.
const NOT_KEPT: &[&str] = &[
    "nTSecurityDescriptor",
    "msExchMailboxSecurityDescriptor",
    "userCertificate",
    "userSMIMECertificate",
    "thumbnailPhoto",
    "jpegPhoto",
    "replPropertyMetaData",
    "dSCorePropagationData",
    "msExchSafeSendersHash",
    "msExchSafeRecipientsHash",
    "msExchBlockedSendersHash",
    "userParameters",
    "logonHours",
    "memberOf",
    "homeMDBBL",
    "supplementalCredentials",
];

/// Attributes of one value that plans change: a second one is refused, as the schema would.
const SINGLE: &[&str] = &[
    "homeMDB",
    "homeMTA",
    "msExchHomeServerName",
    "msExchPatchMDB",
    "msExchDatabaseBeingRestored",
    "msExchRoutingMasterDN",
    "msExchHomeRoutingGroup",
    "msExchAddressListServiceLink",
    "offLineABServer",
    "siteFolderServer",
    "msExchHomePublicMDB",
    "msExchOwningPFTree",
    "msExchExpansionServerName",
    "msExchOwningServer",
    "msExchMasterServerOrAvailabilityGroup",
    "legacyExchangeDN",
    "msExchHostServerLink",
];

/// All objects of an export.
#[derive(Default)]
pub(super) struct Objects {
    names: Vec<AttributeName>,
    numbers: HashMap<AttributeName, u16>,
    objects: Vec<(Dn, Box<[u8]>)>,
    places: HashMap<Dn, u32>,
    pub(super) incomplete: Vec<(String, Dn)>,
}

/// One of them, which can be asked for its values.
pub(super) struct Object<'a> {
    all: &'a Objects,
    at: usize,
}

impl Attributes for Object<'_> {
    fn any(&self, attribute: &AttributeName, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let Some(number) = self.all.numbers.get(attribute) else { return false };
        unpacked(&self.all.objects[self.at].1).any(|(name, value)| name == *number && test(value))
    }
}

impl Objects {
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn dn(&self, at: usize) -> &Dn {
        &self.objects[at].0
    }

    pub(super) fn object(&self, at: usize) -> Object<'_> {
        Object { all: self, at }
    }

    pub(super) fn find(&self, dn: &Dn) -> Option<usize> {
        self.places.get(dn).map(|at| *at as usize)
    }

    pub(super) fn any_within(&self, base: &Dn) -> bool {
        self.objects.iter().any(|(dn, _)| dn.is_within(base))
    }

    /// An object with the attributes named, or with all.
    pub(super) fn entry(&self, at: usize, wanted: &[AttributeName]) -> Entry {
        let (dn, packed) = &self.objects[at];
        let mut entry = Entry::new(dn.clone());
        for (number, value) in unpacked(packed) {
            let name = &self.names[usize::from(number)];
            if wanted.is_empty() || wanted.contains(name) {
                entry.attributes.entry(name.clone()).or_default().push(Value::from(value));
            }
        }
        entry
    }

    pub(super) fn add(&mut self, record: Record) -> Result<(), String> {
        let mut packed = Vec::with_capacity(record.values.iter().map(|(_, value)| value.len() + 6).sum());
        for (name, value) in &record.values {
            let (name, options) = name.split_once(';').unwrap_or((name, ""));
            if NOT_KEPT.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                continue;
            }
            if options.to_ascii_lowercase().starts_with("range=")
                && !options.ends_with('*')
                && self.incomplete.iter().all(|(other, _)| other != name)
            {
                self.incomplete.push((name.to_owned(), record.dn.clone()));
            }
            pack(&mut packed, self.number(name)?, value);
        }
        let at = u32::try_from(self.objects.len()).map_err(|_| "too many objects".to_owned())?;
        if self.places.insert(record.dn.clone(), at).is_some() {
            return Err(format!("{} is there twice", record.dn));
        }
        self.objects.push((record.dn, packed.into_boxed_slice()));
        Ok(())
    }

    fn number(&mut self, name: &str) -> Result<u16, String> {
        let name = AttributeName::new(name);
        if let Some(number) = self.numbers.get(&name) {
            return Ok(*number);
        }
        let number = u16::try_from(self.names.len()).map_err(|_| "too many kinds of attributes".to_owned())?;
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        Ok(number)
    }

    fn put(&mut self, at: usize, entry: &Entry) -> Result<(), String> {
        let mut packed = Vec::new();
        for (name, values) in &entry.attributes {
            let number = self.number(name.as_str())?;
            values.iter().for_each(|value| pack(&mut packed, number, value.as_bytes()));
        }
        self.objects[at].1 = packed.into_boxed_slice();
        Ok(())
    }

    pub(super) fn modify(&mut self, modify: &Modify) -> Result<(), DirectoryError> {
        let refused = |why: String| DirectoryError::Refused { object: modify.dn.clone(), why };
        let at = self.find(&modify.dn).ok_or_else(|| DirectoryError::NoSuchObject { object: modify.dn.clone() })?;
        let mut entry = self.entry(at, &[]);
        for change in &modify.changes {
            self.check_new(at, change).map_err(refused)?;
            let values = entry.attributes.entry(change.attribute.clone()).or_default();
            swap(values, change).map_err(|why| DirectoryError::Changed { object: modify.dn.clone(), why })?;
        }
        entry.attributes.retain(|_, values| !values.is_empty());
        self.put(at, &entry).map_err(refused)
    }

    /// What a domain controller refuses: a reference to nothing, a service principal name that another account holds.
    fn check_new(&self, at: usize, change: &Change) -> Result<(), String> {
        let is_link =
            SINGLE.iter().any(|name| change.attribute == **name) || change.attribute == *"msExchSourceBridgeheadServersDN";
        for value in &change.add {
            if let Some(dn) = value.as_dn().filter(|dn| is_link && dn.depth() > 1)
                && self.find(&dn).is_none()
            {
                return Err(format!("{} would lead to {dn}, which does not exist", change.attribute));
            }
            if change.attribute == *"servicePrincipalName" {
                let holds = |other: usize| {
                    self.object(other).any(&change.attribute, &mut |found| found.eq_ignore_ascii_case(value.as_bytes()))
                };
                if let Some(other) = (0..self.len()).find(|other| *other != at && holds(*other)) {
                    return Err(format!("{} has the service principal name {value}", self.dn(other)));
                }
            }
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, rename: &Rename) -> Result<(), DirectoryError> {
        let (from, to) = (&rename.dn, rename.renamed());
        let at = self.find(from).ok_or_else(|| DirectoryError::NoSuchObject { object: from.clone() })?;
        if self.find(&to).is_some_and(|other| other != at) {
            return Err(DirectoryError::Refused { object: from.clone(), why: format!("{to} exists already") });
        }
        for place in 0..self.len() {
            let mut entry = self.entry(place, &[]);
            let values = entry.attributes.values_mut().flatten();
            let leading = values.filter_map(|value| Some((value.as_dn()?.moved(from, &to)?, value)));
            let changed = leading.map(|(dn, value)| *value = Value::from(&dn)).count();
            if place == at {
                for attribute in ["name", rename.name.attribute().as_str()] {
                    if let Some(values) = entry.attributes.get_mut(&AttributeName::new(attribute)) {
                        *values = vec![rename.name.value().into()];
                    }
                }
            }
            if changed > 0 || place == at {
                self.put(place, &entry).map_err(|why| DirectoryError::Refused { object: from.clone(), why })?;
            }
            if let Some(moved) = self.objects[place].0.moved(from, &to) {
                self.places.remove(&self.objects[place].0);
                self.places.insert(moved.clone(), u32::try_from(place).unwrap_or(u32::MAX));
                self.objects[place].0 = moved;
            }
        }
        Ok(())
    }
}

/// Compare and swap within one attribute.
fn swap(values: &mut Vec<Value>, change: &Change) -> Result<(), String> {
    let same = |one: &Value, other: &Value| same_value(&change.attribute, one.as_bytes(), other.as_bytes());
    for old in &change.delete {
        let place = values.iter().position(|value| same(value, old));
        let place = place.ok_or_else(|| format!("{} is not {old} any more", change.attribute))?;
        values.remove(place);
    }
    for new in &change.add {
        if values.iter().any(|value| same(value, new)) {
            return Err(format!("{} is {new} already", change.attribute));
        }
        if !values.is_empty() && SINGLE.iter().any(|name| change.attribute == **name) {
            return Err(format!("{} has got a value", change.attribute));
        }
        values.push(new.clone());
    }
    Ok(())
}

fn pack(packed: &mut Vec<u8>, number: u16, value: &[u8]) {
    packed.extend_from_slice(&number.to_le_bytes());
    packed.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    packed.extend_from_slice(value);
}

fn unpacked(mut packed: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (number, rest) = packed.split_first_chunk::<2>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        packed = rest;
        Some((u16::from_le_bytes(*number), value))
    })
}
