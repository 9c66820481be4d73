use super::*;
use crate::directory::Directory;
use crate::directory::ldif::LdifDirectory;
use crate::plan::check::check;
use crate::tests::{Organization, dn, server, store};

fn directory_with(changes: &[(&str, &str)]) -> LdifDirectory {
    let text = Organization::new(1).text().to_owned();
    let (before, target) = text.split_at(text.find(&format!("dn: {}\n", server("EX10"))).unwrap());
    let (target, after) = target.split_at(target.find(&format!("dn: {}\n", server("EX3"))).unwrap());
    let target = changes.iter().fold(target.to_owned(), |text, (from, to)| text.replace(from, to));
    // Mailboxes lead to EX1 only, so nothing else names what was renamed.
    LdifDirectory::from_text(&format!("{before}{target}{after}").replace("CN=Half,", "CN=Half\\,")).unwrap()
}

fn compared(directory: &LdifDirectory) -> (Comparison, Plan) {
    let snapshot = Snapshot::read(directory).unwrap();
    let (source, target) = (snapshot.server("EX1").unwrap(), snapshot.server("EX10").unwrap());
    let found = compare(&source, &target);
    let plan = found.rename_plan(&snapshot, &source, &target);
    assert_eq!(check(&plan, &snapshot), []);
    (found, plan)
}

#[test]
fn equal_servers() {
    let (found, plan) = compared(&directory_with(&[]));
    assert!(found.differences.is_empty() && plan.is_empty(), "{:?}", found.differences);
}

#[test]
fn other_names_are_made_equal() {
    let directory = directory_with(&[
        ("CN=Second Group,", "CN=Bkup,"),
        ("CN=Mail,", "CN=Post,"),
        ("CN=Sales\\, Inside,", "CN=Sales\\, CN\\=EX10,"),
    ]);
    let (found, plan) = compared(&directory);
    assert_eq!(found.differences.len(), 3, "{:?}", found.differences);
    assert!(found.differences.iter().all(|difference| difference.aspect == Aspect::Name));
    assert_eq!(plan.renames.len(), 3);
    let snapshot = Snapshot::read(&directory).unwrap();
    let faults = |spoil: &dyn Fn(&mut Plan)| {
        let mut spoiled = plan.clone();
        spoil(&mut spoiled);
        check(&spoiled, &snapshot).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert!(faults(&|plan| plan.renames[0].name = Rdn::cn("EX1")).contains("exists already"));
    assert!(faults(&|plan| plan.renames[0].object = dn(&store("EX3", "EX1/EX1"))).contains("no storage group or store of EX10"));
    assert!(
        faults(&|plan| plan.renames[0].object = dn(&format!("CN=Microsoft MTA,{}", server("EX10")))).contains("no storage group")
    );
    for rename in &plan.renames {
        directory.rename(&rename.rename()).unwrap();
    }
    let (found, plan) = compared(&directory);
    assert!(found.differences.is_empty() && plan.is_empty(), "{:?}", found.differences);
    assert!(crate::directory::read(&directory, &dn(&store("EX10", "Second Group/Mail")), &[]).unwrap().is_some());
}

#[test]
fn names_that_are_taken() {
    // Two stores with each other's names: the files tell nothing, as the names are there; no rename.
    let (found, plan) = compared(&directory_with(&[("2.edb", "x.edb"), ("3.edb", "2.edb"), ("x.edb", "3.edb")]));
    assert!(plan.renames.is_empty());
    assert_eq!(found.differences.len(), 2);
    assert!(found.differences[0].what.contains("or no pair is made"));
    // A name in a chain: the first one must go before the second can come.
    let directory = directory_with(&[
        ("CN=Mail,", "CN=Post,"),
        ("CN=Ex1 Mail,", "CN=Mail,"),
        ("2.edb", "y.edb"),
        ("3.edb", "2.edb"),
        ("y.edb", "3.edb"),
    ]);
    let (_, plan) = compared(&directory);
    for rename in &plan.renames {
        directory.rename(&rename.rename()).unwrap();
    }
}

#[test]
fn what_no_rename_mends() {
    let directory = directory_with(&[
        ("L:\\logs", "M:\\logs"),
        ("E01", "E07"),
        ("0.edb", "other.edb"),
        ("E:\\mdb\\1", "F:\\mdb\\1"),
        ("Service Pack 2", "Service Pack 1"),
        ("CN=Ex1 Mail,", "CN=Unlike,"),
        ("3.edb", "unlike.edb"),
    ]);
    let (found, plan) = compared(&directory);
    let all: String = found.differences.iter().map(|difference| format!("{difference}\n")).collect();
    for part in [
        "bring them to the same service pack",
        "log path of storage group \"EX1\" is L:\\logs, on the target M:\\logs",
        "log prefix of storage group \"Second Group\" is E01, on the target E07",
        "E:\\mdb\\0.edb, on the target E:\\mdb\\other.edb: give it the same name there",
        "E:\\mdb\\1.edb, on the target F:\\mdb\\1.edb: replicate it to there",
        "the target has no store \"Second Group, Ex1 Mail\" of this kind: create it",
        "the target has a store more, \"Second Group, Unlike\"",
    ] {
        assert!(all.contains(part), "{part}\n{all}");
    }
    assert!(plan.is_empty());
}
