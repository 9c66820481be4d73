use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use standin_common::id::{Generation, PointNumber, SetName};

use super::*;
use crate::group::facts::Stand;
use crate::group::graph::{Group, Member, Part};
use crate::group::plan::Kind;
use crate::group::run::Order;
use crate::group::state::Claim;
use crate::group::volume::{VolumeStanding, Volumes};
use crate::monitor::Moment;
use crate::monitor::gate::Gate;
use crate::preflight::Finding;
use crate::resource::{Condition, Resource, Trouble};

/// There is none, or one whose source a node is.
#[derive(Default)]
struct OneVolume(Option<&'static str>);

fn none() -> Trouble {
    Trouble::new("set", "there is none", "")
}

impl Volumes for OneVolume {
    fn standing(&self, _: &SetName) -> Result<VolumeStanding, Trouble> {
        let source = self.0.ok_or_else(none)?.parse().unwrap();
        let (generation, standby) = (Generation(1), "beta".parse().unwrap());
        Ok(VolumeStanding { generation, source, standby, newest: None, behind: None, trouble: String::new() })
    }
    fn drain(&self, _: &SetName, _: Instant, _: &dyn Fn() -> bool) -> Result<PointNumber, Trouble> {
        Err(none())
    }
    fn retire(&self, _: &SetName, _: Generation) -> Result<(), Trouble> {
        Err(none())
    }
    fn release(&self, _: &SetName) -> Result<(), Trouble> {
        Err(none())
    }
    fn take_over(&self, _: &SetName, _: Option<PointNumber>, _: Generation) -> Result<PointNumber, Trouble> {
        self.0.map(|_| PointNumber(1)).ok_or_else(none)
    }
    fn become_standby(&self, _: &SetName, _: Generation) -> Result<(), Trouble> {
        Err(none())
    }
}

/// Writes down what is done; may hang in its start until it is cancelled.
#[derive(Default)]
struct Server {
    name: String,
    done: Arc<Mutex<Vec<String>>>,
    is_online: AtomicBool,
    hangs: AtomicBool,
    is_mute: AtomicBool,
    is_stuck: AtomicBool,
}

impl Resource for Server {
    fn condition(&self) -> Result<Condition, Trouble> {
        while self.is_mute.load(SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(5)); // poll
        }
        Ok(if self.is_online.load(SeqCst) { Condition::Online } else { Condition::Offline })
    }
    fn start(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.done.lock().unwrap().push(format!("start {}", self.name));
        while self.hangs.load(SeqCst) {
            if step.is_cancelled() {
                return Err(Trouble::new(&self.name, "cancelled", ""));
            }
            std::thread::yield_now();
        }
        self.is_online.store(true, SeqCst);
        Ok(())
    }
    fn stop(&self, _: &dyn Step) -> Result<(), Trouble> {
        self.done.lock().unwrap().push(format!("stop {}", self.name));
        if self.is_stuck.load(SeqCst) {
            return Err(Trouble::new(&self.name, "it cannot be stopped", ""));
        }
        self.is_online.store(false, SeqCst);
        Ok(())
    }
    fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

struct Ground {
    local: Local,
    disk: Arc<Server>,
    mail: Arc<Server>,
    done: Arc<Mutex<Vec<String>>>,
    _dir: tempfile::TempDir,
}

fn name(name: &str) -> ResourceName {
    name.parse().unwrap()
}

fn order(number: u64, action: Action, generation: u64, to: &str) -> Order {
    let (to, runner) = (Some(to.parse().unwrap()), to.parse().unwrap());
    let run = format!("r{generation}").parse().unwrap();
    let claim = Claim { run, generation: Generation(generation), runner, to };
    let group = "mail".parse().unwrap();
    Order { group, kind: Kind::Handoff, claim, from: None, down: Vec::new(), number, action, limit_ms: 60_000 }
}

/// A group of two, mail upon disk, online on alpha.
fn ground() -> Ground {
    ground_on(OneVolume::default())
}

/// The same, with a set beneath both.
fn ground_on(volume: OneVolume) -> Ground {
    let dir = tempfile::tempdir().unwrap();
    let done = Arc::new(Mutex::new(Vec::new()));
    let server = |name: &str| Arc::new(Server { name: name.to_owned(), done: done.clone(), ..Server::default() });
    let (disk, mail) = (server("disk"), server("mail"));
    let part = |of: &str, needs: Vec<ResourceName>| Part {
        name: name(of),
        set: None,
        needs,
        start_limit_ms: 60_000,
        stop_limit_ms: 60_000,
        optional: false,
    };
    let members = [("alpha", 1), ("beta", 2)].map(|(node, priority)| Member { node: node.parse().unwrap(), priority });
    let store = Part { set: Some("mail".parse().unwrap()), ..part("store", Vec::new()) };
    let parts = match volume.0 {
        Some(_) => vec![store, part("disk", vec![name("store")]), part("mail", vec![name("disk")])],
        None => vec![part("disk", Vec::new()), part("mail", vec![name("disk")])],
    };
    let group = Group::new("mail".parse().unwrap(), members.to_vec(), parts).unwrap();
    let resources: [(ResourceName, Arc<dyn Resource>); 2] = [(name("disk"), disk.clone()), (name("mail"), mail.clone())];
    let resources: BTreeMap<_, _> = resources.into_iter().collect();
    let local = Local::open("alpha".parse().unwrap(), group, resources, Arc::new(volume), dir.path().join("group")).unwrap();
    let ground = Ground { local, disk, mail, done, _dir: dir };
    for (number, action) in [Action::Claim, Action::Settle].into_iter().enumerate() {
        ground.perform(&order(number as u64 + 1, action, 1, "alpha"));
    }
    ground
}

impl Ground {
    fn perform(&self, order: &Order) {
        self.local.perform(order, &|| false).unwrap();
    }

    fn both(&self) -> [ResourceName; 2] {
        [name("disk"), name("mail")]
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.done.lock().unwrap())
    }
}

