use proptest::prelude::*;

use super::*;

fn dn(text: &str) -> Dn {
    text.parse().unwrap()
}

#[test]
fn examples_of_the_rfc() {
    type Parts = [(&'static str, &'static str)];
    let cases: &[(&str, &[&Parts])] = &[
        ("UID=jsmith,DC=example,DC=net", &[&[("UID", "jsmith")], &[("DC", "example")], &[("DC", "net")]]),
        ("OU=Sales+CN=J.  Smith,DC=net", &[&[("OU", "Sales"), ("CN", "J.  Smith")], &[("DC", "net")]]),
        (r#"CN=James \"Jim\" Smith\, III,DC=net"#, &[&[("CN", r#"James "Jim" Smith, III"#)], &[("DC", "net")]]),
        (r"CN=Before\0dAfter,DC=net", &[&[("CN", "Before\rAfter")], &[("DC", "net")]]),
        ("1.3.6.1.4.1.1466.0=#04024869", &[&[("1.3.6.1.4.1.1466.0", "#04024869")]]),
        (r"CN=Lu\C4\8Di\C4\87", &[&[("CN", "Lučić")]]),
        (r#"CN="Smith, James" , DC=net"#, &[&[("CN", "Smith, James")], &[("DC", "net")]]),
        (r"CN=a\ ,DC=net", &[&[("CN", "a ")], &[("DC", "net")]]),
        (r"CN=gone\0ADEL:6f2b,CN=Deleted Objects", &[&[("CN", "gone\nDEL:6f2b")], &[("CN", "Deleted Objects")]]),
        ("", &[]),
    ];
    for (text, expected) in cases {
        let components: Vec<Rdn> = dn(text).components().collect();
        let found: Vec<Vec<(&str, &str)>> = components
            .iter()
            .map(|rdn| rdn.parts().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
            .collect();
        assert_eq!(found, *expected, "{text}");
        assert_eq!(dn(text).depth(), expected.len());
        assert_eq!(dn(text).as_str(), text.trim());
    }
}

#[test]
fn what_is_none() {
    for text in ["x", "CN=a,,DC=b", "CN=a,", r"CN=a\", r"CN=a\q", "=a", "C N=a", r"CN=\ff", r#"CN="a"#, r#"CN=a"b"c"#] {
        assert!(text.parse::<Dn>().is_err(), "{text}");
    }
}

#[test]
fn same_names_in_other_spelling() {
    assert_eq!(dn(r"cn=sales\2c  inside, dc=X"), dn(r"CN=Sales\, Inside,DC=x"));
    assert_eq!(dn("CN=ÄRGER,DC=x"), dn("cn=ärger,DC=x"));
    assert_eq!(dn("A=1+B=2"), dn("b=2 + a=1"));
    assert_ne!(dn("CN=EX1,DC=x"), dn("CN=EX10,DC=x"));
    assert_ne!(dn(r"CN=a\,CN\=b,DC=x"), dn("CN=a,CN=b,DC=x"));
}

#[test]
fn places() {
    let server = dn("CN=EX1,CN=Servers,DC=x");
    let store = dn("cn=Store , cn=ex1,CN=Servers,DC=x");
    assert!(store.is_beneath(&server) && store.is_within(&store) && !store.is_beneath(&store));
    assert!(!dn("CN=Store,CN=AEX1,CN=Servers,DC=x").is_within(&server));
    assert!(!dn("CN=a\\,CN=EX1,CN=Servers,DC=x").is_beneath(&server));
    assert_eq!(store.parent().unwrap().as_str(), "cn=ex1,CN=Servers,DC=x");
    assert_eq!(store.moved(&server, &dn("CN=EX2,DC=x")).unwrap().as_str(), "cn=Store,CN=EX2,DC=x");
    assert_eq!(server.moved(&store, &server), None);
    assert_eq!(server.with_name(&Rdn::cn("a, b")).as_str(), r"CN=a\, b,CN=Servers,DC=x");
    assert_eq!(dn("DC=x").parent(), Some(Dn::root()));
    assert_eq!(Dn::root().parent(), None);
}

fn value() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just(','),
            Just('='),
            Just(' '),
            Just('\\'),
            Just('"'),
            Just('+'),
            Just('#'),
            Just('ß'),
            any::<char>(),
            proptest::char::range('A', 'c')
        ],
        1..12,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

fn built(values: &[String]) -> Dn {
    values.iter().rev().fold(dn("DC=example,DC=com"), |place, value| place.child_cn(value))
}

proptest! {
    #[test]
    fn printed_is_read_again(values in proptest::collection::vec(value(), 1..5)) {
        let name = built(&values);
        let again: Dn = name.as_str().parse().unwrap();
        prop_assert_eq!(&again, &name);
        let found: Vec<String> = again.components().take(values.len()).map(|rdn| rdn.value().to_owned()).collect();
        prop_assert_eq!(found, values);
        let json = serde_json::to_string(&name).unwrap();
        let read: Dn = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(read.as_str(), name.as_str());
    }

    /// Moving changes only the components that were meant, and back again gives the same.
    #[test]
    fn moved_there_and_back(own in proptest::collection::vec(value(), 0..4), from in value(), to in value()) {
        let place = |name: &String| dn("CN=Servers,DC=x").child_cn(name);
        let object = own.iter().rev().fold(place(&from), |place, name| place.child_cn(name));
        let moved = object.moved(&place(&from), &place(&to)).unwrap();
        prop_assert_eq!(moved.depth(), object.depth());
        let differs: Vec<usize> = object.components().zip(moved.components()).enumerate().filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect();
        prop_assert!(differs.iter().all(|at| *at == own.len()), "{:?}", differs);
        prop_assert_eq!(moved.moved(&place(&to), &place(&from)).unwrap(), object);
    }

    #[test]
    fn nothing_makes_it_fall(text in ".{0,40}") {
        if let Ok(name) = text.parse::<Dn>() {
            prop_assert_eq!(name.components().count(), name.depth());
            let parent = name.parent();
            prop_assert_eq!(parent.is_some(), name.depth() > 0);
            if let Some(parent) = parent {
                let again: Dn = parent.as_str().parse().unwrap();
                prop_assert_eq!(again, parent);
            }
        }
    }
}
