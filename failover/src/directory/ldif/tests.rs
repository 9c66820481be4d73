use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::directory::{AttributeName, Change, Filter, Value, find_all, read};

fn dn(text: &str) -> Dn {
    text.parse().unwrap()
}

fn records(text: &str) -> Result<Vec<Record>, DirectoryError> {
    let mut reader = Reader::new("x.ldf", text.as_bytes())?;
    std::iter::from_fn(|| reader.next_record().transpose()).collect()
}

fn error(text: &str) -> String {
    records(text).unwrap_err().to_string()
}

#[test]
fn what_the_tools_write() {
    let ldifde = "dn: CN=a,DC=x\r\nchangetype: add\r\nobjectClass: top\r\ndescription: a long\r\n  line\r\ncn:: w6Q=\r\n\r\n";
    let ldapsearch = "# extended LDIF\n#\n# filter: (a=b)\n#  goes on\n\n# a, x\ndn: CN=a,DC=x\nobjectClass: top\ndescription: a\n  long line\ncn:: w6Q=\n\n# search reference\nref: ldap://x/CN=Configuration,DC=x\n\n# search result\nsearch: 2\nresult: 0 Success\n\n# numResponses: 3\n";
    let samba = "# record 1\ndn: CN=a,DC=x\nobjectClass: top\ndescription: a long line\ncn:: w6Q=\n\n# returned 1 records\n# 1 entries\n# 0 referrals\n";
    let version = "version: 1\ndn:: Q049YSxEQz14\nobjectClass:top\ndescription: a long line\ncn:   ä";
    let expected = vec![
        ("objectClass".to_owned(), b"top".to_vec()),
        ("description".to_owned(), b"a long line".to_vec()),
        ("cn".to_owned(), "ä".as_bytes().to_vec()),
    ];
    for text in [ldifde, ldapsearch, samba, version] {
        let found = records(text).unwrap();
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!((&found[0].dn, &found[0].values), (&dn("CN=a,DC=x"), &expected));
    }
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(ldifde.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let mut reader = Reader::new("x", wide.as_slice()).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().values, expected);
}

#[test]
fn what_is_no_export() {
    let change = error("dn: CN=a,DC=x\nobjectClass: top\n\n\ndn: CN=b,DC=x\nchangetype: modify\nreplace: cn\n");
    assert!(change.starts_with("x.ldf, line 6: this is a change file (changetype: modify)"), "{change}");
    assert!(error("objectClass: top\n").contains("line 1: an object begins with \"dn:\""));
    assert!(error(" x\n").contains("continues nothing"));
    assert!(error("dn: CN=a\nfoo\n").contains("line 2: a line has no"));
    assert!(error("dn: CN=a\nfoo:: ?\n").contains("foo is not base64"));
    assert!(error("dn: CN=a\nfoo:< file:///etc/passwd\n").contains("kept in another file"));
    assert!(error("dn: nonsense\n").contains("no distinguished name"));
    assert!(
        LdifDirectory::from_text("dn: CN=a,DC=x\ncn: a\n\ndn: cn=A, DC=X\ncn: a\n")
            .is_err_and(|e| e.to_string().contains("line 4"))
    );
    assert!(LdifDirectory::from_text("").is_err());
}

const FOREST: &str = "\
dn: DC=x,DC=y
objectClass: domainDNS

dn: CN=Configuration,DC=x,DC=y
objectClass: configuration

dn: CN=Schema,CN=Configuration,DC=x,DC=y
objectClass: dMD

dn: DC=sub,DC=x,DC=y
objectClass: domainDNS

dn: OU=People,DC=sub,DC=x,DC=y
objectClass: organizationalUnit

dn: CN=Jo\\, Ann,OU=People,DC=sub,DC=x,DC=y
objectClass: user
homeMDB: CN=Store,CN=Configuration,DC=x,DC=y
msExchHomeServerName: /o=O/cn=A
servicePrincipalName: HOST/a
servicePrincipalName: SMTP/a

dn: CN=Store,CN=Configuration,DC=x,DC=y
objectClass: msExchPrivateMDB
cn: Store
name: Store

