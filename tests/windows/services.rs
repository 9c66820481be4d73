//! Services of Windows, for real: makes services of its own, and has them started, looked at, stopped and killed by what a group does that
//! with. Run as administrator; `tests/windows/run` runs it under Wine. It removes its services in the end.

mod program;
mod resource;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceDependency, ServiceErrorControl, ServiceFailureActions,
    ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use program::{DEAF, DIES, LINGER, LINGERS, REFUSAL, REFUSES, SERVE, SLOW, STAYS, WELL};
use resource::service::{Manager, Standing, dependents, end_process, manager, tenants};
use resource::{Condition, TestStep};

/// What is skipped, since this system cannot do it, with the reason.
type Skipped = Result<(), &'static str>;

/// A service of a test, removed in the end whatever it does.
struct Made {
    name: String,
    service: Service,
}

impl Made {
    fn new(behaviour: &str) -> Self {
        Self::with(behaviour, ServiceStartType::OnDemand, &[])
    }

    fn with(behaviour: &str, start_type: ServiceStartType, needs: &[&Self]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
        let control = ServiceManager::local_computer(None::<&str>, access).unwrap();
        let name = format!("standin-test-{}-{}-{behaviour}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let words = [SERVE, &name, behaviour].map(OsString::from).to_vec();
        let info = ServiceInfo {
            name: OsString::from(&name),
            display_name: OsString::from(&name),
            service_type: ServiceType::OWN_PROCESS,
            start_type,
            error_control: ServiceErrorControl::Normal,
            executable_path: std::env::current_exe().unwrap(),
            launch_arguments: words,
            dependencies: needs.iter().map(|needed| ServiceDependency::Service(OsString::from(&needed.name))).collect(),
            account_name: None,
            account_password: None,
        };
        let service = control.create_service(&info, ServiceAccess::ALL_ACCESS).unwrap();
        Self { name, service }
    }

    fn condition(&self) -> Condition {
        self.standing().condition
    }

    fn standing(&self) -> Standing {
        manager().standing(&self.name).unwrap()
    }

    fn start(&self) {
        manager().start(&self.name, &step()).unwrap();
        assert_eq!(self.condition(), Condition::Online);
    }

    fn stop(&self) {
        manager().stop(&self.name, &step()).unwrap();
        assert_eq!(self.condition(), Condition::Offline);
        assert!(!self.has_process());
    }

    fn has_process(&self) -> bool {
        !tenants(&self.name).is_empty()
    }

    /// Has Windows start it again at once when it fails. Returns whether this system can.
    fn recovers(&self) -> bool {
        let restart = ServiceAction { action_type: ServiceActionType::Restart, delay: Duration::ZERO };
        let actions = ServiceFailureActions {
            reset_period: ServiceFailureResetPeriod::Never,
            reboot_msg: None,
            command: None,
            actions: Some(vec![restart]),
        };
        self.service.update_failure_actions(actions).is_ok() && self.restarts() == Some(1)
    }

    fn restarts(&self) -> Option<usize> {
        Some(self.service.get_failure_actions().ok()?.actions?.len())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = manager().kill(&self.name);
        if let Err(error) = self.service.delete() {
            println!("        {} is not removed: {error}", self.name);
        }
    }
}

fn step() -> TestStep {
    TestStep::new(Duration::from_secs(60))
}

fn short() -> TestStep {
    TestStep::new(Duration::from_secs(2))
}

/// Looks for a while whether it stays so.
fn for_a_while(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(is_so(), "{what}");
        std::thread::sleep(Duration::from_millis(100)); // poll
    }
}

/// Whether this system notices that the process of a service has ended. Wine 8 does not.
fn notices_ends() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let well = Made::new(WELL);
        well.start();
        end_process(&well.name);
        let until = Instant::now() + Duration::from_secs(5);
        while well.condition() != Condition::Offline {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20)); // poll
        }
        true
    })
}

/// Kills it, and looks whether it stays so; where the system cannot tell, only that its process has ended.
fn kill(made: &Made) -> Skipped {
    assert!(made.has_process());
    let killed = manager().kill(&made.name);
    assert!(!made.has_process());
    if !notices_ends() {
        assert_eq!(killed.unwrap_err().why, "its process was ended, and Windows does not take it for stopped");
        return Err("this system does not notice that the process of a service has ended");
    }
    killed.unwrap();
    manager().kill(&made.name).unwrap();
    for_a_while("it is not started again", || made.condition() == Condition::Offline && !made.has_process());
    Ok(())
}

