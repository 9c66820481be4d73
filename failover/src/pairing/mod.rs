//! Which store of the target takes the place of which store of the source. Pure.
//!
//! Without rules stores pair by the names of their database files; with rules (`-r`) only by them. In every pair the two file names,
//! without their paths, are equal, because the replicated file is opened under the target's store.

mod clash;
mod rule;
#[cfg(test)]
mod tests;

pub use clash::{Clash, ClashKind, Refused};
pub(crate) use rule::is_unfinished;
pub use rule::{Rule, RuleError, Side};

/// A store as pairing sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The name of its storage group.
    pub group: String,
    /// Its own name.
    pub name: String,
    /// Its database file, with or without a path.
    pub file: String,
    /// Whether it holds public folders.
    pub is_public: bool,
}

impl Store {
    /// The database file's name without its path, folded so that it can be compared.
    pub fn file_name(&self) -> String {
        fold(base_name(&self.file))
    }
}

/// The last part of a path of either system.
pub fn base_name(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}

/// Names are the same without regard to case.
fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Who takes whose place. Numbers are places in the lists that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairing {
    /// Source's store, target's store, in the source's order.
    pub pairs: Vec<(usize, usize)>,
    /// Stores of the source that have no counterpart, and why. A run goes on without them only if it is told so.
    pub unpaired: Vec<(usize, String)>,
}

/// Pairs stores by the names of their files (no rules), or by the rules alone.
///
/// Where several rules name a store, the one that says more counts (a store more than a group), then the later one.
///
/// # Errors
/// [`Refused`] lists every clash with the `-r` that would settle it.
pub fn pair(source: &[Store], target: &[Store], rules: &[Rule]) -> Result<Pairing, Refused> {
    let (pairing, clashes) = attempt(source, target, rules);
    if clashes.is_empty() { Ok(pairing) } else { Err(Refused::new(source, target, clashes)) }
}

/// The pairing, and what stands against it.
fn attempt(source: &[Store], target: &[Store], rules: &[Rule]) -> (Pairing, Vec<Clash>) {
    let (pairing, mut clashes) = if rules.is_empty() { by_file(source, target) } else { by_rules(source, target, rules) };
    clashes.extend(taken_twice(source, target, &pairing));
    (pairing, clashes)
}

fn by_file(source: &[Store], target: &[Store]) -> (Pairing, Vec<Clash>) {
    let (mut pairing, mut clashes) = (Pairing::default(), Vec::new());
    let having =
        |stores: &[Store], file: &str| -> Vec<usize> { (0..stores.len()).filter(|at| stores[*at].file_name() == file).collect() };
    for (at, store) in source.iter().enumerate() {
        let file = store.file_name();
        let (ours, theirs) = (having(source, &file), having(target, &file));
        match (ours.as_slice(), theirs.as_slice()) {
            ([_], [other]) if target[*other].is_public == store.is_public => pairing.pairs.push((at, *other)),
            ([_], [other]) => clashes.push(Clash::new(at, ClashKind::OtherKind(*other))),
            // A standby of several sources has no public store for each of them.
            (_, []) if store.is_public => pairing.unpaired.push((at, "the target has no public store with this file".to_owned())),
            (_, []) => clashes.push(Clash::new(at, ClashKind::NoFile)),
            _ => clashes.push(Clash::new(at, ClashKind::Ambiguous { source: ours, target: theirs })),
        }
    }
    (pairing, clashes)
}

fn by_rules(source: &[Store], target: &[Store], rules: &[Rule]) -> (Pairing, Vec<Clash>) {
    let (mut pairing, mut clashes) = (Pairing::default(), Vec::new());
    for rule in rules {
        let named = source.iter().filter(|store| rule.means(store)).count();
        if named == 0 && (rule.source.group.is_some() || rule.source.store.is_some()) {
            clashes.push(Clash::of_rule(rule, ClashKind::NamesNothing));
        }
        if named > 1 && rule.source.group.is_none() && rule.source.store.is_some() {
            clashes.push(Clash::of_rule(rule, ClashKind::SeveralOfThatName));
        }
    }
    for (at, store) in source.iter().enumerate() {
        let means = rules.iter().filter(|rule| rule.means(store));
        let Some(rule) = means.max_by_key(|rule| rule.specificity()) else {
            pairing.unpaired.push((at, "no rule names it".to_owned()));
            continue;
        };
        let found: Vec<usize> = (0..target.len()).filter(|other| rule.leads(store, &target[*other])).collect();
        match found.as_slice() {
            [other] if target[*other].is_public != store.is_public => clashes.push(Clash::new(at, ClashKind::OtherKind(*other))),
            [other] if target[*other].file_name() != store.file_name() => {
                clashes.push(Clash::new(at, ClashKind::OtherFile(*other)));
            }
            [other] => pairing.pairs.push((at, *other)),
            [] if rule.is_met_by_part(target, store) => {
                pairing.unpaired.push((at, format!("the target has no store that \"{rule}\" would pair with it")));
            }
            [] => clashes.push(Clash::new(at, ClashKind::NoTarget(rule.clone()))),
            several => clashes.push(Clash::new(at, ClashKind::SeveralTargets(rule.clone(), several.to_vec()))),
        }
    }
    (pairing, clashes)
}

/// Two stores of the source that lead to one of the target.
fn taken_twice(source: &[Store], target: &[Store], pairing: &Pairing) -> Vec<Clash> {
    let mut takers: Vec<Vec<usize>> = vec![Vec::new(); target.len()];
    for (ours, theirs) in &pairing.pairs {
        takers[*theirs].push(*ours);
    }
    debug_assert!(pairing.pairs.len() <= source.len());
    let twice = takers.into_iter().enumerate().filter(|(_, takers)| takers.len() > 1);
    twice.flat_map(|(at, takers)| takers.into_iter().map(move |ours| Clash::new(ours, ClashKind::TakenTwice(at)))).collect()
}
