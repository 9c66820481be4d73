//! The dirty set against a naive model: a list of everything that was ever noted.

use proptest::prelude::*;
use standin_config::{Effect, Rule};

use super::*;

fn at(root: u16, path: &str) -> Position {
    Position { root: RootIndex(root), path: RelPath::new(path).unwrap() }
}

fn object(path: &str) -> Scope {
    Scope { at: at(0, path), depth: Depth::Object }
}

fn subtree(path: &str) -> Scope {
    Scope { at: at(0, path), depth: Depth::Subtree }
}

fn dirty(limit: usize) -> Dirty {
    Dirty::new(vec![Rules::everything(); 2], limit)
}

fn shown(taken: &Taken) -> Vec<String> {
    let depth = |depth| if depth == Depth::Subtree { "/**" } else { "" };
    taken.scopes.iter().map(|scope| format!("{}:{}{}", scope.at.root.0, scope.at.path, depth(scope.depth))).collect()
}

fn covers(taken: &Taken, wanted: &Scope) -> bool {
    taken.scopes.iter().any(|scope| match scope.depth {
        Depth::Object => scope == wanted,
        Depth::Subtree => scope.at.root == wanted.at.root && wanted.at.path.starts_with(&scope.at.path),
    })
}

#[test]
fn a_subtree_swallows_what_lies_beneath() {
    let mut dirty = dirty(100);
    let now = Instant::now();
    for scope in [object("a/b/c"), object("a-b"), object("a"), object("a/b"), subtree("a/b"), object("a/b/d"), object("a/c")] {
        dirty.note(scope, now);
    }
    dirty.note(Scope { at: at(1, ""), depth: Depth::Object }, now);
    assert_eq!(shown(&dirty.contents()), ["0:a", "0:a/b/**", "0:a/c", "0:a-b", "1:."]);
    dirty.note(subtree(""), now);
    assert_eq!(shown(&dirty.take()), ["0:./**", "1:."]);
    assert!(dirty.is_empty() && dirty.take().is_empty());
    assert_eq!(dirty.seen(), 9);
}

#[test]
fn times_and_counts_are_those_of_what_was_not_taken() {
    let start = Instant::now();
    let second = |n| start + Duration::from_secs(n);
    let mut dirty = dirty(100);
    assert_eq!((dirty.age(start), dirty.quiet_for(start)), (None, None));
    dirty.note(object("a"), second(1));
    dirty.note(object("a"), second(3));
    assert_eq!((dirty.age(second(5)), dirty.quiet_for(second(5))), (Some(Duration::from_secs(4)), Some(Duration::from_secs(2))));
    let taken = dirty.take();
    assert_eq!((taken.oldest, taken.newest, taken.changes), (Some(second(1)), Some(second(3)), 2));
    dirty.note(object("b"), second(6));
    let seen = dirty.seen();
    dirty.put_back(taken);
    assert_eq!((dirty.age(second(7)), dirty.quiet_for(second(7))), (Some(Duration::from_secs(6)), Some(Duration::from_secs(1))));
    assert_eq!((dirty.changes(), dirty.seen(), dirty.len()), (3, seen, 2));
}

#[test]
fn when_all_is_lost_each_root_is_looked_at() {
    let mut dirty = dirty(100);
    let now = Instant::now();
    dirty.note(object("a"), now);
    dirty.lose(now, "first reason");
    dirty.lose(now, "second reason");
    dirty.note(object("b"), now);
    let taken = dirty.take();
    assert_eq!(shown(&taken), ["0:./**", "1:./**"]);
    assert_eq!((taken.whole.as_deref(), taken.changes), (Some("first reason"), 4));
    dirty.note(object("c"), now);
    dirty.put_back(taken.clone());
    assert_eq!(dirty.take().scopes, taken.scopes);
}

#[test]
fn crowded_and_deep_directories_are_coarsened_first() {
    let mut dirty = dirty(20);
    let now = Instant::now();
    (0..12).for_each(|n| dirty.note(object(&format!("crowd/{n:02}")), now));
    (0..8).for_each(|n| dirty.note(object(&format!("deep/er/{}/x", n / 2 * 2 + n % 2 * 100)), now));
    assert_eq!(dirty.len(), 20);
    dirty.note(object("one/more"), now);
    assert_eq!(dirty.len(), 10);
    assert!(shown(&dirty.contents()).contains(&"0:crowd/**".to_owned()));
    assert!(shown(&dirty.contents()).contains(&"0:deep/er/0/x".to_owned()));
}

#[test]
fn lone_changes_in_many_directories_are_coarsened_too() {
    let mut dirty = dirty(10);
    for n in 0..1000 {
        dirty.note(object(&format!("{n}/in/side")), Instant::now());
        assert!(dirty.len() <= 10);
    }
    assert_eq!(shown(&dirty.take()), ["0:./**"]);
}

