//! Whatever stands in a directory: a plan passes the check, changes only what it says, by whole components, and can be taken back.

use proptest::prelude::*;

use super::*;
use crate::exchange::Snapshot;
use crate::plan::check::check;

#[derive(Clone, Debug)]
struct Object {
    name: String,
    unit: usize,
    is_in_child: bool,
    class: &'static str,
    store: Option<(usize, usize)>,
    transfer_agent: Option<usize>,
    home_server: Option<usize>,
    expansion: Option<usize>,
}

const SERVERS: [&str; 3] = ["EX1", "EX10", "EX3"];

fn some_object() -> impl Strategy<Value = Object> {
    let words = prop_oneof![
        Just("EX1"),
        Just("EX10"),
        Just("\\,CN\\=EX1"),
        Just("/cn=EX1"),
        Just("é"),
        Just(" a"),
        Just("SystemMailbox{"),
        Just("b+c")
    ];
    let name = proptest::collection::vec(words, 1..4).prop_map(|words| words.concat());
    let class = prop_oneof![4 => Just("user"), 1 => Just("group"), 1 => Just("contact"), 1 => Just("computer")];
    let server = || proptest::option::of(0..3_usize);
    (name, 0..2_usize, any::<bool>(), class, proptest::option::of((0..3_usize, 0..5_usize)), server(), server(), server())
        .prop_map(|(name, unit, is_in_child, class, store, transfer_agent, home_server, expansion)| Object {
            name,
            unit,
            is_in_child,
            class,
            store,
            transfer_agent,
            home_server,
            expansion,
        })
}

fn with(objects: &[Object]) -> LdifDirectory {
    let mut organization = Organization::new(0);
    for (number, object) in objects.iter().enumerate() {
        let unit = ["OU=EX1", "OU=Sales\\, CN\\=EX1,OU=EX1"][object.unit];
        let domain = if object.is_in_child { "DC=sub,DC=fa,DC=test" } else { "DC=fa,DC=test" };
        let name: Dn = format!("{unit},{domain}").parse().unwrap();
        let escaped = crate::directory::Rdn::cn(&format!("{} {number}", object.name));
        let name = name.child(&escaped);
        let mut values = Vec::new();
        values.extend(object.store.map(|(at, path)| ("homeMDB", store(SERVERS[at], STORES[path]))));
        values.extend(object.transfer_agent.map(|at| ("homeMTA", format!("CN=Microsoft MTA,{}", server(SERVERS[at])))));
        values.extend(object.home_server.map(|at| ("msExchHomeServerName", format!("{LEGACY}/cn={}", SERVERS[at]))));
        values.extend(
            object.expansion.map(|at| ("msExchExpansionServerName", format!("{LEGACY}/CN={}", SERVERS[at].to_lowercase()))),
        );
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let classes: &[&str] = if object.class == "computer" { &["user", "computer"] } else { &[object.class] };
        organization.add(name.as_str(), classes, &values);
    }
    organization.directory()
}

/// Every value that names `EX1` as a whole component and nothing else of it.
fn swapped(value: &Value) -> Option<Value> {
    let text = value.as_text()?;
    if text.starts_with('/') {
        let parts: Vec<String> = text
            .split('/')
            .map(|part| if part.eq_ignore_ascii_case("cn=EX1") { "cn=EX10".to_owned() } else { part.to_owned() })
            .collect();
        return Some(parts.join("/").into());
    }
    let (from, to) = (dn(&server("EX1")), dn(&server("EX10")));
    value.as_dn()?.moved(&from, &to).map(|moved| Value::from(&moved))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn plan_apply_undo(objects in proptest::collection::vec(some_object(), 0..8), flags in any::<[bool; 5]>()) {
        let [leave_update_service, leave_service_names, leave_connectors, swap_routing_groups, move_host_names] = flags;
        let options = PlanOptions { leave_update_service, leave_service_names, leave_connectors, swap_routing_groups, move_host_names, ..options() };
        let directory = with(&objects);
        let before = dump(&directory);
        let plan = build(&directory, &options, None).unwrap();
        prop_assert_eq!(check(&plan, &Snapshot::read(&directory).unwrap()), vec![]);
        for change in plan.changes.iter().filter(|change| change.kind == Kind::Mailbox) {
            let home = change.edits.iter().find(|edit| edit.attribute == *"homeMDB");
            if let Some(home) = home {
                let expected = swapped(&home.old[0]).and_then(|value| value.as_dn());
                prop_assert_eq!(home.new[0].as_dn(), expected);
            }
        }
        apply(&directory, plan.writes());
        let changed: Vec<String> = sorted(&dump(&directory)).into_iter().filter(|object| !sorted(&before).contains(object)).collect();
        let planned = plan.changes.iter().map(|change| change.object.clone()).collect::<std::collections::HashSet<_>>();
        prop_assert_eq!(changed.len(), planned.len());
        // Nothing is left to do, and back again is the beginning.
        prop_assert!(build(&directory, &options, None).unwrap().changes.iter().all(|change| change.kind == Kind::RoutingMaster || change.kind == Kind::RoutingGroup));
        apply(&directory, plan.undoing());
        prop_assert_eq!(sorted(&dump(&directory)), sorted(&before));
    }

    /// There and back with the record: everything is as it was, but for what a failover leaves on purpose.
    #[test]
    fn round_trip(objects in proptest::collection::vec(some_object(), 0..6), swap_routing_groups in any::<bool>()) {
        let options = PlanOptions { swap_routing_groups, ..options() };
        let directory = with(&objects);
        let plan = build(&directory, &options, None).unwrap();
        apply(&directory, plan.writes());
        let back = build(&directory, &PlanOptions { failback: true, ..options }, Some(&plan)).unwrap();
        prop_assert_eq!(check(&back, &Snapshot::read(&directory).unwrap()), vec![]);
        apply(&directory, back.writes());
        for change in &plan.changes {
            let was_in_target = |edit: &Edit| edit.old.first().and_then(Value::as_dn).is_none_or(|dn| !dn.is_within(&crate::tests::dn(&server("EX1"))));
            for edit in change.edits.iter().filter(|edit| change.kind != Kind::Overwrite && !edit.old.is_empty()) {
                if change.kind == Kind::Mailbox && was_in_target(edit) {
                    continue;
                }
                let now = object(&directory, change.object.as_str());
                let now = now.values(edit.attribute.as_str());
                let has = |old: &Value| now.iter().any(|now| crate::directory::filter::same_value(&edit.attribute, now.as_bytes(), old.as_bytes()));
                prop_assert!(edit.old.iter().all(has), "{} {} {:?}", change.object, edit.attribute, now);
            }
        }
    }
}
