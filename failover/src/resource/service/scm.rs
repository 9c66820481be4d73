//! The service control manager of Windows: what is asked of it, in which order, and what its answers mean. The calls themselves are behind
//! [`Control`], so all of this is tested on every system.
//!
//! Sources: `winerror.h` for the codes; Microsoft's pages on `StartService`, `ControlService`, `EnumDependentServices`, `SERVICE_STATUS` and
//! `SERVICE_FAILURE_ACTIONS` for the rules.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Manager, Standing};
use crate::resource::{Condition, Step, Trouble};

/// How often the state of a service is asked for while it comes.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long an order that is not waited for may take.
const ORDER_TIME: Duration = Duration::from_secs(5);
/// How long the manager may take to notice that a process has ended.
const NOTICE_TIME: Duration = Duration::from_secs(5);
/// How long a service may say nothing new before that is told, if it asks for less itself.
const SILENCE: Duration = Duration::from_secs(10);

/// What went wrong, as Windows numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) u32);

impl Code {
    const ACCESS_DENIED: Self = Self(5);
    const NO_MEMORY: Self = Self(8);
    pub(super) const INVALID_NAME: Self = Self(123);
    const DEPENDENTS_RUN: Self = Self(1051);
    const NO_ANSWER_IN_TIME: Self = Self(1053);
    const RUNS_ALREADY: Self = Self(1056);
    const DISABLED: Self = Self(1058);
    const DOES_NOT_EXIST: Self = Self(1060);
    const TAKES_NO_ORDERS_NOW: Self = Self(1061);
    const NOT_ACTIVE: Self = Self(1062);
}

/// The states of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Stopped,
    Starting,
    Stopping,
    Running,
    Continuing,
    Pausing,
    Paused,
}

impl State {
    /// As a group sees it. One that is paused serves nobody, and still has its files open.
    fn condition(self, service: &str) -> Condition {
        let how = match self {
            Self::Running => return Condition::Online,
            Self::Stopped => return Condition::Offline,
            Self::Starting => "is starting",
            Self::Stopping => "is stopping",
            Self::Continuing => "is coming out of a pause",
            Self::Pausing => "is going into a pause",
            Self::Paused => "is paused",
        };
        Condition::Partly(format!("{service} {how}"))
    }
}

/// How a service ended the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// With a code of Windows; 0 is none.
    System(Code),
    /// With a number of its own.
    Own(u32),
}

/// What the manager says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) exit: Exit,
    /// On its way from one state to another a service counts this up,
    pub(super) checkpoint: u32,
    /// and says how long the next count may take.
    pub(super) wait_hint: Duration,
}

/// When a service is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartMode {
    /// With the system, at once or a little later.
    Automatic,
    /// When somebody wants it.
    Demand,
    /// Never.
    Disabled,
    /// With the kernel, as drivers are.
    Driver,
}

/// The calls of the service control manager.
pub(super) trait Control: Clone + Send + Sync + 'static {
    /// The process of a service.
    type Process: Process;
    /// What Windows does when a service fails.
    type Recovery;

    fn status(&self, service: &str) -> Result<Status, Code>;
    fn start_mode(&self, service: &str) -> Result<StartMode, Code>;
    /// Changes nothing else of it.
    fn set_start_mode(&self, service: &str, mode: StartMode) -> Result<(), Code>;
    fn start(&self, service: &str) -> Result<(), Code>;
    fn stop(&self, service: &str) -> Result<(), Code>;
    /// Ends a pause.
    fn resume(&self, service: &str) -> Result<(), Code>;
    /// Those that do not run without it, at first or second hand, as far as they run: in the order in which they can be stopped.
    fn dependents(&self, service: &str) -> Result<Vec<String>, Code>;
    /// Its process, if it has one.
    fn process(&self, service: &str) -> Result<Option<Self::Process>, Code>;
    /// The services that live in a process.
    fn tenants(&self, process: &Self::Process) -> Result<Vec<String>, Code>;
    /// Lets Windows do nothing when it fails, and returns what it would have done.
    fn take_recovery(&self, service: &str) -> Result<Self::Recovery, Code>;
    fn give_recovery(&self, service: &str, recovery: &Self::Recovery) -> Result<(), Code>;
    /// What Windows says of a code.
    fn words(&self, code: Code) -> String;
}

