use proptest::prelude::*;

use super::*;

fn store(group: &str, name: &str) -> Store {
    Store { group: group.into(), name: name.into(), file: format!("E:\\data\\{group}\\{name}.edb"), is_public: false }
}

fn stores(names: &[(&str, &str)]) -> Vec<Store> {
    names.iter().map(|(group, name)| store(group, name)).collect()
}

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn pairs(source: &[Store], target: &[Store], texts: &[&str]) -> Vec<(usize, usize)> {
    let pairing = pair(source, target, &rules(texts)).unwrap();
    assert_eq!(pairing.unpaired, [], "{texts:?}");
    pairing.pairs
}

/// What is refused, and that the rules it proposes settle it.
fn refused(source: &[Store], target: &[Store], texts: &[&str]) -> Refused {
    let refused = pair(source, target, &rules(texts)).unwrap_err();
    if !refused.settle.is_empty() {
        pair(source, target, &refused.settle).unwrap();
    }
    refused
}

#[test]
fn documented_cases() {
    let source = stores(&[("Indy", "Sales"), ("Boston", "Sales")]);
    let same = stores(&[("Boston", "Sales"), ("Indy", "Sales")]);
    let backup = stores(&[("Indy_Bkup", "Sales"), ("Boston_Bkup", "Sales")]);
    // (a)
    let clash = refused(&source, &backup, &[]);
    assert_eq!(clash.clashes.len(), 2);
    assert_eq!(clash.clashes[0].1.as_ref().unwrap().to_string(), "Indy,Sales:Indy_Bkup,Sales");
    assert_eq!(clash.settle, rules(&["Indy,Sales:Indy_Bkup,Sales", "Boston,Sales:Boston_Bkup,Sales"]));
    assert_eq!(refused(&source, &same, &[]).settle, [Rule::default()]);
    // (b)
    assert_eq!(pairs(&source, &same, &[""]), [(0, 1), (1, 0)]);
    // (c)
    assert_eq!(pairs(&source, &backup, &["Indy:Indy_Bkup", "Boston:Boston_Bkup"]), [(0, 0), (1, 1)]);
    // (d)
    let written = ["Indy, Sales:Indy_Bkup, Sales", "Boston, Sales:Boston_Bkup, Sales"];
    assert_eq!(pairs(&source, &backup, &written), [(0, 0), (1, 1)]);
    // (e)
    let source = stores(&[("Sales", "Inside"), ("Sales", "Outside")]);
    let target = stores(&[("Indy_Sales", "Outside"), ("Indy_Sales", "Inside")]);
    let written = ["Sales, Inside:Indy_Sales, Inside", "Sales, Outside:Indy_Sales, Outside"];
    assert_eq!(pairs(&source, &target, &written), [(0, 1), (1, 0)]);
    // (f)
    assert_eq!(pairs(&source, &target, &["Sales:Indy_Sales"]), [(0, 1), (1, 0)]);
    // No rule is needed there.
    assert_eq!(pairs(&source, &target, &[]), [(0, 1), (1, 0)]);
}

#[test]
fn parts_that_are_not_given() {
    let source = stores(&[("First Storage Group", "Mail"), ("Second", "More"), ("Second", "Last")]);
    let target = stores(&[("First Storage Group", "Mail"), ("Second", "More"), ("Second", "Last")]);
    let all = [(0, 0), (1, 1), (2, 2)];
    assert_eq!(pairs(&source, &target, &["first storage group", "SECOND:"]), all);
    assert_eq!(pairs(&source, &target, &["First Storage Group,mail", "Second"]), all);
    assert_eq!(pairs(&source, &target, &[",Mail:,Mail", ",MORE", ",Last:Second"]), all);
    assert_eq!(pairs(&source, &target, &[":", ",Mail"]), all);
}

#[test]
fn the_more_a_rule_says_the_more_it_counts() {
    let source = stores(&[("A", "x"), ("A", "y")]);
    let mut target = stores(&[("A", "x"), ("A", "y"), ("B", "x"), ("B", "z")]);
    target[3].file = "z:/a/Y.EDB".into();
    assert_eq!(pairs(&source, &target, &["A,y:B,z", ""]), [(0, 0), (1, 3)]);
    assert_eq!(pairs(&source, &target, &["A:B", "A,y:B,z"]), [(0, 2), (1, 3)]);
    assert_eq!(pairs(&source, &target, &[",x:B", ""]), [(0, 2), (1, 1)]);
    // Of two that say as much, the later one.
    assert_eq!(pairs(&source, &target, &["A,x:B,x", "A,x:A,x", ""]), [(0, 0), (1, 1)]);
}

