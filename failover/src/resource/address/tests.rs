//! Decisions on a network that is made up; the real one is in `tests/resources`.

use std::sync::Mutex;

use super::*;
use crate::resource::tests::TestStep;

const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

#[derive(Default)]
struct MadeUp {
    assigned: Mutex<Vec<Assigned>>,
    /// Who answers.
    other: Option<Mac>,
    /// How many looks an IPv6 address is tentative for, and what it is then.
    tentative: Mutex<u32>,
    is_duplicate: bool,
    is_down: bool,
    announced: Mutex<u32>,
}

impl Network for MadeUp {
    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let interface = |index, name: &str| Interface {
            index,
            name: name.to_owned(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            is_up: !self.is_down,
        };
        Ok(vec![interface(1, "eth0"), interface(2, "eth1")])
    }

    fn addresses(&self) -> io::Result<Vec<Assigned>> {
        let mut left = self.tentative.lock().unwrap();
        let mut all = self.assigned.lock().unwrap().clone();
        for one in all.iter_mut().filter(|one| one.address.is_ipv6()) {
            one.state = match (*left, self.is_duplicate) {
                (0, false) => State::Ready,
                (0, true) => State::Duplicate,
                _ => State::Tentative,
            };
        }
        *left = left.saturating_sub(1);
        Ok(all)
    }

    fn add(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.assigned.lock().unwrap().push(Assigned { index, address, prefix, state: State::Ready });
        Ok(())
    }

    fn remove(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.assigned.lock().unwrap().retain(|one| (one.index, one.address, one.prefix) != (index, address, prefix));
        Ok(())
    }

    fn who_has(&self, _: &Interface, _: IpAddr, _: Duration) -> io::Result<Option<Mac>> {
        Ok(self.other)
    }

    fn announce(&self, _: &Interface, _: IpAddr) -> io::Result<()> {
        *self.announced.lock().unwrap() += 1;
        Ok(())
    }
}

fn resource(network: MadeUp, address: &str) -> AddressResource<MadeUp> {
    AddressResource { network, address: address.parse().unwrap(), prefix: 24, interface: "eth0".to_owned() }
}

fn step() -> TestStep {
    TestStep::new(Duration::from_secs(30))
}

#[test]
fn it_comes_is_told_and_goes_and_again_changes_nothing() {
    let resource = resource(MadeUp::default(), "10.0.0.50");
    assert_eq!(resource.condition().unwrap(), Condition::Offline);
    resource.start(&step()).unwrap();
    resource.start(&step()).unwrap();
    assert_eq!((resource.condition().unwrap(), resource.here().unwrap().len()), (Condition::Online, 1));
    assert_eq!(*resource.network.announced.lock().unwrap(), 2 * ANNOUNCEMENTS);
    resource.stop(&step()).unwrap();
    resource.stop(&step()).unwrap();
    assert_eq!(resource.condition().unwrap(), Condition::Offline);
}

#[test]
fn what_another_machine_has_is_not_taken() {
    let taken = resource(MadeUp { other: Some(OTHER), ..MadeUp::default() }, "10.0.0.50");
    let trouble = taken.start(&step()).unwrap_err().to_string();
    assert!(trouble.contains("the machine with 02:00:00:00:00:02 has it, so it was not taken"), "{trouble}");
    assert_eq!(taken.condition().unwrap(), Condition::Offline);
    taken.network.add(1, taken.address, 24).unwrap();
    assert!(matches!(taken.condition().unwrap(), Condition::Partly(how) if how.contains("too")));
    let six = MadeUp { is_duplicate: true, tentative: Mutex::new(3), ..MadeUp::default() };
    let six = resource(six, "fd00::50");
    let trouble = six.start(&step()).unwrap_err().to_string();
    assert!(trouble.contains("another machine has it"), "{trouble}");
    assert_eq!(six.condition().unwrap(), Condition::Offline);
}

#[test]
fn an_ipv6_address_is_waited_for_but_not_for_ever() {
    let slow = resource(MadeUp { tentative: Mutex::new(5), ..MadeUp::default() }, "fd00::50");
    slow.start(&step()).unwrap();
    let never = resource(MadeUp { tentative: Mutex::new(u32::MAX), ..MadeUp::default() }, "fd00::50");
    let trouble = never.start(&TestStep::new(Duration::from_millis(50))).unwrap_err().to_string();
    assert!(trouble.contains("time was up"), "{trouble}");
    assert!(matches!(never.condition().unwrap(), Condition::Partly(_)));
    // What was begun can be taken away.
    never.stop(&step()).unwrap();
}

#[test]
fn where_it_does_not_belong_it_is_seen_and_left() {
    let elsewhere = resource(MadeUp::default(), "10.0.0.50");
    elsewhere.network.add(2, elsewhere.address, 16).unwrap();
    assert!(matches!(elsewhere.condition().unwrap(), Condition::Partly(how) if how.contains("interface 2")));
    assert!(elsewhere.start(&step()).unwrap_err().why.contains("on this node already"));
    assert!(elsewhere.stop(&step()).unwrap_err().why.contains("still on interface 2"));
    assert_eq!(elsewhere.here().unwrap().len(), 1);
}

#[test]
fn an_interface_that_is_missing_or_down_is_said_before_it_is_needed() {
    let down = resource(MadeUp { is_down: true, ..MadeUp::default() }, "10.0.0.50");
    assert_eq!(down.check()[0].mend, "ip link set eth0 up");
    assert!(down.start(&step()).unwrap_err().why.contains("down"));
    let missing = AddressResource { interface: "eth7".to_owned(), ..resource(MadeUp::default(), "10.0.0.50") };
    assert!(missing.check()[0].what.contains("no such interface") && missing.check()[0].mend.contains("eth0, eth1"));
    missing.stop(&step()).unwrap();
    missing.network.add(1, missing.address, 24).unwrap();
    assert!(missing.stop(&step()).is_err());
}
