use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::*;
use crate::resource::tests::TestStep;

/// A service that never was: what it does is set before.
struct Sim {
    /// What is seen at each look; the last one stays.
    looks: VecDeque<Status>,
    on_start: Vec<Status>,
    on_stop: Vec<Status>,
    needs: Vec<&'static str>,
    mode: StartMode,
    /// Answers to orders before any is taken.
    refusals: VecDeque<Code>,
    /// Whether its handler of orders never returns.
    is_deaf: bool,
    is_process_alive: bool,
    /// The process that it shares with others.
    home: Option<u32>,
    has_recovery: bool,
}

fn status(state: State) -> Status {
    Status { state, exit: Exit::System(Code(0)), checkpoint: 0, wait_hint: Duration::ZERO }
}

fn row(states: &[State]) -> Vec<Status> {
    states.iter().map(|state| status(*state)).collect()
}

fn ended(exit: Exit) -> Status {
    Status { exit, ..status(State::Stopped) }
}

impl Sim {
    fn new(state: State) -> Self {
        Self {
            looks: VecDeque::from([status(state)]),
            on_start: vec![status(State::Starting), status(State::Running)],
            on_stop: vec![status(State::Stopping), status(State::Stopped)],
            needs: Vec::new(),
            mode: StartMode::Demand,
            refusals: VecDeque::new(),
            is_deaf: false,
            is_process_alive: state != State::Stopped,
            home: None,
            has_recovery: true,
        }
    }

    fn state(&self) -> State {
        self.looks[0].state
    }
}

/// Services, and the orders that were given to them.
#[derive(Default)]
struct All {
    services: BTreeMap<&'static str, Sim>,
    log: Vec<String>,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<All>>);

impl World {
    fn with(self, name: &'static str, sim: Sim) -> Self {
        self.0.lock().unwrap().services.insert(name, sim);
        self
    }

    fn services(&self) -> Services<Self> {
        Services { control: self.clone() }
    }

    fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.clone()
    }

    fn of<T>(&self, service: &str, look: impl FnOnce(&mut Sim) -> T) -> Result<T, Code> {
        self.0.lock().unwrap().services.get_mut(service).map(look).ok_or(Code::DOES_NOT_EXIST)
    }

    fn ordered(&self, verb: &str, service: &str) -> Result<(), Code> {
        if self.of(service, |sim| sim.is_deaf)? {
            loop {
                thread::park();
            }
        }
        self.0.lock().unwrap().log.push(format!("{verb} {service}"));
        self.of(service, |sim| sim.refusals.pop_front())?.map_or(Ok(()), Err)
    }
}

impl Control for World {
    type Process = SimProcess;
    type Recovery = bool;

    fn status(&self, service: &str) -> Result<Status, Code> {
        self.of(service, |sim| if sim.looks.len() > 1 { sim.looks.pop_front().unwrap() } else { sim.looks[0] })
    }

    fn start_mode(&self, service: &str) -> Result<StartMode, Code> {
        self.of(service, |sim| sim.mode)
    }

    fn set_start_mode(&self, service: &str, mode: StartMode) -> Result<(), Code> {
        self.ordered("set", service)?;
        self.of(service, |sim| sim.mode = mode)
    }

    fn start(&self, service: &str) -> Result<(), Code> {
        self.ordered("start", service)?;
        self.of(service, |sim| match sim.state() {
            State::Stopped if sim.mode == StartMode::Disabled => Err(Code::DISABLED),
            State::Stopped => {
                sim.is_process_alive = true;
                sim.looks = sim.on_start.clone().into();
                Ok(())
            }
            _ => Err(Code::RUNS_ALREADY),
        })?
    }

    fn stop(&self, service: &str) -> Result<(), Code> {
        if !self.dependents(service)?.is_empty() {
            return Err(Code::DEPENDENTS_RUN);
        }
        self.ordered("stop", service)?;
        self.of(service, |sim| match sim.state() {
            State::Stopped => Err(Code::NOT_ACTIVE),
            State::Starting | State::Stopping => Err(Code::TAKES_NO_ORDERS_NOW),
            _ => {
                sim.looks = sim.on_stop.clone().into();
                sim.is_process_alive = false;
                Ok(())
            }
        })?
    }

    fn resume(&self, service: &str) -> Result<(), Code> {
        self.ordered("resume", service)?;
        self.of(service, |sim| sim.looks = VecDeque::from([status(State::Continuing), status(State::Running)]))
    }