fn it_starts_and_stops_and_again_changes_nothing() -> Skipped {
    let well = Made::new(WELL);
    assert_eq!(well.standing(), Standing { condition: Condition::Offline, starts_with_system: Some(false) });
    well.stop();
    for _ in 0..2 {
        well.start();
        assert_eq!(tenants(&well.name), [well.name.clone()]);
        well.start();
        well.stop();
        well.stop();
    }
    Ok(())
}

fn a_slow_one_is_waited_for() -> Skipped {
    let slow = Made::new(SLOW);
    std::thread::scope(|scope| {
        let name = &slow.name;
        let starts = scope.spawn(move || manager().start(name, &step()));
        let until = Instant::now() + Duration::from_secs(20);
        while slow.condition() != Condition::Partly(format!("{} is starting", slow.name)) {
            assert!(Instant::now() < until && !starts.is_finished(), "it was never seen starting");
            std::thread::sleep(Duration::from_millis(20)); // poll
        }
        starts.join().unwrap().unwrap();
    });
    slow.stop();
    Ok(())
}

fn a_paused_one_goes_on() -> Skipped {
    let well = Made::new(WELL);
    well.start();
    well.service.pause().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while well.condition() != Condition::Partly(format!("{} is paused", well.name)) {
        assert!(Instant::now() < until, "it is never paused: {}", well.condition());
        std::thread::sleep(Duration::from_millis(20)); // poll
    }
    well.start();
    well.stop();
    Ok(())
}

fn what_ends_while_it_starts_is_told() -> Skipped {
    let refuses = Made::new(REFUSES);
    let trouble = manager().start(&refuses.name, &step()).unwrap_err();
    assert_eq!(trouble.what, format!("service {}", refuses.name));
    assert_eq!(trouble.why, format!("it ended while it was starting: its own exit code {REFUSAL}"));
    assert!(!trouble.mend.is_empty());
    if !notices_ends() {
        return Err("this system does not notice that the process of a service has ended");
    }
    let dies = Made::new(DIES);
    let trouble = manager().start(&dies.name, &step()).unwrap_err();
    println!("        {trouble}");
    assert!(trouble.why.starts_with("it ended while it was starting: "), "{trouble:?}");
    assert_eq!(dies.condition(), Condition::Offline);
    Ok(())
}

fn one_that_is_not_there_or_disabled_says_what_to_do() -> Skipped {
    let tried = [
        manager().standing("standin-test-missing").map(drop),
        manager().start("standin-test-missing", &step()),
        manager().stop("standin-test-missing", &step()),
        manager().kill("standin-test-missing"),
        manager().set_start_up("standin-test-missing", false, &step()),
        manager().standing("a name / that cannot be").map(drop),
    ];
    for tried in tried {
        let trouble = tried.unwrap_err();
        println!("        {trouble}");
        assert_eq!(trouble.mend, "install it, or correct its name");
    }
    let disabled = Made::with(WELL, ServiceStartType::Disabled, &[]);
    for trouble in [manager().standing(&disabled.name).unwrap_err(), manager().start(&disabled.name, &step()).unwrap_err()] {
        assert_eq!(trouble.why, "it is disabled, so it cannot be started");
    }
    manager().set_start_up(&disabled.name, false, &step()).unwrap();
    disabled.start();
    disabled.stop();
    Ok(())
}

fn its_start_up_changes_and_nothing_else() -> Skipped {
    let well = Made::with(WELL, ServiceStartType::AutoStart, &[]);
    let is_delayed = well.service.set_delayed_auto_start(true).is_ok();
    let before = well.service.query_config().unwrap();
    for with_system in [false, false, true] {
        manager().set_start_up(&well.name, with_system, &step()).unwrap();
        assert_eq!(well.standing().starts_with_system, Some(with_system));
    }
    assert_eq!(well.service.query_config().unwrap(), before);
    if !is_delayed {
        return Err("this system knows no delayed start");
    }
    let told = Command::new("sc.exe").args(["qc", &well.name]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("DELAYED"), "{told}");
    Ok(())
}

