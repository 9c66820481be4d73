//! Attributes with more values than a server gives at once (MS-ADTS 3.1.1.3.1.3.3): `homeMDBBL;range=0-1499`, and so on to `-*`.

use super::super::{AttributeName, Entry};

/// A part of an attribute's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The attribute without the option.
    pub(super) attribute: AttributeName,
    /// Where the next part begins; `None` if this was the last.
    pub(super) next: Option<u64>,
}

impl Range {
    /// Reads an attribute's name as a server gives it; `None` if it is no range.
    pub(super) fn of(name: &AttributeName) -> Option<Self> {
        let (attribute, option) = name.as_str().split_once(';')?;
        let (key, bounds) = option.split_once('=')?;
        let (_, last) = bounds.split_once('-')?;
        if !key.eq_ignore_ascii_case("range") {
            return None;
        }
        let next = match last {
            "*" => None,
            last => Some(last.parse::<u64>().ok()?.checked_add(1)?),
        };
        Some(Self { attribute: AttributeName::new(attribute), next })
    }

    /// What to ask for next.
    pub(super) fn request(attribute: &AttributeName, from: u64) -> AttributeName {
        AttributeName::new(&format!("{attribute};range={from}-*"))
    }
}

/// Puts the ranges of an object's attributes under the attributes' own names. What is still to be fetched: attribute and place.
pub(super) fn collect(entry: &mut Entry) -> Vec<(AttributeName, u64)> {
    let found: Vec<(AttributeName, Range)> =
        entry.attributes.keys().filter_map(|name| Range::of(name).map(|range| (name.clone(), range))).collect();
    let mut open = Vec::new();
    for (name, range) in found {
        let values = entry.attributes.remove(&name).unwrap_or_default();
        entry.attributes.entry(range.attribute.clone()).or_default().extend(values);
        open.extend(range.next.map(|next| (range.attribute, next)));
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_put_together() {
        let mut entry = Entry::new("CN=store".parse().unwrap());
        entry.attributes.insert("homeMDBBL;range=0-1".into(), vec!["a".into(), "b".into()]);
        entry.attributes.insert("cn".into(), vec!["store".into()]);
        assert_eq!(collect(&mut entry), [(AttributeName::new("homeMDBBL"), 2)]);
        assert_eq!(Range::request(&"homeMDBBL".into(), 2).as_str(), "homeMDBBL;range=2-*");
        entry.attributes.insert("homeMDBBL;Range=2-*".into(), vec!["c".into()]);
        assert_eq!(collect(&mut entry), []);
        assert_eq!(entry.values("homemdbbl").len(), 3);
        assert_eq!(entry.attributes.len(), 2);
        assert_eq!(Range::of(&"userCertificate;binary".into()), None);
        assert_eq!(Range::of(&"x;range=0-18446744073709551615".into()), None);
    }
}