dn: CN=Other,CN=Store,CN=Configuration,DC=x,DC=y
objectClass: msExchPrivateMDB

dn: DC=host,DC=zone,CN=MicrosoftDNS,DC=DomainDnsZones,DC=x,DC=y
objectClass: dnsNode
";

fn user() -> Dn {
    dn("cn=jo\\2c ann,OU=People,DC=sub,DC=x,DC=y")
}

fn names(directory: &LdifDirectory, base: &str, scope: Scope, filter: &str) -> Vec<String> {
    let search = Search { base: dn(base), scope, filter: filter.parse().unwrap(), attributes: vec!["cn".into()] };
    find_all(directory, &search).unwrap().into_iter().map(|entry| entry.dn.common_name()).collect()
}

#[test]
fn searches() {
    let directory = LdifDirectory::from_text(FOREST).unwrap();
    let contexts = directory.contexts().unwrap();
    assert_eq!((&contexts.default, &contexts.configuration), (&dn("DC=x,DC=y"), &dn("CN=Configuration,DC=x,DC=y")));
    let domains: Vec<&str> = contexts.domains.iter().map(|domain| domain.dns_name.as_str()).collect();
    assert_eq!(domains, ["x.y", "sub.x.y"]);
    assert_eq!(contexts.of(&user()), Some(&dn("DC=sub,DC=x,DC=y")));
    assert_eq!(names(&directory, "DC=x,DC=y", Scope::Subtree, "(objectClass=*)"), ["x"], "other contexts are not entered");
    assert_eq!(
        names(&directory, "DC=sub,DC=x,DC=y", Scope::Subtree, "(homeMDB=cn=store,CN=configuration,dc=X,DC=y)"),
        ["Jo, Ann"]
    );
    assert_eq!(names(&directory, "DC=sub,DC=x,DC=y", Scope::Children, "(objectClass=*)"), ["People"]);
    assert_eq!(names(&directory, "CN=Store,CN=Configuration,DC=x,DC=y", Scope::Base, "(cn=STORE)"), ["Store"]);
    let gone = Search { base: dn("DC=gone"), scope: Scope::Subtree, filter: Filter::And(vec![]), attributes: vec![] };
    assert!(matches!(find_all(&directory, &gone), Err(DirectoryError::NoSuchObject { .. })));
}

fn change(attribute: &str, delete: &[&str], add: &[&str]) -> Change {
    let values = |texts: &[&str]| texts.iter().map(|text| Value::from(*text)).collect();
    Change { attribute: attribute.into(), delete: values(delete), add: values(add) }
}

#[test]
fn modifies_compare_and_swap() {
    let directory = LdifDirectory::from_text(FOREST).unwrap();
    let store = "CN=Store,CN=Configuration,DC=x,DC=y";
    let other = "CN=Other,CN=Store,CN=Configuration,DC=x,DC=y";
    let apply = |changes: &[Change]| directory.modify(&Modify { dn: user(), changes: changes.to_vec() });
    let before = read(&directory, &user(), &[]).unwrap().unwrap();
    // One stale value, nothing written.
    let stale = [change("homeMDB", &[store], &[other]), change("msExchHomeServerName", &["/o=O/cn=C"], &["/o=O/cn=B"])];
    assert!(matches!(apply(&stale), Err(DirectoryError::Changed { .. })));
    assert!(matches!(apply(&[change("homeMDB", &[], &[other])]), Err(DirectoryError::Changed { .. })));
    assert!(matches!(apply(&[change("homeMDB", &[store], &["CN=None,DC=x"])]), Err(DirectoryError::Refused { .. })));
    assert!(matches!(directory.modify(&Modify { dn: dn("DC=gone"), changes: vec![] }), Err(DirectoryError::NoSuchObject { .. })));
    assert_eq!(read(&directory, &user(), &[]).unwrap().unwrap(), before);
    let good = Modify {
        dn: user(),
        changes: vec![change("homeMDB", &[&store.to_uppercase()], &[other]), change("servicePrincipalName", &["host/A"], &[])],
    };
    directory.modify(&good).unwrap();
    let after = read(&directory, &user(), &[AttributeName::new("homeMDB"), "servicePrincipalName".into()]).unwrap().unwrap();
    assert_eq!(after.dn_of("homeMDB"), Some(dn(other)));
    assert_eq!(after.values("servicePrincipalName"), [Value::from("SMTP/a")]);
    let taken = Modify { dn: dn(store), changes: vec![change("servicePrincipalName", &[], &["smtp/A"])] };
    assert!(matches!(directory.modify(&taken), Err(DirectoryError::Refused { .. })));
}

