//! Which objects of a root are replicated: include and exclude rules, of which the most specific wins.
//!
//! A rule holds for the objects that its pattern matches, and with `recurse` for everything beneath them, too. Of the rules that hold for
//! an object, that one decides which matches deepest (the object itself before its directory, that before the one above), then the
//! one with more characters that are no wildcards, then the later one. Where none holds, the object is included, and the root always is.
//!
//! A directory that is excluded, but holds something included, is replicated all the same, as the way to it.

use globset::{Candidate, GlobSet, GlobSetBuilder};
use standin_common::path::RelPath;
use standin_config::{Effect, Rule, Set, compile_pattern};

/// Characters that mean something in a pattern.
const SPECIAL: &[char] = &['*', '?', '[', ']', '{', '}', '\\'];

/// The rules of one root.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    patterns: GlobSet,
}

/// What the rules say of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is replicated.
    pub included: bool,
    /// The number of the rule that decided; `None` if none holds for it.
    pub rule: Option<usize>,
}

/// How well a rule fits an object: depth of what it matches, literal characters, number.
type Fit = (usize, usize, usize);

impl Rules {
    /// Errors: a pattern is not a glob.
    pub fn new(rules: &[Rule]) -> Result<Self, globset::Error> {
        let mut patterns = GlobSetBuilder::new();
        for rule in rules {
            patterns.add(compile_pattern(&rule.pattern)?);
        }
        Ok(Self { rules: rules.to_vec(), patterns: patterns.build()? })
    }

    /// The rules of each root of a set.
    pub fn of(set: &Set) -> Result<Vec<Self>, globset::Error> {
        set.roots.iter().map(|root| Self::new(&root.rules)).collect()
    }

    /// No rules: everything is included.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether an object is replicated, and why.
    pub fn judge(&self, path: &RelPath) -> Verdict {
        if self.rules.is_empty() || path.is_root() {
            return Verdict { included: true, rule: None };
        }
        let direct = self.best(path, path.depth(), |_| true);
        self.verdict(direct.max(self.inherited(path.parent())))
    }

    /// Whether anything beneath a directory may be included; `false` only if nothing can.
    pub fn may_include_beneath(&self, directory: &RelPath) -> bool {
        self.verdict(self.inherited(Some(directory.clone()))).included
            || self.rules.iter().any(|rule| rule.effect == Effect::Include && may_match_beneath(&rule.pattern, directory))
    }

    /// Whether an object is in the replica: it is included, or the way to something that may be.
    pub fn keeps(&self, path: &RelPath, is_directory: bool) -> bool {
        self.judge(path).included || is_directory && self.may_include_beneath(path)
    }

    /// Whether anything beneath a directory that is included may be left out; `false` only if nothing can.
    pub fn may_exclude_beneath(&self, directory: &RelPath) -> bool {
        self.rules.iter().any(|rule| rule.effect == Effect::Exclude && may_match_beneath(&rule.pattern, directory))
    }

    /// The recursive rule that fits best what lies beneath a directory and no pattern matches.
    fn inherited(&self, mut directory: Option<RelPath>) -> Option<Fit> {
        let mut best = None;
        while let Some(path) = directory.filter(|path| !path.is_root()) {
            best = best.max(self.best(&path, path.depth(), |rule| rule.recurse));
            if best.is_some() {
                // Whatever matches further up is less specific.
                return best;
            }
            directory = path.parent();
        }
        best
    }

    /// Of the rules whose pattern matches `path`, that which fits best.
    fn best(&self, path: &RelPath, depth: usize, counts: impl Fn(&Rule) -> bool) -> Option<Fit> {
        let matching = self.patterns.matches_candidate(&Candidate::from_bytes(path.as_bytes()));
        let counting = matching.into_iter().filter(|index| counts(&self.rules[*index]));
        counting.map(|index| (depth, literals(&self.rules[index].pattern), index)).max()
    }

    fn verdict(&self, fit: Option<Fit>) -> Verdict {
        let rule = fit.map(|(_, _, rule)| rule);
        Verdict { included: rule.is_none_or(|rule| self.rules[rule].effect == Effect::Include), rule }
    }
}

fn literals(pattern: &str) -> usize {
    pattern.chars().filter(|c| !SPECIAL.contains(c)).count()
}