#[test]
fn what_needs_it_is_stopped_before_and_started_after() {
    let ground = ground();
    ground.local.restart(&ground.both(), &|| false).unwrap();
    assert_eq!(ground.said(), ["stop mail", "stop disk", "start disk", "start mail"]);
}

#[test]
fn nothing_is_started_where_the_group_is_not_or_a_run_has_it() {
    let ground = ground();
    ground.perform(&order(1, Action::Claim, 2, "beta"));
    let refused = ground.local.restart(&ground.both(), &|| false).unwrap_err();
    assert!(refused.unchanged, "{}", refused.why);
    ground.perform(&order(2, Action::Settle, 2, "beta"));
    assert!(ground.local.restart(&ground.both(), &|| false).unwrap_err().unchanged);
    assert_eq!(ground.said(), Vec::<String>::new());
}

#[test]
fn what_was_stopped_for_want_of_a_right_stays_so() {
    let ground = ground();
    let gate = Arc::new(Gate::default());
    ground.local.start_through(gate.clone());
    gate.set(Some(Moment(0)));
    assert!(ground.local.restart(&ground.both(), &|| false).unwrap_err().unchanged);
    assert_eq!(ground.said(), Vec::<String>::new());
    // It ends while one is being started: that is cancelled, and the other is not begun.
    gate.set(None);
    ground.disk.hangs.store(true, SeqCst);
    std::thread::scope(|scope| {
        let restarting = scope.spawn(|| ground.local.restart(&ground.both(), &|| false));
        while !ground.done.lock().unwrap().iter().any(|done| done == "start disk") {
            std::thread::yield_now();
        }
        gate.set(Some(Moment(0)));
        assert!(restarting.join().unwrap().is_err());
    });
    assert_eq!(ground.said(), ["stop mail", "stop disk", "start disk"]);
    ground.local.rest(&ground.both(), &|| false).unwrap();
}

