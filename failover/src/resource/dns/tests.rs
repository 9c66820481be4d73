//! Decisions at a zone that is made up; a real server is in `tests/resources`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;

use super::records::Kind;
use super::*;
use crate::resource::tests::TestStep;

/// Time to live and values, by name and type.
type Records = BTreeMap<(String, Kind), (u32, BTreeSet<String>)>;

/// A zone in memory, and what goes wrong with it.
#[derive(Default)]
struct MadeUp {
    records: Mutex<Records>,
    /// Errors of the next changes, each instead of one.
    fails: Mutex<Vec<DnsError>>,
    /// So many times, somebody else is faster, with a record for `mail.example.org`.
    meddling: Mutex<u32>,
}

impl MadeUp {
    fn set(&self, name: &str, kind: Kind, ttl_s: u32, values: &[&str]) {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.records.lock().unwrap().insert((name.to_owned(), kind), (ttl_s, values));
    }

    fn values(&self, name: &str, kind: Kind) -> Vec<String> {
        let records = self.records.lock().unwrap();
        records.get(&(name.to_owned(), kind)).map(|(_, values)| values.iter().cloned().collect()).unwrap_or_default()
    }
}

impl Authority for MadeUp {
    fn read(&self, wanted: &RrSet, _: Instant) -> Result<RrSet, DnsError> {
        let found = self.records.lock().unwrap().get(&(wanted.name.clone(), wanted.kind)).cloned();
        let (ttl_s, values) = found.unwrap_or((wanted.ttl_s, BTreeSet::new()));
        Ok(RrSet { ttl_s, values, ..wanted.clone() })
    }

    fn change(&self, zone: &str, changes: &[Change], deadline: Instant) -> Result<(), DnsError> {
        if let Some(error) = self.fails.lock().unwrap().pop() {
            return Err(error);
        }
        let mut left = self.meddling.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            self.set("mail.example.org", Kind::A, 300, &[&format!("10.9.9.{left}")]);
        }
        drop(left);
        for change in changes {
            assert_eq!(change.before.zone, zone);
            if !self.read(&change.before, deadline)?.same_values(&change.before) {
                return Err(DnsError::Changed);
            }
        }
        for Change { after, .. } in changes {
            let values: Vec<&str> = after.values.iter().map(String::as_str).collect();
            self.set(&after.name, after.kind, after.ttl_s, &values);
        }
        Ok(())
    }
}

fn resource(node: &str) -> DnsResource<MadeUp> {
    let addresses = [("alpha", vec!["10.0.0.1"]), ("beta", vec!["10.1.0.2", "2001:db8::2"])];
    let parse = |list: Vec<&str>| list.into_iter().map(|address| address.parse().unwrap()).collect();
    let dns = Dns {
        names: vec!["mail.example.org".to_owned(), "imap.example.org".to_owned()],
        zone: "example.org".to_owned(),
        addresses: addresses.map(|(node, list)| (node.parse().unwrap(), parse(list))).into(),
        ttl_s: 60,
        reverse_zones: vec!["10.in-addr.arpa".to_owned()],
        authority: DnsAuthority::Server { server: String::new(), key_file: PathBuf::new(), key: None, algorithm: None },
    };
    let authority = MadeUp::default();
    authority.set("mail.example.org", Kind::A, 3600, &["10.0.0.1"]);
    authority.set("imap.example.org", Kind::A, 60, &["10.0.0.1"]);
    authority.set("1.0.0.10.in-addr.arpa", Kind::Ptr, 3600, &["mail.example.org", "mx1.example.org"]);
    authority.set("2.0.1.10.in-addr.arpa", Kind::Ptr, 3600, &["mx2.example.org"]);
    DnsResource { authority, names: Names::new(&dns, &node.parse().unwrap()).unwrap() }
}

fn step() -> TestStep {
    TestStep::new(Duration::from_secs(30))
}

#[test]
fn names_go_to_the_node_and_what_was_before_can_be_written_back() {
    let beta = resource("beta");
    assert_eq!(beta.condition().unwrap(), Condition::Offline);
    let before = beta.authority.records.lock().unwrap().clone();
    let step = step();
    beta.start(&step).unwrap();
    let values = |name: &str, kind| beta.authority.values(name, kind);
    for name in ["mail.example.org", "imap.example.org"] {
        assert_eq!(
            (values(name, Kind::A), values(name, Kind::Aaaa)),
            (vec!["10.1.0.2".to_owned()], vec!["2001:db8::2".to_owned()])
        );
    }
    // Addresses lead back to the first name, and what else they lead to is left.
    assert_eq!(values("1.0.0.10.in-addr.arpa", Kind::Ptr), ["mx1.example.org"]);
    assert_eq!(values("2.0.1.10.in-addr.arpa", Kind::Ptr), ["mail.example.org"]);
    assert_eq!(beta.condition().unwrap(), Condition::Online);
    let told = step.lines();
    assert!(told.contains(&"mail.example.org A 10.1.0.2, before: 10.0.0.1".to_owned()), "{told:?}");
    let holds = |name: &str| told.iter().any(|line| line.starts_with(&format!("{name}: clients may hold the old answer until ")));
    assert!(holds("mail.example.org") && holds("imap.example.org"), "{told:?}");
    let lines = told.len();
    beta.start(&step).unwrap();
    beta.stop(&step).unwrap();
    assert_eq!(step.lines().len(), lines + 1);
    beta.restore(&step).unwrap();
    beta.restore(&step).unwrap();
    let after = beta.authority.records.lock().unwrap().clone();
    assert_eq!(after.into_iter().filter(|(_, (_, values))| !values.is_empty()).collect::<BTreeMap<_, _>>(), before);
}