fn one_that_does_not_stop_is_given_up_in_time_and_killed() -> Skipped {
    let stays = Made::new(STAYS);
    let is_restarted = stays.recovers();
    stays.start();
    let begun = Instant::now();
    let trouble = manager().stop(&stays.name, &short()).unwrap_err();
    assert_eq!(trouble.why, format!("not well: {} is stopping, when it should be offline", stays.name));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    kill(&stays)?;
    if is_restarted { Ok(assert_eq!(stays.restarts(), Some(1))) } else { Err("this system restarts no services that fail") }
}

fn one_whose_handler_hangs_is_given_up_in_time_and_killed() -> Skipped {
    let deaf = Made::new(DEAF);
    deaf.start();
    let begun = Instant::now();
    let trouble = manager().stop(&deaf.name, &short()).unwrap_err();
    println!("        {trouble}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    kill(&deaf)
}

fn one_that_runs_is_killed_and_starts_again_only_when_told() -> Skipped {
    let well = Made::new(WELL);
    let is_restarted = well.recovers();
    well.start();
    kill(&well)?;
    well.start();
    well.stop();
    if is_restarted { Ok(assert_eq!(well.restarts(), Some(1))) } else { Err("this system restarts no services that fail") }
}

fn a_stop_waits_until_the_process_has_ended() -> Skipped {
    let lingers = Made::new(LINGERS);
    lingers.start();
    let begun = Instant::now();
    lingers.stop();
    assert!(begun.elapsed() >= LINGER, "{:?}", begun.elapsed());
    Ok(())
}

fn what_depends_on_it_is_stopped_first() -> Skipped {
    let store = Made::new(WELL);
    let web = Made::with(WELL, ServiceStartType::OnDemand, &[&store]);
    store.start();
    web.start();
    let known = dependents(&store.name);
    let step = step();
    manager().stop(&store.name, &step).unwrap();
    assert_eq!(store.condition(), Condition::Offline);
    if known.is_empty() {
        web.stop();
        return Err("this system does not tell what depends on a service");
    }
    assert_eq!(known, [web.name.clone()]);
    assert_eq!(web.condition(), Condition::Offline);
    assert_eq!(step.lines.lock().unwrap().len(), 1);
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, serve, name, behaviour] = &words[..]
        && serve == SERVE
    {
        program::serve(name, behaviour);
        return ExitCode::SUCCESS;
    }
    let tests: [(&str, fn() -> Skipped); 11] = [
        ("it starts and stops, and again changes nothing", it_starts_and_stops_and_again_changes_nothing),
        ("a slow one is waited for", a_slow_one_is_waited_for),
        ("a paused one goes on", a_paused_one_goes_on),
        ("what ends while it starts is told", what_ends_while_it_starts_is_told),
        ("one that is not there, or disabled, says what to do", one_that_is_not_there_or_disabled_says_what_to_do),
        ("its start-up changes, and nothing else", its_start_up_changes_and_nothing_else),
        ("one that does not stop is given up in time, and killed", one_that_does_not_stop_is_given_up_in_time_and_killed),
        ("one whose handler hangs is given up in time, and killed", one_whose_handler_hangs_is_given_up_in_time_and_killed),
        ("one that runs is killed, and starts again only when told", one_that_runs_is_killed_and_starts_again_only_when_told),
        ("a stop waits until the process has ended", a_stop_waits_until_the_process_has_ended),
        ("what depends on it is stopped first", what_depends_on_it_is_stopped_first),
    ];
    let (mut passed, mut failed, mut in_part) = (0, 0, 0);
    for (name, test) in tests {
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(test));
        let took = format!("{:.1} s", begun.elapsed().as_secs_f64());
        match outcome {
            Ok(Ok(())) => passed += 1,
            Ok(Err(why)) => {
                println!("        in part only: {why}");
                passed += 1;
                in_part += 1;
            }
            Err(_) => failed += 1,
        }
        println!("{} {name} ({took})", if outcome.is_ok() { "ok    " } else { "FAILED" });
    }
    println!("{passed} passed, {failed} failed ({in_part} in part only, as said above)");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