#[test]
fn renames_take_links_along() {
    let directory = LdifDirectory::from_text(FOREST).unwrap();
    let rename = Rename { dn: dn("CN=Store,CN=Configuration,DC=x,DC=y"), name: "CN=New\\, One".parse().unwrap() };
    directory.rename(&rename).unwrap();
    let entry = read(&directory, &user(), &[]).unwrap().unwrap();
    assert_eq!(entry.dn_of("homeMDB"), Some(rename.renamed()));
    let store = read(&directory, &rename.renamed(), &[]).unwrap().unwrap();
    assert_eq!((store.text("cn"), store.text("name")), (Some("New, One"), Some("New, One")));
    assert!(read(&directory, &rename.renamed().child_cn("Other"), &[]).unwrap().is_some());
    directory.rename(&rename.inverse()).unwrap();
    let (mut now, mut then) = (Vec::new(), Vec::new());
    directory.export(&mut now).unwrap();
    LdifDirectory::from_text(FOREST).unwrap().export(&mut then).unwrap();
    assert_eq!(String::from_utf8(now).unwrap(), String::from_utf8(then).unwrap());
}

#[test]
fn a_change_file() {
    let modify = Modify { dn: user(), changes: vec![change("homeMDB", &["a"], &["ä"]), change("x", &[], &[" b"])] };
    let rename = Rename { dn: dn("CN=a,DC=x"), name: "CN=b".parse().unwrap() };
    let mut out = Vec::new();
    write_changes(&mut out, [Write::Modify(modify), Write::Rename(rename)]).unwrap();
    out.flush().unwrap();
    let expected = "dn: cn=jo\\2c ann,OU=People,DC=sub,DC=x,DC=y\nchangetype: modify\ndelete: homeMDB\nhomeMDB: a\n-\nadd: homeMDB\nhomeMDB:: w6Q=\n-\nadd: x\nx:: IGI=\n-\n\ndn: CN=a,DC=x\nchangetype: modrdn\nnewrdn: CN=b\ndeleteoldrdn: 1\n\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn only_spaces_fill_between_a_name_and_its_value() {
    let record = Reader::new("x", "dn:  CN=a\na:   b\nc:\td\n".as_bytes()).unwrap().next_record().unwrap().unwrap();
    let values: Vec<_> = record.values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(values, [("a", b"b".to_vec()), ("c", b"\td".to_vec())]);
}

proptest! {
    #[test]
    fn written_is_read_again(values in proptest::collection::vec(("[a-c]", proptest::collection::vec(any::<u8>(), 0..200)), 0..6), text in "[ -~]{0,300}") {
        let mut entry = Entry::new(dn("CN=Ä,DC=x"));
        for (name, value) in values {
            entry.attributes.entry(name.as_str().into()).or_default().push(value.into());
        }
        entry.attributes.insert("text".into(), vec![text.as_str().into()]);
        let mut out = Vec::new();
        write_record(&mut out, &entry).unwrap();
        prop_assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= 76));
        let record = Reader::new("x", out.as_slice()).unwrap().next_record().unwrap().unwrap();
        let mut again = Entry::new(record.dn);
        for (name, value) in record.values {
            again.attributes.entry(name.as_str().into()).or_default().push(value.into());
        }
        prop_assert_eq!(again, entry);
    }

    #[test]
    fn nothing_makes_it_fall(text in "(dn|a|:|<| |\n|\r|#|changetype|version|CN=|ä|,){0,40}") {
        let _ = LdifDirectory::from_text(&text);
    }
}