#[test]
fn what_is_not_replicated_is_no_change() {
    let rule = |effect, pattern: &str, recurse| Rule { effect, pattern: pattern.to_owned(), recurse };
    let rules = [
        rule(Effect::Exclude, "cache", true),
        rule(Effect::Exclude, "*.tmp", false),
        rule(Effect::Include, "cache/keep/**", false),
    ];
    let mut dirty = Dirty::new(vec![Rules::new(&rules).unwrap()], 100);
    let now = Instant::now();
    for scope in [object(".standin/1-1"), subtree(".standin")] {
        dirty.note(scope.clone(), now);
        assert!(dirty.is_empty(), "{scope:?}");
    }
    dirty.note(Scope { at: at(7, "a"), depth: Depth::Object }, now);
    assert_eq!((dirty.seen(), dirty.age(now)), (0, None));
    // Of the directories that they are in, the time may have changed.
    for scope in [object("cache"), object("a.tmp")] {
        dirty.note(scope, now);
        assert_eq!(shown(&dirty.take()), ["0:."]);
    }
    for scope in [object("cache/x"), subtree("cache/x")] {
        dirty.note(scope, now);
        assert_eq!(shown(&dirty.take()), ["0:cache"]);
    }
    dirty.note_directory(at(0, "cache"), now);
    dirty.note_directory(at(0, "cache/x"), now);
    for scope in [object("cache/keep/x"), subtree("cache/keep"), object("a")] {
        dirty.note(scope, now);
    }
    assert_eq!(shown(&dirty.take()), ["0:a", "0:cache", "0:cache/keep/**"]);
    dirty.note(subtree("cache"), now);
    assert!(!dirty.is_empty(), "something beneath is included");
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let path = proptest::collection::vec(0u8..4, 0..6).prop_map(|parts| {
        let parts: Vec<_> = parts.iter().map(|part| format!("{part}")).collect();
        RelPath::new(parts.join("/")).unwrap()
    });
    let depth = prop_oneof![9 => Just(Depth::Object), 1 => Just(Depth::Subtree)];
    (0u16..2, path, depth).prop_map(|(root, path, depth)| Scope { at: Position { root: RootIndex(root), path }, depth })
}

fn assert_well_formed(taken: &Taken, limit: usize) {
    assert!(taken.scopes.len() <= limit.max(2));
    assert!(taken.scopes.is_sorted_by(|a, b| a.at < b.at), "{:?}", shown(taken));
    for above in taken.scopes.iter().filter(|scope| scope.depth == Depth::Subtree) {
        let beneath = |scope: &&Scope| scope.at.root == above.at.root && scope.at.path.starts_with(&above.at.path);
        assert_eq!(taken.scopes.iter().filter(beneath).count(), 1, "{:?}", shown(taken));
    }
}

proptest! {
    #[test]
    fn nothing_noted_is_ever_lost(
        scopes in proptest::collection::vec(any_scope(), 0..120),
        limit in 1usize..40,
        cut in any::<prop::sample::Index>(),
    ) {
        let now = Instant::now();
        let mut dirty = dirty(limit);
        let cut = cut.index(scopes.len() + 1);
        for (index, scope) in scopes.iter().enumerate() {
            if index == cut {
                let before = dirty.contents();
                let taken = dirty.take();
                prop_assert_eq!(&before, &taken);
                prop_assert!(dirty.is_empty());
                dirty.put_back(taken);
                prop_assert_eq!(&before, &dirty.contents());
            }
            dirty.note(scope.clone(), now);
            prop_assert_eq!(dirty.seen(), index as u64 + 1);
            let contents = dirty.contents();
            assert_well_formed(&contents, limit);
            for noted in &scopes[..=index] {
                prop_assert!(covers(&contents, noted), "{noted:?} is not in {:?}", shown(&contents));
            }
        }
    }

    #[test]
    fn a_round_that_failed_is_not_forgotten(
        first in proptest::collection::vec(any_scope(), 0..60),
        second in proptest::collection::vec(any_scope(), 0..60),
        limit in 1usize..40,
    ) {
        let now = Instant::now();
        let mut dirty = dirty(limit);
        first.iter().for_each(|scope| dirty.note(scope.clone(), now));
        let taken = dirty.take();
        second.iter().for_each(|scope| dirty.note(scope.clone(), now));
        dirty.put_back(taken);
        let contents = dirty.take();
        assert_well_formed(&contents, limit);
        prop_assert_eq!(contents.changes, (first.len() + second.len()) as u64);
        for noted in first.iter().chain(&second) {
            prop_assert!(covers(&contents, noted));
        }
    }

    /// Without a bound, exactly what was noted is looked at, no more.
    #[test]
    fn nothing_is_made_up(scopes in proptest::collection::vec(any_scope(), 0..60)) {
        let mut dirty = dirty(1000);
        scopes.iter().for_each(|scope| dirty.note(scope.clone(), Instant::now()));
        for scope in dirty.take().scopes {
            prop_assert!(scopes.contains(&scope));
        }
    }
}