    /// As Windows has them: whoever needs one of these comes before it.
    fn dependents(&self, service: &str) -> Result<Vec<String>, Code> {
        let world = self.0.lock().unwrap();
        let depends = |sim: &Sim| sim.needs.contains(&service) && sim.state() != State::Stopped;
        let direct: Vec<&str> = world.services.iter().filter(|(_, sim)| depends(sim)).map(|(name, _)| *name).collect();
        drop(world);
        let mut all = Vec::new();
        for name in direct {
            all.extend(self.dependents(name)?);
            all.push(name.to_owned());
        }
        Ok(all)
    }

    fn process(&self, service: &str) -> Result<Option<SimProcess>, Code> {
        let Some(home) = self.of(service, |sim| sim.is_process_alive.then_some(sim.home))? else { return Ok(None) };
        let world = self.0.lock().unwrap();
        let lives_there = |name: &str, sim: &Sim| name == service || home.is_some() && sim.home == home;
        let tenants = world.services.iter().filter(|(name, sim)| lives_there(name, sim)).map(|(name, _)| *name).collect();
        Ok(Some(SimProcess { world: self.clone(), tenants }))
    }

    fn tenants(&self, process: &SimProcess) -> Result<Vec<String>, Code> {
        Ok(process.tenants.iter().map(|name| (*name).to_owned()).collect())
    }

    fn take_recovery(&self, service: &str) -> Result<bool, Code> {
        self.of(service, |sim| std::mem::replace(&mut sim.has_recovery, false))
    }

    fn give_recovery(&self, service: &str, recovery: &bool) -> Result<(), Code> {
        self.of(service, |sim| sim.has_recovery = *recovery)
    }

    fn words(&self, code: Code) -> String {
        format!("words of {}", code.0)
    }
}

struct SimProcess {
    world: World,
    tenants: Vec<&'static str>,
}

impl Process for SimProcess {
    fn is_shared(&self) -> bool {
        self.tenants.len() > 1
    }

    fn has_ended(&self) -> Result<bool, Code> {
        self.world.of(self.tenants[0], |sim| !sim.is_process_alive)
    }

    /// Those that have a recovery are started again.
    fn end(&self) -> Result<(), Code> {
        self.world.ordered("end", self.tenants[0])?;
        self.tenants.iter().try_for_each(|tenant| {
            self.world.of(tenant, |sim| {
                sim.is_process_alive = sim.has_recovery;
                sim.looks = VecDeque::from([status(if sim.has_recovery { State::Running } else { State::Stopped })]);
            })
        })
    }
}

fn step() -> TestStep {
    TestStep::new(Duration::from_secs(60))
}

fn short() -> TestStep {
    TestStep::new(Duration::from_millis(300))
}

#[test]
fn states_and_start_up_are_what_a_group_knows() {
    let automatic = Sim { mode: StartMode::Automatic, ..Sim::new(State::Running) };
    let driver = Sim { mode: StartMode::Driver, ..Sim::new(State::Stopped) };
    let disabled = |state| Sim { mode: StartMode::Disabled, ..Sim::new(state) };
    let world = World::default().with("a", automatic).with("b", Sim::new(State::Paused)).with("driver", driver);
    let services = world.with("off", disabled(State::Stopped)).with("on", disabled(State::Running)).services();
    let standing = |condition, starts_with_system| Standing { condition, starts_with_system };
    assert_eq!(services.standing("a").unwrap(), standing(Condition::Online, Some(true)));
    assert_eq!(services.standing("b").unwrap(), standing(Condition::Partly("b is paused".to_owned()), Some(false)));
    assert_eq!(services.standing("driver").unwrap(), standing(Condition::Offline, None));
    assert_eq!(services.standing("on").unwrap(), standing(Condition::Online, Some(false)), "it can be stopped");
    let trouble = services.standing("off").unwrap_err();
    assert_eq!(trouble.why, "it is disabled, so it cannot be started");
    assert_eq!(trouble.mend, "sc config off start= demand");
}