/// A process, which keeps its number as long as this is held.
pub(super) trait Process {
    /// Whether other services live in it, too.
    fn is_shared(&self) -> bool;
    fn has_ended(&self) -> Result<bool, Code>;
    /// Ends it at once. One that has ended is as it should be.
    fn end(&self) -> Result<(), Code>;
}

/// An order to a service by its name.
type Order<C> = fn(&C, &str) -> Result<(), Code>;

/// The manager of services, spoken to by these calls.
pub(super) struct Services<C> {
    pub(super) control: C,
}

impl<C: Control> Services<C> {
    fn trouble(&self, service: &str, attempt: &str, code: Code) -> Trouble {
        let (why, mend) = match code {
            Code::DOES_NOT_EXIST | Code::INVALID_NAME => {
                (format!("Windows does not have it ({})", self.control.words(code)), "install it, or correct its name".to_owned())
            }
            Code::ACCESS_DENIED => {
                (format!("{attempt}: {}", self.control.words(code)), "run standin as administrator".to_owned())
            }
            Code::DISABLED => {
                ("it is disabled, so it cannot be started".to_owned(), format!("sc config {service} start= demand"))
            }
            _ => (format!("{attempt}: {}", self.control.words(code)), look_into(service)),
        };
        Trouble::new(format!("service {service}"), why, mend)
    }

    fn status(&self, service: &str) -> Result<Status, Trouble> {
        self.control.status(service).map_err(|code| self.trouble(service, "it cannot be looked at", code))
    }

    /// Gives an order, and waits for the answer until it is over: the manager itself waits half a minute for a service that hangs. `None` if
    /// there was no answer; the order may still be carried out.
    fn order(&self, service: &str, is_over: &dyn Fn() -> bool, order: Order<C>) -> Option<Result<(), Code>> {
        let (sender, answer) = mpsc::channel();
        let (control, service) = (self.control.clone(), service.to_owned());
        let given = thread::Builder::new().spawn(move || {
            // Whoever waited may have given up.
            let _ = sender.send(order(&control, &service));
        });
        if given.is_err() {
            return Some(Err(Code::NO_MEMORY));
        }
        loop {
            match answer.recv_timeout(ASK_EVERY) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if !is_over() => {}
                Err(_) => return None,
            }
        }
    }

    /// Stops one of which nothing depends. Returns whether it did: `false` if something that depends on it runs by now.
    fn stop_one(&self, service: &str, ordered_by: Instant, step: &dyn Step) -> Result<bool, Trouble> {
        let process = self.control.process(service).ok().flatten().filter(|process| !process.is_shared());
        let (mut is_ordered, mut silence) = (false, Silence::default());
        loop {
            let status = self.status(service)?;
            match status.state {
                State::Stopped => break,
                State::Stopping => silence.tell(service, &status, step),
                _ if is_ordered => {}
                _ => match self.order(service, &|| step.is_cancelled() || Instant::now() >= ordered_by, C::stop) {
                    // It was told, and may still do it.
                    Some(Ok(()) | Err(Code::NO_ANSWER_IN_TIME)) => is_ordered = true,
                    Some(Err(Code::DEPENDENTS_RUN)) => return Ok(false),
                    // It is starting, and is asked again; or it has ended meanwhile.
                    Some(Err(Code::TAKES_NO_ORDERS_NOW | Code::NOT_ACTIVE)) => {}
                    Some(Err(code)) => return Err(self.trouble(service, "it cannot be stopped", code)),
                    None => return Err(not_as_wanted(service, "it did not answer the order to stop".to_owned())),
                },
            }
            if is_over(step) {
                return Err(self.not_in_time(service, Condition::Offline)?);
            }
            thread::sleep(ASK_EVERY);
        }
        // A service says itself that it is stopped; its files are closed when its process has ended.
        while let Some(process) = &process
            && !process.has_ended().unwrap_or(true)
        {
            if is_over(step) {
                return Err(not_as_wanted(service, "it says that it is stopped, but its process has not ended".to_owned()));
            }
            thread::sleep(ASK_EVERY);
        }
        Ok(true)
    }

    /// What is said when time is up, by how it stands now.
    fn not_in_time(&self, service: &str, wanted: Condition) -> Result<Trouble, Trouble> {
        let stands = self.status(service)?.state.condition(service);
        Ok(not_as_wanted(service, format!("{stands}, when it should be {wanted}")))
    }

    fn ended_while_starting(&self, service: &str, exit: Exit) -> Trouble {
        let how = match exit {
            Exit::System(Code(0)) => "without an exit code".to_owned(),
            Exit::System(code) => self.control.words(code),
            Exit::Own(number) => format!("its own exit code {number}"),
        };
        not_as_wanted(service, format!("it ended while it was starting: {how}"))
    }
}

