//! What is in a root, for comparison.

use std::collections::BTreeMap;
use std::sync::Arc;

use standin_common::entry::Attrs;
use standin_common::path::RelPath;
use standin_replicator::rules::Rules;
use standin_replicator::sim::SimVolume;
use standin_replicator::volume::ObjectKind;

/// One name.
#[derive(Debug, Clone)]
pub struct Item {
    /// Where.
    pub path: RelPath,
    /// What.
    pub kind: ObjectKind,
    /// Its attributes.
    pub attrs: Attrs,
    /// Its data.
    pub data: Arc<Vec<u8>>,
    /// The first name of the same object.
    pub first: RelPath,
}

/// All names of a root, in order.
pub type Contents = Vec<Item>;

/// Everything in a volume.
pub fn contents(volume: &SimVolume) -> Contents {
    let mut firsts = BTreeMap::new();
    let items = volume.objects().into_iter().map(|object| {
        let first = firsts.entry(object.number).or_insert_with(|| object.path.clone()).clone();
        Item { path: object.path, kind: object.kind, attrs: object.attrs, data: object.data, first }
    });
    items.collect()
}

/// What a mirror takes of these: what the rules include, and the directories that lead there.
pub fn replicated(contents: Contents, rules: &Rules) -> Contents {
    let included = |path: &RelPath| rules.judge(path).included;
    let paths: Vec<_> = contents.iter().map(|item| item.path.clone()).filter(|path| included(path)).collect();
    let kept = |path: &RelPath| included(path) || paths.iter().any(|below| below.starts_with(path));
    let mut contents: Contents = contents.into_iter().filter(|item| kept(&item.path)).collect();
    let mut firsts = BTreeMap::new();
    for item in &mut contents {
        item.first = firsts.entry(item.first.clone()).or_insert_with(|| item.path.clone()).clone();
    }
    contents
}

/// How what was found differs from what was expected, if it does.
pub fn difference(found: &Contents, expected: &Contents) -> Option<String> {
    let names = |contents: &Contents| contents.iter().map(|item| item.path.to_string()).collect::<Vec<_>>();
    if names(found) != names(expected) {
        return Some(format!("its names are {:?}, those expected {:?}", names(found), names(expected)));
    }
    found.iter().zip(expected).find_map(|(found, expected)| {
        let what = if found.kind != expected.kind {
            format!("is {:?}, expected {:?}", found.kind, expected.kind)
        } else if found.attrs != expected.attrs {
            format!("has {:?}, expected {:?}", found.attrs, expected.attrs)
        } else if found.data != expected.data {
            let at = found.data.iter().zip(expected.data.iter()).position(|(found, expected)| found != expected);
            format!("has {} bytes, expected {}, the first that differs at {at:?}", found.data.len(), expected.data.len())
        } else if found.first != expected.first {
            format!("is the same object as {:?}, expected {:?}", found.first, expected.first)
        } else {
            return None;
        };
        Some(format!("{:?} {what}", found.path))
    })
}
