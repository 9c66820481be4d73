use super::*;
use crate::plan::build::{PlanOptions, build};
use crate::tests::{LEGACY, Organization, STORES, dn, server, store};

fn options() -> PlanOptions {
    PlanOptions { source: "EX1".into(), target: "EX10".into(), ..PlanOptions::default() }
}

fn of_kind(plan: &mut Plan, kind: Kind) -> &mut PlannedChange {
    plan.changes.iter_mut().find(|change| change.kind == kind).unwrap()
}

#[test]
fn plans_as_they_are_made_have_no_fault() {
    for mailboxes in [0, 3] {
        let mut organization = Organization::new(mailboxes);
        organization.mailbox("EX10", STORES[0], "guest", true);
        let directory = organization.directory();
        for swap_routing_groups in [false, true] {
            let options = PlanOptions { swap_routing_groups, ..options() };
            let plan = build(&directory, &options, None).unwrap();
            assert_eq!(check(&plan, &Snapshot::read(&directory).unwrap()), []);
            for write in plan.writes() {
                match write {
                    crate::directory::ldif::Write::Modify(modify) => {
                        crate::directory::Directory::modify(&directory, &modify).unwrap()
                    }
                    crate::directory::ldif::Write::Rename(rename) => {
                        crate::directory::Directory::rename(&directory, &rename).unwrap()
                    }
                }
            }
            let snapshot = Snapshot::read(&directory).unwrap();
            for recorded in [None, Some(&plan)] {
                let back = build(&directory, &PlanOptions { failback: true, ..options.clone() }, recorded).unwrap();
                assert_eq!(check(&back, &snapshot), [], "{swap_routing_groups}");
            }
            // What was true when the plan was made is not any more.
            assert!(check(&plan, &snapshot).len() > 5);
            for write in plan.undoing() {
                if let crate::directory::ldif::Write::Modify(modify) = write {
                    crate::directory::Directory::modify(&directory, &modify).unwrap();
                }
            }
        }
    }
}

/// Each way to spoil a plan, and a word of the fault that must be found.
type Spoiler = (&'static str, fn(&mut Plan));

const SPOILERS: &[Spoiler] = &[
    ("form 2", |plan| plan.schema = 2),
    ("no Exchange server any more", |plan| plan.asked.to = "EX11".into()),
    ("does not lead from", |plan| plan.pairs[0].to = dn(&store("EX3", STORES[0]))),
    ("is in two pairs", |plan| plan.pairs[1].to = plan.pairs[0].to.clone()),
    ("another database file", |plan| plan.pairs[1].to = plan.pairs[0].to.clone()),
    ("is of another kind", |plan| plan.pairs[0].to = plan.pairs[4].to.clone()),
    ("a store that does not exist", |plan| plan.pairs[0].to = dn("CN=none,DC=fa,DC=test")),
    ("is not the one that pairs", |plan| of_kind(plan, Kind::Mailbox).edits[0].new = vec![store("EX10", STORES[3]).into()]),
    ("which is neither server's", |plan| of_kind(plan, Kind::Mailbox).edits[0].new = vec![store("EX3", STORES[0]).into()]),
    ("does not exist", |plan| of_kind(plan, Kind::Mailbox).edits[0].new = vec![store("EX100", STORES[0]).into()]),
    ("is no msExchPrivateMDB", |plan| of_kind(plan, Kind::Mailbox).edits[0].new = vec![store("EX10", STORES[4]).into()]),
    ("its transfer agent would not be", |plan| {
        of_kind(plan, Kind::Mailbox).edits[1].new = vec![format!("CN=Microsoft MTA,{}", server("EX3")).into()];
    }),
    ("names neither server", |plan| of_kind(plan, Kind::Mailbox).edits[2].new = vec![format!("{LEGACY}/cn=EX100").into()]),
    ("its home server would not be", |plan| of_kind(plan, Kind::Mailbox).edits[2].new = vec![format!("{LEGACY}/cn=EX1").into()]),
    ("goes and comes", |plan| {
        let edit = &mut of_kind(plan, Kind::SiteFolders).edits[0];
        edit.new = edit.old.clone();
    }),
    ("is not CN=EX3", |plan| of_kind(plan, Kind::RoutingMaster).edits[0].old = vec![server("EX3").into()]),
    ("is neither of the two servers", |plan| of_kind(plan, Kind::UpdateService).edits[0].new = vec![server("EX3").into()]),
    ("it does not exist any more", |plan| of_kind(plan, Kind::AddressBook).object = dn("CN=x,CN=Configuration,DC=fa,DC=test")),
    ("does not lie in", |plan| of_kind(plan, Kind::Mailbox).context = dn("CN=Configuration,DC=fa,DC=test")),
    ("two changes of one kind", |plan| plan.changes.push(plan.changes[0].clone())),
    ("changes nothing", |plan| of_kind(plan, Kind::Connector).edits.clear()),
    ("is there twice", |plan| {
        let change = of_kind(plan, Kind::Mailbox);
        change.edits.push(change.edits[0].clone());
    }),
    ("has nothing to do with", |plan| of_kind(plan, Kind::Mailbox).edits[0].attribute = "mail".into()),
    ("an object of server EX3 would be changed", |plan| of_kind(plan, Kind::Overwrite).object = dn(&store("EX3", STORES[0]))),
    ("an object of server EX1 would be changed", |plan| of_kind(plan, Kind::Overwrite).object = dn(&store("EX1", STORES[0]))),
    ("is not TRUE", |plan| of_kind(plan, Kind::Overwrite).edits[0].new = vec!["FALSE ".into()]),
    ("which nobody gives", |plan| of_kind(plan, Kind::ServiceNamesOn).edits[0].new.push("SMTP/EX10".into())),
    ("is no service of the two", |plan| of_kind(plan, Kind::ServiceNamesOff).edits[0].old.push("SMTP/EX100".into())),
    ("names go where", |plan| of_kind(plan, Kind::ServiceNamesOn).edits[0].old.push("SMTP/EX10".into())),
    ("names come where", |plan| of_kind(plan, Kind::ServiceNamesOff).edits[0].new.push("SMTP/EX10".into())),
    ("had 0 values and has 1", |plan| of_kind(plan, Kind::SiteFolders).edits[0].old.clear()),
];

#[test]
fn every_fault_is_found() {
    let directory = Organization::new(1).directory();
    let snapshot = Snapshot::read(&directory).unwrap();
    let plan = build(&directory, &options(), None).unwrap();
    assert_eq!(check(&plan, &snapshot), []);
    for (word, spoil) in SPOILERS {
        let mut spoiled = plan.clone();
        spoil(&mut spoiled);
        let faults: Vec<String> = check(&spoiled, &snapshot).iter().map(ToString::to_string).collect();
        assert!(faults.iter().any(|fault| fault.contains(word)), "{word}: {faults:#?}");
    }
}
