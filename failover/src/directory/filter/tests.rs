use proptest::prelude::*;

use super::*;

fn mailbox() -> Entry {
    let mut entry = Entry::new("CN=Jürgen\\, A,OU=x,DC=y".parse().unwrap());
    let mut set = |name: &str, values: &[&str]| {
        entry.attributes.insert(name.into(), values.iter().map(|value| Value::from(*value)).collect());
    };
    set("objectClass", &["top", "person", "user"]);
    set("objectCategory", &["CN=Person,CN=Schema,CN=Configuration,DC=y"]);
    set("homeMDB", &[r"CN=Sales\, Inside,CN=EX1,DC=y"]);
    set("displayName", &["JÜRGEN"]);
    set("uSNChanged", &["1200"]);
    entry
}

#[test]
fn answers() {
    let entry = mailbox();
    let yes = [
        "(objectClass=USER)",
        "(&(objectCategory=person)(objectClass=user)(homeMDB=cn=sales\\5c2c inside, cn=ex1,dc=y))",
        "(homeMDB=CN=Sales\\5c, Inside,CN=EX1,DC=y)",
        "(displayName=jürgen)",
        "(displayName=J*R*en)",
        "(!(mail=*))",
        "(uSNChanged>=900)",
        "(uSNChanged<=1200)",
        "(&)",
        "(displayname=*)",
    ];
    let no = [
        "(objectClass=use)",
        "(homeMDB=CN=Sales,CN=EX1,DC=y)",
        "(displayName=J*x*)",
        "(displayName=jürg*gen)",
        "(uSNChanged>=2000)",
        "(|)",
        "(mail=*)",
        "(&(objectClass=user)(mail=*))",
    ];
    for text in yes {
        assert!(text.parse::<Filter>().unwrap().matches(&entry), "{text}");
    }
    for text in no {
        assert!(!text.parse::<Filter>().unwrap().matches(&entry), "{text}");
    }
}

#[test]
fn what_is_none() {
    for text in
        ["", "x=y", "(x=y", "(x=y))", "(x)", "(=y)", "(x=a(b)", "(x=\\g0)", "(!(a=b)(c=d))", "(x>=a*)", &"(!".repeat(1000)]
    {
        assert!(text.parse::<Filter>().is_err(), "{text}");
    }
}

fn filter() -> impl Strategy<Value = Filter> {
    let value = proptest::collection::vec(any::<u8>(), 1..6).prop_map(Value::from);
    let name = "[a-z]{1,5}".prop_map(|name| AttributeName::new(&name));
    let leaf = prop_oneof![
        name.clone().prop_map(Filter::Present),
        (name.clone(), value.clone()).prop_map(|(name, value)| Filter::Equal(name, value)),
        (name.clone(), value.clone()).prop_map(|(name, value)| Filter::AtLeast(name, value)),
        (name, proptest::option::of(value.clone()), proptest::collection::vec(value.clone(), 1..3), proptest::option::of(value))
            .prop_map(|(attribute, first, middle, last)| Filter::Substring { attribute, first, middle, last }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Filter::And),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

proptest! {
    #[test]
    fn printed_is_read_again(filter in filter()) {
        prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
    }
}
