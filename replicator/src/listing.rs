//! What would be replicated of a root, and why: every object beneath it with the rule that decided.

use std::io;

use standin_common::path::RelPath;

use crate::rules::{Rules, Verdict};
use crate::volume::{ObjectKind, Volume};
use crate::walk::{Walk, WalkError};

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is replicated.
    Included,
    /// It is excluded.
    Excluded,
    /// An excluded directory; nothing beneath it is looked at, for no rule includes anything there.
    ExcludedWithAll,
    /// An excluded directory that may hold something included, and is then replicated as the way to it.
    Way,
    /// It is of a kind that is never replicated, which the text names.
    Special(&'static str),
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where.
    pub path: RelPath,
    /// Bytes, of a file.
    pub size: u64,
    /// What becomes of it.
    pub fate: Fate,
    /// The number of the rule that decided, if one did.
    pub rule: Option<usize>,
}

/// Lists a root in the order of the walk; what cannot be read is an error between the others. `each` may end it with an error of its own.
pub fn list<V: Volume>(
    volume: &V,
    rules: &Rules,
    mut each: impl FnMut(Result<Listed, WalkError>) -> io::Result<()>,
) -> io::Result<()> {
    let everything = Rules::everything();
    let mut skipped: Option<RelPath> = None;
    for step in Walk::new(volume, None, &everything) {
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                each(Err(error))?;
                continue;
            }
        };
        if skipped.as_ref().is_some_and(|above| step.path.starts_with(above)) {
            continue;
        }
        let Verdict { included, rule } = rules.judge(&step.path);
        let fate = match step.object.kind {
            ObjectKind::Special(what) if included => Fate::Special(what),
            _ if included => Fate::Included,
            ObjectKind::Directory if rules.may_include_beneath(&step.path) => Fate::Way,
            ObjectKind::Directory => Fate::ExcludedWithAll,
            _ => Fate::Excluded,
        };
        if fate == Fate::ExcludedWithAll {
            skipped = Some(step.path.clone());
        }
        each(Ok(Listed { path: step.path, size: step.object.size, fate, rule }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use standin_config::{Effect, Rule};

    use super::*;
    use crate::sim::{Disk, SimVolume};
    use crate::volume::Place;

    #[test]
    fn every_object_is_listed_with_its_rule() {
        let volume = SimVolume::new(Disk::new(0));
        for directory in ["cache", "way"] {
            volume.make_directory(&RelPath::new(directory).unwrap()).unwrap();
        }
        for file in ["a.eml", "a.tmp", "cache/x", "way/keep", "way/other"] {
            volume.create(&Place::Tree(&RelPath::new(file).unwrap())).unwrap();
        }
        let rule = |effect, pattern: &str, recurse| Rule { effect, pattern: pattern.to_owned(), recurse };
        let rules = [
            rule(Effect::Exclude, "*.tmp", false),
            rule(Effect::Exclude, "cache", true),
            rule(Effect::Exclude, "way", true),
            rule(Effect::Include, "way/keep", false),
        ];
        let mut found = Vec::new();
        let listed = |listed: Result<Listed, WalkError>| {
            let listed = listed.unwrap();
            found.push((listed.path.to_string(), listed.fate, listed.rule));
            Ok(())
        };
        list(&volume, &Rules::new(&rules).unwrap(), listed).unwrap();
        let expected = [
            ("", Fate::Included, None),
            ("a.eml", Fate::Included, None),
            ("a.tmp", Fate::Excluded, Some(0)),
            ("cache", Fate::ExcludedWithAll, Some(1)),
            ("way", Fate::Way, Some(2)),
            ("way/keep", Fate::Included, Some(3)),
            ("way/other", Fate::Excluded, Some(2)),
        ];
        let found: Vec<_> = found.iter().map(|(path, fate, rule)| (path.trim_matches('.'), *fate, *rule)).collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected).skip(1) {
            assert_eq!(*found, expected);
        }
    }
}
