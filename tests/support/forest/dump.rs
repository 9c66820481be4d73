//! All of a directory as text, for comparing two moments.

use super::{DOMAIN_DN, Forest};

/// What differs after every write, and at every logon.
pub(crate) const FLEETING: [&str; 9] = [
    "whenChanged",
    "uSNChanged",
    "lastLogon",
    "lastLogonTimestamp",
    "logonCount",
    "badPwdCount",
    "badPasswordTime",
    "dSCorePropagationData",
    "lastLogoff",
];

/// Every object of the domain and the configuration with its values in order, less what `without` names.
pub(crate) fn dump(forest: &Forest, without: &[&str]) -> Vec<String> {
    let text = forest.controllers[0].dump(DOMAIN_DN, "(objectClass=*)", &[]).replace("\n ", "");
    let keeps = |line: &&str| !line.starts_with('#') && !without.iter().any(|name| line.starts_with(&format!("{name}:")));
    let mut objects: Vec<String> = Vec::new();
    for object in text.split("\n\n") {
        let mut lines: Vec<&str> = object.lines().filter(keeps).collect();
        lines.sort_by_key(|line| (!line.starts_with("dn:"), *line));
        if !lines.is_empty() {
            objects.push(lines.join("\n"));
        }
    }
    objects.sort();
    objects
}

/// The first difference, so that a failure can be read.
#[track_caller]
pub(crate) fn assert_same_dump(one: &[String], other: &[String]) {
    let differing = one.iter().zip(other).find(|(one, other)| one != other);
    assert!(differing.is_none() && one.len() == other.len(), "{} and {} objects: {differing:#?}", one.len(), other.len());
}

/// What belongs to the server that has no part in it, with its change numbers.
pub(crate) fn of_the_third(forest: &Forest) -> Vec<String> {
    let mut all = dump(forest, &["lastLogon"]);
    all.retain(|object| {
        let name = object.lines().next().unwrap();
        ["CN=EX10,CN=Servers,", "CN=EX10,CN=Computers,", "dn: CN=Stranger "].iter().any(|mark| name.contains(mark))
    });
    all
}