fn is_over(step: &dyn Step) -> bool {
    Instant::now() >= step.deadline() || step.is_cancelled()
}

fn not_as_wanted(service: &str, why: String) -> Trouble {
    Trouble::new(format!("service {service}"), why, look_into(service))
}

fn look_into(service: &str) -> String {
    format!("look into it: sc queryex {service}; the event log, by Service Control Manager and by the service itself")
}

impl<C: Control> Manager for Services<C> {
    fn standing(&self, service: &str) -> Result<Standing, Trouble> {
        let status = self.status(service)?;
        let mode = self.control.start_mode(service);
        let mode = mode.map_err(|code| self.trouble(service, "it cannot be looked at", code))?;
        let starts_with_system = match mode {
            StartMode::Disabled if status.state == State::Stopped => return Err(self.trouble(service, "", Code::DISABLED)),
            StartMode::Automatic => Some(true),
            StartMode::Demand | StartMode::Disabled => Some(false),
            StartMode::Driver => None,
        };
        Ok(Standing { condition: status.state.condition(service), starts_with_system })
    }

    fn start(&self, service: &str, step: &dyn Step) -> Result<(), Trouble> {
        let (mut is_ordered, mut silence) = (false, Silence::default());
        loop {
            let status = self.status(service)?;
            let order: Option<Order<C>> = match status.state {
                State::Running => return Ok(()),
                State::Stopped if is_ordered => return Err(self.ended_while_starting(service, status.exit)),
                State::Stopped => Some(C::start),
                State::Paused => Some(C::resume),
                // On its way, whoever wanted that; what it comes to decides.
                State::Starting | State::Stopping | State::Continuing | State::Pausing => {
                    silence.tell(service, &status, step);
                    None
                }
            };
            if is_over(step) {
                return Err(self.not_in_time(service, Condition::Online)?);
            }
            match order.map(|order| self.order(service, &|| is_over(step), order)) {
                Some(Some(Ok(()))) => is_ordered = true,
                None | Some(Some(Err(Code::RUNS_ALREADY | Code::TAKES_NO_ORDERS_NOW | Code::NOT_ACTIVE))) => {}
                Some(Some(Err(code))) => return Err(self.trouble(service, "it cannot be started", code)),
                Some(None) => return Err(not_as_wanted(service, "it did not answer the order to start".to_owned())),
            }
            thread::sleep(ASK_EVERY);
        }
    }

    /// With those that depend on it, or Windows would not stop it. The orders are given though time may be up, since one that hung has used
    /// it: each service less is one less that writes.
    fn stop(&self, service: &str, step: &dyn Step) -> Result<(), Trouble> {
        let ordered_by = step.deadline().max(Instant::now() + ORDER_TIME);
        loop {
            let dependents = self.control.dependents(service);
            let dependents = dependents.map_err(|code| self.trouble(service, "what depends on it cannot be seen", code))?;
            let mut first = None;
            for dependent in &dependents {
                step.tell(format_args!("service {dependent}: it is stopped, since it depends on {service}"));
                if let Err(trouble) = self.stop_one(dependent, ordered_by, step) {
                    step.tell(format_args!("{trouble}"));
                    first.get_or_insert(trouble);
                }
            }
            if let Some(trouble) = first {
                return Err(trouble);
            }
            if self.stop_one(service, ordered_by, step)? {
                return Ok(());
            }
            // Something that depends on it was started meanwhile.
            if is_over(step) {
                return Err(self.not_in_time(service, Condition::Offline)?);
            }
            thread::sleep(ASK_EVERY);
        }
    }

