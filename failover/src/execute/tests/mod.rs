//! Runs and undos against the simulated directory: every place where something can go wrong, one after the other.

mod deaths;
mod domains;
mod journals;
mod troubles;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::journal::{Journal, StepId};
use super::sim::SimDirectory;
use super::{ExecuteError, Manner, Only, Report, Tools, run, undo};
use crate::directory::{Directory, Dn, Entry, Rdn};
use crate::plan::{Action, Asked, Edit, Kind, PLAN_SCHEMA, Plan, PlannedChange, PlannedRename, StorePair};

const SINGLE: [&str; 4] = ["homeMDB", "homeMTA", "msExchHomeServerName", "msExchPatchMDB"];

/// Names that are hard to take for anything else.
const USERS: [&str; 6] = ["CN=Dobbs\\, Jim", "CN=EX1", "CN=\\20blank\\20", "CN=\\#1 \\\"A\\+B\\\"", "CN=Jörg", "CN=EX10"];

fn dn(text: &str) -> Dn {
    let full = if text.is_empty() { "DC=sim,DC=test".to_owned() } else { format!("{text},DC=sim,DC=test") };
    full.parse().unwrap()
}

fn entry(name: &str, attributes: &[(&str, &str)]) -> Entry {
    let mut entry = Entry::new(dn(name));
    entry.attributes.insert("objectGUID".into(), vec![format!("guid of {name}").into()]);
    for (attribute, value) in attributes {
        entry.attributes.entry((*attribute).into()).or_default().push((*value).into());
    }
    entry
}

/// A store on either side, users of the one, a computer for each, and a group that gets another name.
fn tree() -> SimDirectory {
    let class = |class: &'static str| ("objectClass", class);
    let names =
        [("servicePrincipalName", "HOST/EX1"), ("servicePrincipalName", "exchangeMDB/EX1"), ("servicePrincipalName", "SMTP/EX1")];
    let mut objects = vec![
        entry("CN=S", &[class("msExchPrivateMDB")]),
        entry("CN=T", &[class("msExchPrivateMDB")]),
        entry("CN=EX1,CN=Computers", &[&[class("computer")], &names[..]].concat()),
        entry("CN=EX2,CN=Computers", &[class("computer"), ("servicePrincipalName", "HOST/EX2")]),
        entry("CN=Group", &[class("msExchStorageGroup")]),
        entry("CN=Store,CN=Group", &[class("msExchPrivateMDB")]),
    ];
    for user in USERS {
        let home = dn("CN=S");
        let attributes = [
            class("user"),
            ("homeMDB", home.as_str()),
            ("homeMTA", "CN=MTA S"),
            ("msExchHomeServerName", "/cn=EX1"),
            ("mail", "a@b"),
        ];
        objects.push(entry(user, &attributes));
    }
    SimDirectory::new(dn(""), objects, &SINGLE)
}

fn edit(attribute: &str, old: &[&str], new: &[&str]) -> Edit {
    let values = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect();
    Edit { attribute: attribute.into(), old: values(old), new: values(new) }
}

fn change(name: &str, kind: Kind, edits: Vec<Edit>) -> PlannedChange {
    let guid = Some(format!("guid of {name}").into());
    PlannedChange { object: dn(name), guid, context: dn(""), kind, edits, reason: "test".into() }
}

