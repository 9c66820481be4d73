//! A forest of two domains: each is written at its own controllers, and one that is away does not keep the other from being done.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use super::super::sim::SimDirectory;
use super::super::{Controllers, Journal, Only, Tools, compare, failed, residents, run, undo, verify};
use super::{SINGLE, USERS, change, dn, edit, entry, manner, plan, tree};
use crate::directory::{Directory, DirectoryError, Dn, Domain, Entry, Modify, NamingContexts, Rename, Search};
use crate::plan::{Kind, MissingDomain, Plan, PlannedChange};

const CHILDREN: usize = 3;

/// Controllers of the child have this before the name that they have in their own simulation.
const CHILD: &str = "child-";

struct TwoDomains {
    root: SimDirectory,
    child: SimDirectory,
}

fn child_context() -> Dn {
    dn("DC=sub")
}

fn child(number: usize) -> Dn {
    dn(&format!("CN=Child {number},DC=sub"))
}

impl TwoDomains {
    fn new() -> Self {
        let home = dn("CN=S");
        let object = |number: usize| {
            let attributes = [
                ("objectClass", "user"),
                ("homeMDB", home.as_str()),
                ("homeMTA", "CN=MTA S"),
                ("msExchHomeServerName", "/cn=EX1"),
            ];
            entry(&format!("CN=Child {number},DC=sub"), &attributes)
        };
        Self { root: tree(), child: SimDirectory::new(child_context(), (0..CHILDREN).map(object).collect(), &SINGLE) }
    }

    fn of(&self, dn: &Dn) -> &SimDirectory {
        if dn.is_within(&child_context()) { &self.child } else { &self.root }
    }

    /// The domain's simulation, where the controller holds what is asked for.
    fn at<'a>(&self, dn: &Dn, controller: &'a str) -> (&SimDirectory, &'a str) {
        let own = controller.strip_prefix(CHILD);
        assert_eq!(own.is_some(), dn.is_within(&child_context()), "{controller} is asked for {dn}");
        (self.of(dn), own.unwrap_or(controller))
    }

    fn named(context: &Dn, name: String) -> String {
        if *context == child_context() { format!("{CHILD}{name}") } else { name }
    }
}

impl Directory for TwoDomains {
    fn contexts(&self) -> Result<NamingContexts, DirectoryError> {
        let mut contexts = self.root.contexts()?;
        let netbios_name = Some("SUB".to_owned());
        contexts.domains.push(Domain {
            context: child_context(),
            dns_name: "sub.sim.test".into(),
            netbios_name,
            controller: None,
        });
        Ok(contexts)
    }

    fn search(&self, search: &Search, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), DirectoryError> {
        self.of(&search.base).search(search, each)
    }

    fn modify(&self, modify: &Modify) -> Result<(), DirectoryError> {
        self.of(&modify.dn).modify(modify)
    }

    fn rename(&self, rename: &Rename) -> Result<(), DirectoryError> {
        self.of(&rename.dn).rename(rename)
    }
}

impl Controllers for TwoDomains {
    fn writer(&self, context: &Dn) -> Result<String, DirectoryError> {
        Ok(Self::named(context, self.of(context).writer(context)?))
    }

    fn use_writer(&self, context: &Dn, controller: &str) -> Result<(), DirectoryError> {
        let (of, own) = self.at(context, controller);
        of.use_writer(context, own)
    }

    fn holders(&self, context: &Dn) -> Vec<String> {
        self.of(context).holders(context).into_iter().map(|name| Self::named(context, name)).collect()
    }

    fn search_at(
        &self,
        controller: &str,
        search: &Search,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), DirectoryError> {
        let (of, own) = self.at(&search.base, controller);
        of.search_at(own, search, each)
    }
}

/// The plan of one domain, and mailboxes of the other.
fn forest_plan(directory: &TwoDomains) -> Plan {
    let (from, to) = (dn("CN=S"), dn("CN=T"));
    let mut plan = Plan { contexts: directory.contexts().unwrap(), ..plan() };
    plan.changes.extend((0..CHILDREN).map(|number| {
        let edits = vec![edit("homeMDB", &[from.as_str()], &[to.as_str()])];
        let planned = change(&format!("CN=Child {number},DC=sub"), Kind::Mailbox, edits);
        PlannedChange { context: child_context(), ..planned }
    }));
    plan
}