#[test]
fn a_step_that_is_repeated_keeps_the_first_memory() {
    let beta = resource("beta");
    let step = step();
    beta.authority.fails.lock().unwrap().push(DnsError::Refused { server: "x".to_owned(), said: "is tired".to_owned() });
    beta.start(&step).unwrap_err();
    let memo = step.memo().unwrap();
    beta.start(&step).unwrap();
    assert_eq!(step.memo().unwrap(), memo);
    let full = TestStep::new(Duration::from_secs(30)).on_full_disk();
    let fresh = resource("beta");
    let trouble = fresh.start(&full).unwrap_err();
    assert!(trouble.why.contains("nothing was changed") && !trouble.mend.is_empty(), "{trouble}");
    assert_eq!(fresh.condition().unwrap(), Condition::Offline);
}

#[test]
fn somebody_elses_change_is_seen_and_only_borne_a_few_times() {
    let beta = resource("beta");
    *beta.authority.meddling.lock().unwrap() = 1;
    let step = step();
    beta.start(&step).unwrap();
    assert!(step.lines().iter().any(|line| line.contains("somebody else changed the records")), "{:?}", step.lines());
    assert!(step.lines().iter().any(|line| line.ends_with("before: 10.9.9.0")), "{:?}", step.lines());
    *beta.authority.meddling.lock().unwrap() = 100;
    beta.authority.set("mail.example.org", Kind::A, 60, &["10.0.0.1"]);
    assert!(beta.start(&TestStep::new(Duration::from_secs(30))).unwrap_err().why.contains("somebody else"));
}

#[test]
fn what_somebody_changed_since_is_not_written_over_by_an_undo() {
    let beta = resource("beta");
    let step = step();
    beta.start(&step).unwrap();
    beta.authority.set("imap.example.org", Kind::A, 60, &["10.7.7.7"]);
    beta.restore(&step).unwrap();
    assert_eq!(beta.authority.values("imap.example.org", Kind::A), ["10.7.7.7"]);
    assert_eq!(beta.authority.values("mail.example.org", Kind::A), ["10.0.0.1"]);
    assert!(step.lines().iter().any(|line| line == "imap.example.org A 10.7.7.7 was changed by somebody else, so it stays"));
}

#[test]
fn a_reverse_zone_that_is_not_ours_holds_nothing_up() {
    let beta = resource("beta");
    let refused = || DnsError::Refused { server: "x".to_owned(), said: "does not let this key change these names".to_owned() };
    // The last is popped first: the forward zone takes a server that is away for a moment.
    beta.authority.fails.lock().unwrap().extend([refused(), DnsError::Unreachable("gone".to_owned())]);
    let step = step();
    beta.authority.set("mail.example.org", Kind::A, 60, &["10.1.0.2"]);
    beta.start(&step).unwrap_or_else(|trouble| assert!(trouble.why.contains("does not let"), "{trouble}"));
    let alone = resource("beta");
    alone.start(&step).unwrap();
    alone.authority.set("2.0.1.10.in-addr.arpa", Kind::Ptr, 3600, &["mx2.example.org"]);
    alone.authority.fails.lock().unwrap().push(refused());
    alone.start(&step).unwrap();
    assert!(step.lines().iter().any(|line| line.starts_with("the reverse zone 10.in-addr.arpa stays as it is")));
    assert_eq!(alone.condition().unwrap(), Condition::Online);
}

#[test]
fn names_that_lead_partly_here_are_told() {
    let alpha = resource("alpha");
    assert_eq!(alpha.condition().unwrap(), Condition::Online);
    alpha.authority.set("imap.example.org", Kind::A, 60, &["10.1.0.2"]);
    let expected = "not all of it leads here: imap.example.org A 10.1.0.2".to_owned();
    assert_eq!(alpha.condition().unwrap(), Condition::Partly(expected));
    // A long memory of resolvers is said before it hurts.
    assert!(alpha.check()[0].what.contains("3600 s"));
}
