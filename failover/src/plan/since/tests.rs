use super::*;
use crate::directory::ldif::Write;
use crate::directory::{Change, Modify};
use crate::plan::build::{PlanOptions, build};
use crate::tests::{Organization, STORES, dn, store};

#[test]
fn what_somebody_changed_is_shown_three_ways() {
    let mut organization = Organization::new(2);
    organization.mailbox("EX10", STORES[0], "newcomer", false);
    let directory = organization.directory();
    let options = PlanOptions { source: "EX1".into(), target: "EX10".into(), ..PlanOptions::default() };
    let plan = build(&directory, &options, None).unwrap();
    let before = since(&directory, &plan).unwrap();
    assert_eq!(before.drifts.len(), plan.changes.iter().map(|change| change.edits.len()).sum::<usize>());
    for write in plan.writes() {
        if let Write::Modify(modify) = write {
            directory.modify(&modify).unwrap();
        }
    }
    let newcomer = "CN=newcomer\\, EX1,OU=Sales\\, CN\\=EX1,OU=EX1,DC=fa,DC=test";
    assert_eq!(since(&directory, &plan).unwrap(), Since { drifts: Vec::new(), appeared: vec![dn(newcomer)] });

    let user = dn("CN=user0x0\\, EX1,OU=Sales\\, CN\\=EX1,OU=EX1,DC=fa,DC=test");
    let (was, other) = (store("EX10", STORES[0]), store("EX3", STORES[0]));
    let change = Change { attribute: "homeMDB".into(), delete: vec![was.as_str().into()], add: vec![other.as_str().into()] };
    directory.modify(&Modify { dn: user.clone(), changes: vec![change] }).unwrap();
    let drift = Drift {
        object: user,
        attribute: "homeMDB".into(),
        before: vec![store("EX1", STORES[0]).into()],
        written: vec![was.into()],
        now: Some(vec![other.into()]),
    };
    assert_eq!(since(&directory, &plan).unwrap().drifts, [drift]);
}