fn home(directory: &TwoDomains, number: usize) -> Dn {
    directory.child.dump(0)[child(number).key()].dn_of("homeMDB").unwrap()
}

#[test]
fn a_domain_that_is_away_is_a_remainder_and_is_done_alone_later() {
    let dir = tempfile::tempdir().unwrap();
    let directory = TwoDomains::new();
    let before = [directory.root.dump(0), directory.child.dump(0)];
    let plan = forest_plan(&directory);
    let (interrupt, manner) = (AtomicBool::new(false), manner(2));
    let clock = &directory.root;
    let tools = Tools { directory: &directory, clock, manner: &manner, interrupt: &interrupt, progress: &|_, _| {} };
    let mut journal = Journal::create(&dir.path().join("journal"), plan.clone(), vec![], 7).unwrap();
    (0..2).for_each(|controller| directory.child.set_down(controller, true));
    let report = run(&mut journal, &tools, &Only::Everything).unwrap();
    assert_eq!(report.written + CHILDREN, plan.changes.len() + plan.renames.len(), "{report:?}");
    assert!(report.away.len() == 1 && report.away[0].0 == child_context(), "{report:?}");
    let list = failed::text(&plan, &report);
    let lines: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() == CHILDREN && lines.iter().all(|line| line.contains("\tsub.sim.test\tCN=Child ")), "{list}");
    assert_eq!(home(&directory, 0), dn("CN=S"));
    // Its controllers are back: that domain alone, then nothing is left.
    directory.child.revive();
    let only = Only::domain(&plan.contexts, "sub").unwrap();
    assert_eq!(only.writes(&plan).len(), CHILDREN);
    let later = run(&mut journal, &tools, &only).unwrap();
    assert_eq!((later.written + later.already, later.left_out), (CHILDREN, 0), "{later:?}");
    assert_eq!(home(&directory, 2), dn("CN=T"));
    assert!(run(&mut journal, &tools, &Only::Everything).unwrap().is_complete());
    // Each domain's controllers are asked for what is theirs.
    directory.child.replicate();
    directory.root.replicate();
    let shown = verify(&journal, &tools, std::time::Duration::ZERO).unwrap();
    let agreeing = |begin: &str| {
        let those = shown.iter().filter(|one| one.controller.starts_with(begin));
        those.map(|one| one.agrees).collect::<Vec<_>>()
    };
    assert_eq!((agreeing(CHILD), agreeing("sim")), (vec![CHILDREN; 2], vec![3 + USERS.len(); 2]), "{shown:?}");
    assert!(undo(&mut journal, &tools, &Only::Everything).unwrap().is_complete());
    assert_eq!(super::sorted(directory.root.dump(0)), super::sorted(before[0].clone()));
    assert_eq!(directory.child.dump(0), before[1]);
}

#[test]
fn a_domain_that_the_plan_did_not_read_is_told_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let directory = TwoDomains::new();
    let mut plan = Plan { contexts: directory.contexts().unwrap(), ..plan() };
    plan.missing.push(MissingDomain { context: child_context(), why: "dc9: gone".into() });
    let (interrupt, manner, clock) = (AtomicBool::new(false), manner(2), &directory.root);
    let tools = Tools { directory: &directory, clock, manner: &manner, interrupt: &interrupt, progress: &|_, _| {} };
    // Nor is it asked for anything, as it may be away still.
    (0..2).for_each(|controller| directory.child.set_down(controller, true));
    let residents = residents(&directory, &plan).unwrap();
    let mut journal = Journal::create(&dir.path().join("journal"), plan.clone(), residents, 7).unwrap();
    let report = run(&mut journal, &tools, &Only::Everything).unwrap();
    assert!(report.failed.is_empty() && !report.is_complete(), "{report:?}");
    let list = failed::text(&plan, &report);
    assert!(compare(&journal, &directory).unwrap().appeared.is_empty());
    assert!(list.ends_with("not read\tsub.sim.test\tDC=sub,DC=sim,DC=test\tdc9: gone\n"), "{list}");
    assert!(undo(&mut journal, &tools, &Only::Everything).unwrap().is_complete());
}