#[test]
fn stores_that_no_rule_pairs_are_told_and_left() {
    let source = stores(&[("A", "x"), ("B", "y"), ("A", "extra")]);
    let target = stores(&[("A", "x"), ("B", "y")]);
    let pairing = pair(&source, &target, &rules(&["A"])).unwrap();
    assert_eq!(pairing.pairs, [(0, 0)]);
    assert_eq!(pairing.unpaired.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn refusals() {
    let source = stores(&[("A", "x"), ("B", "x")]);
    let target = stores(&[("A", "x"), ("B", "x")]);
    let says = |source: &[Store], target: &[Store], texts: &[&str], word: &str| {
        let text = refused(source, target, texts).to_string();
        assert!(text.contains(word), "{text}");
    };
    says(&source, &target, &["C"], "nothing of that name");
    says(&source, &target, &["A:C"], "no store that the rule");
    says(&source, &target, &["A,x:A,z"], "no store that the rule");
    says(&source, &target, &[",x"], "name the group");
    says(&source, &target, &["A,x:B,x", "B,x"], "another store leads to");
    says(&source[..1], &target, &[",x"], "leads to \"A, x\" and \"B, x\"");
    let mut other = target.clone();
    other[1].file = "other.edb".into();
    says(&source, &other, &[""], "has another file, other.edb");
    assert_eq!(refused(&source, &other, &[""]).settle, []);
    says(&source[..1], &other[1..], &[], "no store of the target has");
    other[0].is_public = true;
    says(&source[..1], &other, &[], "is a public store");
}

#[test]
fn a_public_store_may_have_no_counterpart() {
    let mut source = stores(&[("A", "x"), ("A", "pub")]);
    source[1].is_public = true;
    let pairing = pair(&source, &source[..1], &[]).unwrap();
    assert_eq!((pairing.pairs, pairing.unpaired.len()), (vec![(0, 0)], 1));
}

#[test]
fn names_with_signs_of_the_grammar() {
    let rule: Rule = r#" "Sales, Inside" , a\:b : C\,D , "x""y" "#.parse().unwrap();
    assert_eq!(rule.source, Side { group: Some("Sales, Inside".into()), store: Some("a:b".into()) });
    assert_eq!(rule.target, Side { group: Some("C,D".into()), store: Some("xy".into()) });
    for text in ["a:b:c", "a,b,c", "a:b,c,d", "\"a"] {
        assert!(text.parse::<Rule>().is_err(), "{text}");
    }
    for (text, expected) in [("a,", true), ("a, b:c, ", true), ("a", false), (r"a\,", false), ("\"a,", false), ("a,b", false)] {
        assert_eq!(rule::is_unfinished(text), expected, "{text}");
    }
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![Just(','), Just(':'), Just('"'), Just('\\'), Just(' '), proptest::char::range('a', 'e')],
        1..6,
    )
    .prop_map(|chars| chars.into_iter().collect::<String>())
    .prop_filter("names have no blanks around them", |name| name.trim() == name && !name.is_empty())
}

fn some_stores() -> impl Strategy<Value = Vec<Store>> {
    let one = ("[ab]", "[abc]", "[abc]", proptest::bool::weighted(0.1)).prop_map(|(group, name, file, is_public)| Store {
        group,
        name,
        file: format!("{file}.edb"),
        is_public,
    });
    proptest::collection::vec(one, 0..5).prop_map(|mut stores| {
        stores.sort_by(|a, b| (&a.group, &a.name).cmp(&(&b.group, &b.name)));
        stores.dedup_by(|a, b| a.group == b.group && a.name == b.name);
        stores
    })
}

fn side() -> impl Strategy<Value = Side> {
    (proptest::option::of("[ab]"), proptest::option::of("[abc]")).prop_map(|(group, store)| Side { group, store })
}

fn some_rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec((side(), side()).prop_map(|(source, target)| Rule { source, target }), 0..4)
}

proptest! {
    #[test]
    fn a_printed_rule_is_read_again(names in proptest::array::uniform4(proptest::option::of(name()))) {
        let [group, store, to_group, to_store] = names;
        let rule = Rule { source: Side { group, store }, target: Side { group: to_group, store: to_store } };
        prop_assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
    }

    /// Whatever the rules: pairs are one to one, of equal files and kinds; every store is paired, left with a reason, or stands in a clash.
    #[test]
    fn every_pairing_is_sound(source in some_stores(), target in some_stores(), rules in some_rules()) {
        match pair(&source, &target, &rules) {
            Ok(pairing) => {
                for (ours, theirs) in &pairing.pairs {
                    prop_assert_eq!(source[*ours].file_name(), target[*theirs].file_name());
                    prop_assert_eq!(source[*ours].is_public, target[*theirs].is_public);
                }
                let mut theirs: Vec<usize> = pairing.pairs.iter().map(|pair| pair.1).collect();
                theirs.sort_unstable();
                theirs.dedup();
                prop_assert_eq!(theirs.len(), pairing.pairs.len());
                let mut ours: Vec<usize> = pairing.pairs.iter().map(|pair| pair.0).chain(pairing.unpaired.iter().map(|left| left.0)).collect();
                ours.sort_unstable();
                prop_assert_eq!(ours, (0..source.len()).collect::<Vec<_>>());
            }
            Err(refused) => {
                prop_assert!(!refused.clashes.is_empty());
                if !refused.settle.is_empty() {
                    let settled = pair(&source, &target, &refused.settle);
                    prop_assert!(settled.is_ok(), "{:?}", settled);
                    prop_assert!(settled.unwrap().unpaired.iter().all(|(at, _)| source[*at].is_public));
                }
            }
        }
    }
}
