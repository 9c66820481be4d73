//! How an object stands against what a plan saw and what it wants.

use crate::directory::filter::same_value;
use crate::directory::{Entry, Value};
use crate::plan::Edit;

/// How an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As the plan saw it.
    Old,
    /// As the plan wants it.
    New,
    /// Neither: somebody changed it. The text says what is where.
    Other(String),
    /// It is not there any more.
    Gone,
}

/// How an object stands with all its edits; `None` for one that is not there.
pub(super) fn standing(edits: &[Edit], entry: Option<&Entry>) -> Standing {
    let Some(entry) = entry else { return Standing::Gone };
    // A change that changes nothing is done.
    if edits.iter().all(|edit| holds(entry, edit, &edit.new, &edit.old)) {
        return Standing::New;
    }
    if edits.iter().all(|edit| holds(entry, edit, &edit.old, &edit.new)) {
        return Standing::Old;
    }
    let odd = edits.iter().filter(|edit| !holds(entry, edit, &edit.old, &edit.new));
    let words: Vec<String> = odd.map(|edit| described(entry, edit)).collect();
    Standing::Other(words.join("; "))
}

/// Whether all of `there` is there, and nothing that only `not_there` names.
fn holds(entry: &Entry, edit: &Edit, there: &[Value], not_there: &[Value]) -> bool {
    let values = entry.values(edit.attribute.as_str());
    let same = |one: &Value, other: &Value| same_value(&edit.attribute, one.as_bytes(), other.as_bytes());
    let has = |wanted: &Value| values.iter().any(|value| same(value, wanted));
    let is_kept = |value: &Value| there.iter().any(|kept| same(kept, value));
    there.iter().all(has) && not_there.iter().filter(|value| !is_kept(value)).all(|value| !has(value))
}

fn described(entry: &Entry, edit: &Edit) -> String {
    let values = entry.values(edit.attribute.as_str());
    let list = |values: &[Value]| match values {
        [] => "nothing".to_owned(),
        values => values.iter().take(4).map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", "),
    };
    format!("{} is {}, not {}", edit.attribute, list(values), list(&edit.old))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(attribute: &str, old: &[&str], new: &[&str]) -> Edit {
        let values = |texts: &[&str]| texts.iter().map(|text| Value::from(*text)).collect();
        Edit { attribute: attribute.into(), old: values(old), new: values(new) }
    }

    fn entry(attributes: &[(&str, &str)]) -> Entry {
        let mut entry = Entry::new("CN=a".parse().unwrap());
        for (name, value) in attributes {
            entry.attributes.entry((*name).into()).or_default().push((*value).into());
        }
        entry
    }

    #[test]
    fn an_object_is_old_or_new_only_as_a_whole() {
        let edits = [edit("homeMDB", &["CN=a\\, b"], &["CN=c"]), edit("homeMTA", &["CN=x"], &["CN=y"])];
        let stands = |mdb: &str, mta: &str| standing(&edits, Some(&entry(&[("homeMDB", mdb), ("homemta", mta)])));
        assert_eq!(stands("CN=a\\2c b", "cn=X"), Standing::Old);
        assert_eq!(stands("CN=c", "CN=y"), Standing::New);
        assert!(matches!(stands("CN=c", "CN=x"), Standing::Other(why) if why.contains("homeMDB") && !why.contains("homeMTA")));
        assert!(matches!(stands("CN=a\\, b", "CN=z"), Standing::Other(why) if why.contains("CN=z")));
        assert_eq!(standing(&edits, None), Standing::Gone);
    }

    #[test]
    fn values_that_are_not_meant_do_not_matter() {
        let names = [edit("servicePrincipalName", &["SMTP/ex1", "SMTP/ex1.fb.test"], &[])];
        let stands = |found: &[&str]| {
            let found: Vec<_> = found.iter().map(|value| ("servicePrincipalName", *value)).collect();
            standing(&names, Some(&entry(&found)))
        };
        assert_eq!(stands(&["HOST/ex1", "smtp/EX1", "SMTP/ex1.fb.test"]), Standing::Old);
        assert_eq!(stands(&["HOST/ex1"]), Standing::New);
        assert!(matches!(stands(&["HOST/ex1", "SMTP/ex1"]), Standing::Other(_)));
        let flag = [edit("msExchPatchMDB", &[], &["TRUE"])];
        assert_eq!(standing(&flag, Some(&entry(&[]))), Standing::Old);
        assert_eq!(standing(&flag, Some(&entry(&[("msExchPatchMDB", "TRUE")]))), Standing::New);
    }
}
