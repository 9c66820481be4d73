//! A service that behaves as the words say that it is run with.

use std::ffi::OsString;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use windows_service::service::{ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::{define_windows_service, service_dispatcher};

/// The word for a run as a service, before its name and its behaviour.
pub(crate) const SERVE: &str = "serve";
/// How a service behaves:
pub(crate) const WELL: &str = "well";
/// it takes a while to start and to stop, and says so;
pub(crate) const SLOW: &str = "slow";
/// it ends while it starts, with an exit code of its own;
pub(crate) const REFUSES: &str = "refuses";
/// its process ends while it starts;
pub(crate) const DIES: &str = "dies";
/// it says that it is stopped, and its process goes on for a while;
pub(crate) const LINGERS: &str = "lingers";
/// it says that it stops, and does not;
pub(crate) const STAYS: &str = "stays";
/// its handler of orders never returns.
pub(crate) const DEAF: &str = "deaf";

/// The exit code of one that refuses.
pub(crate) const REFUSAL: u32 = 42;
/// How long one that lingers does so.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

define_windows_service!(ffi_service_main, service_main);

/// Serves as the service of this name until it is stopped.
pub(crate) fn serve(name: &str, behaviour: &str) {
    service_dispatcher::start(name, ffi_service_main).unwrap();
    if behaviour == LINGERS {
        thread::park_timeout(LINGER);
    }
}

fn service_main(_: Vec<OsString>) {
    let words: Vec<String> = std::env::args().collect();
    let [_, _, name, behaviour] = &words[..] else { return };
    let (orders, taken) = channel();
    let is_deaf = behaviour == DEAF;
    let given = orders.clone();
    let status = service_control_handler::register(name, move |order| handle(order, is_deaf, &given)).unwrap();
    Service { status, taken, _orders: orders, behaviour: behaviour.clone() }.run();
}

fn handle(order: ServiceControl, is_deaf: bool, orders: &Sender<ServiceControl>) -> ServiceControlHandlerResult {
    match order {
        ServiceControl::Stop if is_deaf => loop {
            thread::park();
        },
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Stop | ServiceControl::Pause | ServiceControl::Continue => {
            orders.send(order).unwrap();
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    }
}

struct Service {
    status: ServiceStatusHandle,
    taken: Receiver<ServiceControl>,
    /// The handler is dropped after the order to stop, and waits for orders go on.
    _orders: Sender<ServiceControl>,
    behaviour: String,
}

impl Service {
    fn tell(&self, state: ServiceState, checkpoint: u32, exit_code: ServiceExitCode) {
        let accepted = match state {
            ServiceState::Running | ServiceState::Paused => ServiceControlAccept::STOP | ServiceControlAccept::PAUSE_CONTINUE,
            _ => ServiceControlAccept::empty(),
        };
        let status = ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: accepted,
            exit_code,
            checkpoint,
            wait_hint: Duration::from_secs(if checkpoint > 0 { 2 } else { 0 }),
            process_id: None,
        };
        self.status.set_service_status(status).unwrap();
    }

    /// On its way, for a moment each count.
    fn pend(&self, state: ServiceState, counts: u32) {
        for checkpoint in 1..=counts {
            self.tell(state, checkpoint, ServiceExitCode::NO_ERROR);
            let _ = self.taken.recv_timeout(Duration::from_millis(300));
        }
    }

    fn run(&self) {
        let counts = if self.behaviour == SLOW { 5 } else { 1 };
        self.pend(ServiceState::StartPending, counts);
        match self.behaviour.as_str() {
            REFUSES => return self.tell(ServiceState::Stopped, 0, ServiceExitCode::ServiceSpecific(REFUSAL)),
            DIES => std::process::exit(3),
            _ => self.tell(ServiceState::Running, 0, ServiceExitCode::NO_ERROR),
        }
        loop {
            match self.taken.recv().unwrap() {
                ServiceControl::Pause => self.tell(ServiceState::Paused, 0, ServiceExitCode::NO_ERROR),
                ServiceControl::Continue => self.tell(ServiceState::Running, 0, ServiceExitCode::NO_ERROR),
                _ => break,
            }
        }
        self.pend(ServiceState::StopPending, counts);
        if self.behaviour == STAYS {
            loop {
                thread::park();
            }
        }
        self.tell(ServiceState::Stopped, 0, ServiceExitCode::NO_ERROR);
    }
}
