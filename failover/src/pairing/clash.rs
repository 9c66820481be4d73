//! What stands against a pairing, and the rules that would settle it.

use std::fmt;

use super::{Rule, Store};

/// A pairing that was refused before anything was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// What stands against it, ready to be read, with the rule that would settle it.
    pub clashes: Vec<(String, Option<Rule>)>,
    /// Rules that settle all: those of the clashes, and those for the stores that would pair without. Once there are rules, only rules
    /// count. Empty where rules can not settle it, as a store's file is not on the target, or is there of another kind.
    pub settle: Vec<Rule>,
}

/// One thing that stands against a pairing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    store: Option<usize>,
    rule: Option<Rule>,
    kind: ClashKind,
}

/// What it is. Numbers are places in the lists of stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClashKind {
    /// The file's name is there several times, here or there.
    Ambiguous {
        /// Stores of the source that have it.
        source: Vec<usize>,
        /// Stores of the target that have it.
        target: Vec<usize>,
    },
    /// No store of the target has the file's name.
    NoFile,
    /// One of the two is public, the other private.
    OtherKind(usize),
    /// The rule leads to a store with a file of another name.
    OtherFile(usize),
    /// The rule leads to a store that is not there.
    NoTarget(Rule),
    /// The rule leads to several stores.
    SeveralTargets(Rule, Vec<usize>),
    /// The rule names something that the source does not have.
    NamesNothing,
    /// The rule names a store without its group, and several groups have one.
    SeveralOfThatName,
    /// Two stores of the source lead to this one.
    TakenTwice(usize),
}

impl Clash {
    pub(super) fn new(store: usize, kind: ClashKind) -> Self {
        Self { store: Some(store), rule: None, kind }
    }

    pub(super) fn of_rule(rule: &Rule, kind: ClashKind) -> Self {
        Self { store: None, rule: Some(rule.clone()), kind }
    }
}

impl Refused {
    pub(super) fn new(source: &[Store], target: &[Store], clashes: Vec<Clash>) -> Self {
        let matched = match_up(source, target);
        let rule = |at: usize| matched[at].map(|other| Rule::exactly(&source[at], &target[other]));
        let clashes = clashes.iter().map(|clash| (said(clash, source, target), clash.store.and_then(rule))).collect();
        let exact: Vec<Rule> = (0..source.len()).filter_map(rule).collect();
        // The shorter one first; whatever is proposed was tried.
        let settle = [vec![Rule::default()], exact].into_iter().find(|rules| settles(source, target, rules)).unwrap_or_default();
        Self { clashes, settle }
    }
}

/// Whether the rules pair every store but public ones, for which there may be none.
fn settles(source: &[Store], target: &[Store], rules: &[Rule]) -> bool {
    let (pairing, clashes) = super::attempt(source, target, rules);
    !rules.is_empty() && clashes.is_empty() && pairing.unpaired.iter().all(|(at, _)| source[*at].is_public)
}

/// For each store of the source the store of the target that is most likely meant: equal file and kind, then the most alike in names;
/// each at most once.
fn match_up(source: &[Store], target: &[Store]) -> Vec<Option<usize>> {
    let mut likely: Vec<(u8, usize, usize)> = Vec::new();
    for (at, store) in source.iter().enumerate() {
        let files = target.iter().enumerate().filter(|(_, other)| other.file_name() == store.file_name());
        likely.extend(
            files.filter(|(_, other)| other.is_public == store.is_public).map(|(to, other)| (likeness(store, other), at, to)),
        );
    }
    likely.sort_by_key(|(likeness, at, to)| (std::cmp::Reverse(*likeness), *at, *to));
    let mut matched = vec![None; source.len()];
    for (_, at, to) in likely {
        if matched[at].is_none() && !matched.contains(&Some(to)) {
            matched[at] = Some(to);
        }
    }
    matched
}

fn likeness(one: &Store, other: &Store) -> u8 {
    let (group, others) = (super::fold(&one.group), super::fold(&other.group));
    let group = match () {
        () if group == others => 4,
        () if !group.is_empty() && others.contains(&group) || !others.is_empty() && group.contains(&others) => 2,
        () => 0,
    };
    group + u8::from(super::fold(&one.name) == super::fold(&other.name))
}

fn said(clash: &Clash, source: &[Store], target: &[Store]) -> String {
    let name = |store: &Store| format!("{}, {}", store.group, store.name);
    let names = |stores: &[Store], places: &[usize]| -> String {
        let all: Vec<String> = places.iter().map(|at| format!("\"{}\"", name(&stores[*at]))).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(" and ") }
    };
    let store = clash.store.map(|at| &source[at]);
    let who = store.map(|store| format!("store \"{}\" ({})", name(store), super::base_name(&store.file))).unwrap_or_default();
    let rule = clash.rule.as_ref().map(|rule| format!("the rule -r {rule}")).unwrap_or_default();
    let kind = |store: &Store| if store.is_public { "public" } else { "private" };
    match &clash.kind {
        ClashKind::Ambiguous { source: ours, target: theirs } => format!(
            "{who}: the file's name does not tell which one is meant: on the source {}, on the target {}",
            names(source, ours),
            names(target, theirs)
        ),
        ClashKind::NoFile => format!("{who}: no store of the target has a database file of this name"),
        ClashKind::OtherKind(at) => format!("{who}: \"{}\" of the target is a {} store", name(&target[*at]), kind(&target[*at])),
        ClashKind::OtherFile(at) => {
            format!("{who}: \"{}\" of the target has another file, {}", name(&target[*at]), super::base_name(&target[*at].file))
        }
        ClashKind::NoTarget(rule) => format!("{who}: the target has no store that the rule -r {rule} means"),
        ClashKind::SeveralTargets(rule, places) => format!("{who}: the rule -r {rule} leads to {}", names(target, places)),
        ClashKind::NamesNothing => format!("{rule}: the source has nothing of that name"),
        ClashKind::SeveralOfThatName => format!("{rule}: several groups of the source have a store of that name; name the group"),
        ClashKind::TakenTwice(at) => format!("{who}: another store leads to \"{}\", too", name(&target[*at])),
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stores can not be paired")?;
        for (clash, rule) in &self.clashes {
            write!(f, "\n  {clash}")?;
            if let Some(rule) = rule {
                write!(f, "; -r \"{rule}\" would settle it")?;
            }
        }
        match self.settle.as_slice() {
            [] => f.write_str("\nrules alone do not settle this: give both stores the same file name and kind"),
            [rule] if *rule == Rule::default() => f.write_str("\n-r alone would settle all"),
            rules => {
                f.write_str("\nthese together would settle all:")?;
                rules.iter().try_for_each(|rule| write!(f, " -r \"{rule}\""))
            }
        }
    }
}