#[test]
fn a_run_that_begins_meanwhile_goes_before() {
    let ground = ground();
    ground.disk.hangs.store(true, SeqCst);
    std::thread::scope(|scope| {
        let restarting = scope.spawn(|| ground.local.restart(&ground.both(), &|| false));
        while !ground.done.lock().unwrap().contains(&"start disk".to_owned()) {
            std::thread::yield_now();
        }
        ground.perform(&order(1, Action::Claim, 2, "beta"));
        // It waits for the lock that the restart holds, and that one is let go as the run is there.
        ground.perform(&order(2, Action::Stop(name("disk")), 2, "beta"));
        assert!(restarting.join().unwrap().is_err());
    });
    assert_eq!(ground.said(), ["stop mail", "stop disk", "start disk", "stop disk"], "mail is not started after the run began");
    assert!(!ground.disk.is_online.load(SeqCst) && !ground.mail.is_online.load(SeqCst));
}

#[test]
fn what_does_not_say_how_it_stands_keeps_nobody_waiting() {
    let ground = ground();
    ground.mail.is_mute.store(true, SeqCst);
    let view = ground.local.view();
    ground.mail.is_mute.store(false, SeqCst);
    assert_eq!(view.resources[&name("disk")], Stand::Offline);
    assert!(matches!(&view.resources[&name("mail")], Stand::Unknown(why) if why.contains("did not say")), "{view:?}");
}

#[test]
fn what_lost_what_it_needs_is_stopped_before_it_counts_as_started() {
    let ground = ground();
    ground.mail.is_online.store(true, SeqCst);
    ground.local.distrust(&ground.both());
    let stands = ground.local.view().resources;
    assert!(matches!(&stands[&name("mail")], Stand::Partly(_)) && stands[&name("disk")] == Stand::Offline, "{stands:?}");
    ground.perform(&order(1, Action::Claim, 2, "alpha"));
    ground.mail.is_stuck.store(true, SeqCst);
    let refused = ground.local.perform(&order(2, Action::Start(name("mail")), 2, "alpha"), &|| false).unwrap_err();
    assert!(refused.why.contains("cannot be stopped"), "{}", refused.why);
    assert_eq!(ground.said(), ["start disk", "stop mail"]);
    ground.mail.is_stuck.store(false, SeqCst);
    ground.perform(&order(3, Action::Start(name("mail")), 2, "alpha"));
    assert_eq!(ground.said(), ["stop mail", "start mail"]);
    assert_eq!(ground.local.view().resources[&name("mail")], Stand::Online);
    ground.perform(&order(4, Action::Start(name("mail")), 2, "alpha"));
    assert_eq!(ground.said(), ["start mail"], "once");
}

#[test]
fn a_set_is_not_taken_over_anew_under_what_uses_it() {
    let take_over = order(2, Action::TakeOver("mail".parse().unwrap(), None), 2, "alpha");
    let ground = ground_on(OneVolume(Some("alpha")));
    ground.mail.is_online.store(true, SeqCst);
    ground.disk.is_online.store(true, SeqCst);
    ground.perform(&order(1, Action::Claim, 2, "alpha"));
    ground.mail.is_stuck.store(true, SeqCst);
    let refused = ground.local.perform(&take_over, &|| false).unwrap_err();
    assert!(refused.unchanged && refused.why.contains("cannot be stopped"), "{}", refused.why);
    assert_eq!(ground.said(), ["stop mail"]);
    ground.mail.is_stuck.store(false, SeqCst);
    ground.perform(&Order { number: 3, ..take_over.clone() });
    assert_eq!(ground.said(), ["stop mail", "stop disk"]);
    // Where another node is source, nothing of it is here.
    let elsewhere = ground_on(OneVolume(Some("beta")));
    elsewhere.mail.is_online.store(true, SeqCst);
    elsewhere.perform(&order(1, Action::Claim, 2, "alpha"));
    elsewhere.perform(&take_over);
    assert_eq!(elsewhere.said(), Vec::<String>::new());
}