    /// By its process, and so with all other services that live in that. Windows may be set to start a service again that ends so (its
    /// recovery): that is taken away before, from each of them, and given back after. If this is cut off between the two, it stays away.
    fn kill(&self, service: &str) -> Result<(), Trouble> {
        let at_once = |why: String| Trouble::new(format!("service {service}"), why, "look into it at once");
        let failed = |attempt: &str, code| self.trouble(service, attempt, code);
        let process = self.control.process(service).map_err(|code| failed("its process cannot be found", code))?;
        let Some(process) = process else {
            return match self.status(service)?.state {
                State::Stopped => Ok(()),
                state => Err(at_once(format!("{}, without a process that could be ended", state.condition(service)))),
            };
        };
        let tenants = self.control.tenants(&process).unwrap_or_else(|_| vec![service.to_owned()]);
        // Where that cannot be taken away, the process is ended all the same.
        let taken = tenants.iter().filter_map(|tenant| Some((tenant, self.control.take_recovery(tenant).ok()?)));
        let taken: Vec<(&String, C::Recovery)> = taken.collect();
        let ended = process.end().map_err(|code| failed("its process cannot be ended", code)).and_then(|()| {
            let until = Instant::now() + NOTICE_TIME;
            let is_stopped = |tenant: &String| self.control.status(tenant).is_ok_and(|status| status.state == State::Stopped);
            while !process.has_ended().unwrap_or(true) || !tenants.iter().all(is_stopped) {
                if Instant::now() >= until {
                    return Err(at_once("its process was ended, and Windows does not take it for stopped".to_owned()));
                }
                thread::sleep(ASK_EVERY);
            }
            Ok(())
        });
        let given = taken.iter().map(|(tenant, recovery)| self.control.give_recovery(tenant, recovery)).fold(Ok(()), Result::and);
        ended.and(given.map_err(|code| failed("it was ended, but what Windows does when it fails cannot be set as it was", code)))
    }

    /// Whether it starts a little later than others is left as it is: that is of no effect as long as it does not start with the system.
    fn set_start_up(&self, service: &str, with_system: bool, _: &dyn Step) -> Result<(), Trouble> {
        let mode = if with_system { StartMode::Automatic } else { StartMode::Demand };
        let set = self.control.set_start_mode(service, mode);
        set.map_err(|code| self.trouble(service, "when it starts cannot be changed", code))
    }
}

/// Finds services that are on their way and say nothing new for longer than they asked for. That is told, and no more: many ask for too
/// little.
#[derive(Default)]
struct Silence {
    /// The last count, since when it is that, and whether it was told.
    count: Option<(u32, Instant, bool)>,
}

impl Silence {
    fn tell(&mut self, service: &str, status: &Status, step: &dyn Step) {
        if let Some(silent) = self.look(status, Instant::now()) {
            let condition = status.state.condition(service);
            step.tell(format_args!("service {service}: {condition}, and has said nothing new for {} s", silent.as_secs()));
        }
    }

    /// For how long there was nothing new, if that is too long and was not returned before.
    fn look(&mut self, status: &Status, now: Instant) -> Option<Duration> {
        let (_, since, is_told) = match &mut self.count {
            Some(count) if count.0 == status.checkpoint => count,
            count => count.insert((status.checkpoint, now, false)),
        };
        let silent = now.saturating_duration_since(*since);
        (silent > status.wait_hint.max(SILENCE) && !std::mem::replace(is_told, true)).then_some(silent)
    }
}

#[cfg(test)]
mod tests;