/// Whether a pattern may match something beneath a directory; in doubt, yes.
fn may_match_beneath(pattern: &str, directory: &RelPath) -> bool {
    // Classes and choices may hold slashes, which do not part components then.
    if pattern.contains(['[', '{', '\\']) {
        return true;
    }
    let mut components = pattern.split('/');
    for name in directory.components() {
        match components.next() {
            Some(component) if component.contains("**") => return true,
            Some(component) if component.contains(['*', '?']) || component.as_bytes() == name => {}
            _ => return false,
        }
    }
    components.next().is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> Rule {
        let (effect, rest) = text.split_at(1);
        let effect = if effect == "+" { Effect::Include } else { Effect::Exclude };
        let recurse = rest.ends_with('!');
        Rule { effect, pattern: rest.trim_end_matches('!').to_owned(), recurse }
    }

    fn rules(texts: &[&str]) -> Rules {
        Rules::new(&texts.iter().map(|text| rule(text)).collect::<Vec<_>>()).unwrap()
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[track_caller]
    fn check(texts: &[&str], included: &[&str], excluded: &[&str]) {
        let rules = rules(texts);
        included.iter().for_each(|name| assert!(rules.judge(&path(name)).included, "{name} by {texts:?}"));
        excluded.iter().for_each(|name| assert!(!rules.judge(&path(name)).included, "{name} by {texts:?}"));
    }

    #[test]
    fn the_most_specific_rule_wins() {
        check(&[], &["a", "a/b"], &[]);
        check(&["-*.tmp"], &["a", "d/a.tmp"], &["a.tmp"]);
        check(&["-**/*.tmp", "+keep/*.tmp"], &["keep/a.tmp", "x"], &["a.tmp", "d/a.tmp", "keep/d/a.tmp"]);
        check(&["-cache!", "+cache/keep!"], &["cache/keep", "cache/keep/x", "cachet"], &["cache", "cache/x", "cache/x/y"]);
        // Without recurse it is the object alone.
        check(&["-cache"], &["cache/x"], &["cache"]);
        // As deep: more letters; as many: the later one.
        check(&["+*.eml", "-spam*"], &["a.eml"], &["spam.txt"]);
        check(&["-a*", "+*a"], &["aa"], &["ab"]);
        check(&["+*a", "-a*"], &["ba"], &["aa"]);
    }

    #[test]
    fn the_deciding_rule_is_named() {
        let rules = rules(&["-cache!", "+cache/keep"]);
        assert_eq!(rules.judge(&path("cache/x")), Verdict { included: false, rule: Some(0) });
        assert_eq!(rules.judge(&path("cache/keep")), Verdict { included: true, rule: Some(1) });
        assert_eq!(rules.judge(&path("x")), Verdict { included: true, rule: None });
        assert_eq!(rules.judge(&RelPath::root()), Verdict { included: true, rule: None });
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_matched() {
        let odd = RelPath::new(b"\xff.tmp".to_vec()).unwrap();
        assert!(!rules(&["-*.tmp"]).judge(&odd).included);
        assert!(rules(&["-a*"]).judge(&odd).included);
    }

    #[test]
    fn nothing_is_walked_in_vain_where_nothing_can_be_included() {
        assert!(!rules(&["-cache!"]).may_include_beneath(&path("cache")));
        assert!(!rules(&["-cache!", "+store/*.edb"]).may_include_beneath(&path("cache/x")));
        assert!(rules(&["-cache!", "+cache/keep"]).may_include_beneath(&path("cache")));
        assert!(rules(&["-cache!", "+**/*.edb"]).may_include_beneath(&path("cache/a")));
        assert!(rules(&["-cache"]).may_include_beneath(&path("cache")));
    }

    proptest! {
        #[test]
        fn beneath_is_never_wrongly_given_up(
            texts in prop::collection::vec("[+-](a|b|\\*|\\*\\*|a/b|a/\\*|\\*/b|\\*\\*/a|a/\\*\\*|a/b/a|\\{a,b/a\\})!?", 0..5),
            name in "[ab](/[ab]){1,4}",
        ) {
            let rules = Rules::new(&texts.iter().map(|text| rule(text)).collect::<Vec<_>>()).unwrap();
            if rules.judge(&path(&name)).included {
                let mut above = path(&name).parent();
                while let Some(directory) = above.filter(|directory| !directory.is_root()) {
                    prop_assert!(rules.may_include_beneath(&directory), "{:?} is included beneath {:?}", name, directory);
                    above = directory.parent();
                }
            }
        }
    }
}