/// Everything that a failover does, once each and more than once where several are in flight.
fn plan() -> Plan {
    let names = ["exchangeMDB/EX1", "SMTP/EX1"];
    let (from, to) = (dn("CN=S"), dn("CN=T"));
    let mut changes = vec![
        change("CN=T", Kind::Overwrite, vec![edit("msExchPatchMDB", &[], &["TRUE"])]),
        change("CN=EX1,CN=Computers", Kind::ServiceNamesOff, vec![edit("servicePrincipalName", &names, &[])]),
        change("CN=EX2,CN=Computers", Kind::ServiceNamesOn, vec![edit("servicePrincipalName", &[], &names)]),
    ];
    for user in USERS {
        let edits = vec![
            edit("homeMDB", &[from.as_str()], &[to.as_str()]),
            edit("homeMTA", &["CN=MTA S"], &["CN=MTA T"]),
            edit("msExchHomeServerName", &["/cn=EX1"], &["/cn=EX2"]),
        ];
        changes.push(change(user, Kind::Mailbox, edits));
    }
    let renames = [("CN=Store,CN=Group", "Sales, North"), ("CN=Group", "First")].map(|(object, name)| PlannedRename {
        object: dn(object),
        guid: Some(format!("guid of {object}").into()),
        context: dn(""),
        name: Rdn::cn(name),
        kind: Kind::Name,
        reason: "test".into(),
    });
    Plan {
        schema: PLAN_SCHEMA,
        asked: Asked { action: Action::Failover, from: "EX1".into(), to: "EX2".into(), rules: vec![], options: vec![] },
        contexts: tree().contexts().unwrap(),
        pairs: vec![StorePair { from, to, file: "a.edb".into(), mailboxes: 6 }],
        unpaired: vec![],
        changes,
        renames: renames.into(),
        references: vec![],
        missing: vec![],
        warnings: vec![],
    }
}

/// Steps of [`plan`].
const STEPS: usize = 11;

type Work = fn(&mut Journal, &Tools<'_>, &Only) -> Result<Report, ExecuteError>;

/// Runs or undoes with a directory, from the journal at `path` or with a new one; `None` if the process died.
fn go(work: Work, sim: &SimDirectory, path: &Path, manner: &Manner) -> Option<Report> {
    let interrupt = AtomicBool::new(false);
    let tools = Tools { directory: sim, clock: sim, manner, interrupt: &interrupt, progress: &|_, _| {} };
    let mut journal = if path.exists() { Journal::open(path) } else { Journal::create(path, plan(), vec![], 7) }.unwrap();
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| work(&mut journal, &tools, &Only::Everything).unwrap()));
    match done {
        Ok(report) => Some(report),
        Err(panic) if panic.is::<super::sim::Killed>() => None,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn manner(at_once: usize) -> Manner {
    Manner { at_once, seed: 1, ..Manner::default() }
}

/// The whole tree as it is before and after.
fn ends() -> [BTreeMap<String, Entry>; 2] {
    let dir = tempfile::tempdir().unwrap();
    let sim = tree();
    let before = sim.dump(0);
    let report = go(run, &sim, &dir.path().join("journal"), &manner(1)).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.written, sim.writes()), (STEPS, STEPS));
    [before, sim.dump(0)]
}

/// Values have no order.
fn sorted(mut tree: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    tree.values_mut().flat_map(|entry| entry.attributes.values_mut()).for_each(|values| values.sort());
    tree
}

fn mailbox(number: usize) -> StepId {
    StepId::Change(3 + number)
}

#[test]
fn a_run_does_all_and_a_second_one_nothing_and_an_undo_takes_all_back() {
    let [before, after] = ends();
    for at_once in [1, 8] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/journal");
        let sim = tree();
        assert!(go(run, &sim, &path, &manner(at_once)).unwrap().is_complete());
        assert_eq!(sorted(sim.dump(0)), sorted(after.clone()));
        sim.plan_faults([]);
        let again = go(run, &sim, &path, &manner(at_once)).unwrap();
        assert_eq!((again.done_before, again.written, sim.writes()), (STEPS, 0, 0));
        let back = go(undo, &sim, &path, &manner(at_once)).unwrap();
        assert!(back.is_complete() && back.written == STEPS, "{back:?}");
        assert_eq!(sorted(sim.dump(0)), sorted(before.clone()));
        let again = go(undo, &sim, &path, &manner(at_once)).unwrap();
        assert_eq!((again.done_before, again.written), (STEPS, 0));
        let forward = std::panic::catch_unwind(AssertUnwindSafe(|| go(run, &sim, &path, &manner(1))));
        assert!(forward.is_err(), "no way forward after an undo");
    }
}