#[test]
fn what_is_not_there_and_what_is_not_allowed_say_what_to_do() {
    let services = World::default().with("a", Sim::new(State::Running)).services();
    let trouble = services.standing("missing").unwrap_err();
    assert_eq!(trouble.what, "service missing");
    assert_eq!(trouble.mend, "install it, or correct its name");
    let tried = [services.start("missing", &step()), services.stop("missing", &step()), services.kill("missing")];
    assert!(tried.into_iter().all(|tried| tried.unwrap_err().mend == trouble.mend));
    services.control.of("a", |sim| sim.refusals = VecDeque::from([Code::ACCESS_DENIED; 2])).unwrap();
    let trouble = services.stop("a", &step()).unwrap_err().to_string();
    assert_eq!(trouble, "service a: it cannot be stopped: words of 5; run standin as administrator");
    let trouble = services.set_start_up("a", true, &step()).unwrap_err();
    assert_eq!(trouble.mend, "run standin as administrator");
}

#[test]
fn a_start_is_waited_for() {
    let slow =
        Sim { on_start: row(&[State::Starting, State::Starting, State::Starting, State::Running]), ..Sim::new(State::Stopped) };
    let stopping = Sim { looks: row(&[State::Stopping, State::Stopping, State::Stopped]).into(), ..Sim::new(State::Running) };
    let pausing = Sim { looks: row(&[State::Pausing, State::Paused]).into(), ..Sim::new(State::Running) };
    let world = World::default().with("slow", slow).with("pausing", pausing).with("stopping", stopping);
    let services = world.services();
    for service in ["slow", "pausing", "stopping"] {
        services.start(service, &step()).unwrap();
        services.start(service, &step()).unwrap();
        assert_eq!(services.standing(service).unwrap().condition, Condition::Online, "{service}");
    }
    assert_eq!(world.log(), ["start slow", "resume pausing", "start stopping"]);
}

#[test]
fn one_that_ends_while_it_starts_is_told_with_its_exit_code() {
    for (exit, words) in [
        (Exit::System(Code(1067)), "it ended while it was starting: words of 1067"),
        (Exit::Own(42), "it ended while it was starting: its own exit code 42"),
        (Exit::System(Code(0)), "it ended while it was starting: without an exit code"),
    ] {
        let world = World::default();
        let sim = Sim { on_start: vec![status(State::Starting), ended(exit)], ..Sim::new(State::Stopped) };
        let trouble = world.with("a", sim).services().start("a", &step()).unwrap_err();
        assert_eq!(trouble.why, words);
    }
    let refused = Sim { refusals: VecDeque::from([Code(1069)]), ..Sim::new(State::Stopped) };
    let trouble = World::default().with("a", refused).services().start("a", &step()).unwrap_err();
    assert_eq!(trouble.why, "it cannot be started: words of 1069");
    let hangs = Sim { on_start: vec![status(State::Starting)], ..Sim::new(State::Stopped) };
    let trouble = World::default().with("a", hangs).services().start("a", &short()).unwrap_err();
    assert_eq!(trouble.why, "not well: a is starting, when it should be online");
}

#[test]
fn what_depends_on_it_is_stopped_first_and_no_more_than_that() {
    let needing = |needs: &[&'static str]| Sim { needs: needs.to_vec(), ..Sim::new(State::Running) };
    let world = World::default().with("store", Sim::new(State::Running)).with("agent", needing(&["store"]));
    let world = world.with("web", needing(&["agent"])).with("idle", Sim { needs: vec!["store"], ..Sim::new(State::Stopped) });
    let world = world.with("other", Sim::new(State::Running));
    let (services, step) = (world.services(), step());
    services.stop("store", &step).unwrap();
    assert_eq!(world.log(), ["stop web", "stop agent", "stop store"]);
    assert!(step.lines().contains(&"service web: it is stopped, since it depends on store".to_owned()), "{:?}", step.lines());
    services.stop("store", &step).unwrap();
    assert_eq!(world.log().len(), 3);
    // Something that depends on it is started just before the order: it is looked anew.
    let raced = Sim { refusals: VecDeque::from([Code::DEPENDENTS_RUN]), ..Sim::new(State::Running) };
    let world = World::default().with("store", raced);
    world.services().stop("store", &step).unwrap();
    assert_eq!(world.log(), ["stop store"; 2]);
    // One that hangs keeps it from being stopped, and the others are stopped all the same.
    let hangs = Sim { on_stop: vec![status(State::Stopping)], ..needing(&["store"]) };
    let world = World::default().with("store", Sim::new(State::Running)).with("a", hangs).with("b", needing(&["store"]));
    let trouble = world.services().stop("store", &short()).unwrap_err();
    assert_eq!(trouble.to_string().split(';').next().unwrap(), "service a: not well: a is stopping, when it should be offline");
    assert_eq!(world.log(), ["stop a", "stop b"]);
}

#[test]
fn a_stop_waits_until_orders_are_taken_and_the_process_has_ended() {
    let starting = Sim { looks: row(&[State::Starting, State::Starting, State::Running]).into(), ..Sim::new(State::Running) };
    let busy = Sim { refusals: VecDeque::from([Code::TAKES_NO_ORDERS_NOW, Code::NO_ANSWER_IN_TIME]), ..Sim::new(State::Running) };
    let world = World::default().with("starting", starting).with("busy", busy);
    let services = world.services();
    services.stop("starting", &step()).unwrap();
    // Who answers too late was told all the same, so it is not told again.
    let trouble = services.stop("busy", &TestStep::new(Duration::from_secs(2))).unwrap_err();
    assert_eq!(trouble.why, "online, when it should be offline");
    assert_eq!(world.log().iter().filter(|line| *line == "stop busy").count(), 2);
    // One says that it is stopped; the other lives in a process that others need.
    let outlives = |home| {
        let sim = Sim { looks: row(&[State::Running, State::Stopped]).into(), home, ..Sim::new(State::Running) };
        World::default().with("a", sim).with("b", Sim { home, ..Sim::new(State::Running) }).services().stop("a", &short())
    };
    let trouble = outlives(None).unwrap_err();
    assert_eq!(trouble.why, "it says that it is stopped, but its process has not ended");
    outlives(Some(1)).unwrap();
}

#[test]
fn a_handler_that_hangs_is_given_up_in_time() {
    let begun = Instant::now();
    let world = World::default().with("deaf", Sim { is_deaf: true, ..Sim::new(State::Running) });
    let trouble = world.services().stop("deaf", &short()).unwrap_err();
    assert_eq!(trouble.why, "it did not answer the order to stop");
    let world = World::default().with("deaf", Sim { is_deaf: true, ..Sim::new(State::Stopped) });
    let trouble = world.services().start("deaf", &short()).unwrap_err();
    assert_eq!(trouble.why, "it did not answer the order to start");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_kill_leaves_nothing_that_starts_it_again_and_its_recovery_as_it_was() {
    let world = World::default().with("a", Sim::new(State::Stopping)).with("gone", Sim::new(State::Stopped));
    let services = world.services();
    services.kill("a").unwrap();
    services.kill("a").unwrap();
    services.kill("gone").unwrap();
    assert_eq!(services.standing("a").unwrap().condition, Condition::Offline);
    assert!(world.of("a", |sim| sim.has_recovery).unwrap());
    assert_eq!(world.log(), ["end a"]);
    // What lives in the same process is not started again either.
    let sharing = || Sim { home: Some(1), ..Sim::new(State::Running) };
    let world = World::default().with("smtp", sharing()).with("web", sharing()).with("other", Sim::new(State::Running));
    let services = world.services();
    services.kill("web").unwrap();
    let state_of = |name| world.of(name, |sim| (sim.state(), sim.has_recovery)).unwrap();
    assert_eq!([state_of("smtp"), state_of("web")], [(State::Stopped, true); 2]);
    assert_eq!(state_of("other"), (State::Running, true));
    let refused = Sim { refusals: VecDeque::from([Code::ACCESS_DENIED]), ..Sim::new(State::Running) };
    let world = World::default().with("a", refused);
    let trouble = world.services().kill("a").unwrap_err();
    assert_eq!(trouble.mend, "run standin as administrator");
    assert!(world.of("a", |sim| sim.has_recovery).unwrap(), "it is given back though the end failed");
}

#[test]
fn silence_is_told_once_for_each_count() {
    let (now, mut silence) = (Instant::now(), Silence::default());
    let at = |seconds| now + Duration::from_secs(seconds);
    let counted = |checkpoint| Status { checkpoint, wait_hint: Duration::from_secs(20), ..status(State::Starting) };
    let looks = [(0, 1), (20, 1), (21, 1), (22, 1), (23, 2), (43, 2), (60, 2), (90, 2)];
    let told: Vec<u64> = looks
        .into_iter()
        .filter_map(|(at_s, count)| silence.look(&counted(count), at(at_s)))
        .map(|told| told.as_secs())
        .collect();
    assert_eq!(told, [21, 37]);
}
