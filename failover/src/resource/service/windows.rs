//! The service control manager, by the crate `windows-service`; and by the calls themselves for what it does not have: dependents, the
//! process of a service that is on its way, and a change of the start-up alone.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceExitCode, ServiceFailureActions, ServiceStartType, ServiceState,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{ERROR_INVALID_DATA, ERROR_INVALID_PARAMETER, ERROR_MORE_DATA, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Services::{
    ChangeServiceConfigW, CloseServiceHandle, ENUM_SERVICE_STATUS_PROCESSW, ENUM_SERVICE_STATUSW, EnumDependentServicesW,
    EnumServicesStatusExW, OpenSCManagerW, QueryServiceStatusEx, SC_ENUM_PROCESS_INFO, SC_MANAGER_ENUMERATE_SERVICE,
    SC_STATUS_PROCESS_INFO, SERVICE_ACTIVE, SERVICE_ENUMERATE_DEPENDENTS, SERVICE_NO_CHANGE, SERVICE_STATUS_PROCESS,
    SERVICE_WIN32, SERVICE_WIN32_OWN_PROCESS,
};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, TerminateProcess, WaitForSingleObject,
};

use super::scm::{Code, Control, Exit, Process, Services, StartMode, State, Status};

pub(super) use super::scm::ASK_EVERY;

/// What a process that is killed ends with.
const KILLED: u32 = 1;

/// The manager of this machine.
pub(super) fn manager() -> Services<ControlManager> {
    Services { control: ControlManager }
}

/// The calls to this machine's service control manager. Each opens the service anew, so that none is kept from being removed.
#[derive(Clone)]
pub(super) struct ControlManager;

impl Control for ControlManager {
    type Process = Running;
    /// `None` where Windows does nothing.
    type Recovery = Option<(ServiceFailureActions, Vec<ServiceAction>)>;

    fn status(&self, service: &str) -> Result<Status, Code> {
        let status = open(service, ServiceAccess::QUERY_STATUS)?.query_status().map_err(code)?;
        let state = match status.current_state {
            ServiceState::Stopped => State::Stopped,
            ServiceState::StartPending => State::Starting,
            ServiceState::StopPending => State::Stopping,
            ServiceState::Running => State::Running,
            ServiceState::ContinuePending => State::Continuing,
            ServiceState::PausePending => State::Pausing,
            ServiceState::Paused => State::Paused,
        };
        let exit = match status.exit_code {
            ServiceExitCode::Win32(number) => Exit::System(Code(number)),
            ServiceExitCode::ServiceSpecific(number) => Exit::Own(number),
        };
        Ok(Status { state, exit, checkpoint: status.checkpoint, wait_hint: status.wait_hint })
    }

    fn start_mode(&self, service: &str) -> Result<StartMode, Code> {
        let config = open(service, ServiceAccess::QUERY_CONFIG)?.query_config().map_err(code)?;
        Ok(match config.start_type {
            ServiceStartType::AutoStart => StartMode::Automatic,
            ServiceStartType::OnDemand => StartMode::Demand,
            ServiceStartType::Disabled => StartMode::Disabled,
            ServiceStartType::SystemStart | ServiceStartType::BootStart => StartMode::Driver,
        })
    }

    /// The crate would write all of the configuration anew, and put the command line in quotes.
    fn set_start_mode(&self, service: &str, mode: StartMode) -> Result<(), Code> {
        let service = open(service, ServiceAccess::CHANGE_CONFIG)?;
        let mode = match mode {
            StartMode::Automatic => ServiceStartType::AutoStart,
            StartMode::Demand => ServiceStartType::OnDemand,
            StartMode::Disabled => ServiceStartType::Disabled,
            StartMode::Driver => ServiceStartType::SystemStart,
        };
        let (same, none, no_tag) = (SERVICE_NO_CHANGE, ptr::null(), ptr::null_mut());
        // Sound: the handle is open, and null pointers leave as it is what they stand for.
        let is_done = unsafe {
            ChangeServiceConfigW(service.raw_handle(), same, mode.to_raw(), same, none, none, no_tag, none, none, none, none)
        };
        done(is_done)
    }

    fn start(&self, service: &str) -> Result<(), Code> {
        open(service, ServiceAccess::START)?.start::<&str>(&[]).map_err(code)
    }

    fn stop(&self, service: &str) -> Result<(), Code> {
        open(service, ServiceAccess::STOP)?.stop().map_err(code).map(drop)
    }

    fn resume(&self, service: &str) -> Result<(), Code> {
        open(service, ServiceAccess::PAUSE_CONTINUE)?.resume().map_err(code).map(drop)
    }

    fn dependents(&self, service: &str) -> Result<Vec<String>, Code> {
        let service = open(service, ServiceAccess::from_bits_retain(SERVICE_ENUMERATE_DEPENDENTS))?;
        // Sound: the handle is open, and there is room for what is asked.
        let call = |to, room, needed: &mut u32, count: &mut u32| unsafe {
            EnumDependentServicesW(service.raw_handle(), SERVICE_ACTIVE, to, room, needed, count)
        };
        let entries: List<ENUM_SERVICE_STATUSW> = List::of(call)?;
        // Sound: the call has put a name there.
        Ok(entries.iter().map(|entry| unsafe { text(entry.lpServiceName) }).collect())
    }

    /// Windows gives the number of a process that ended to another one soon. So it is held, and looked at again whether it was the service's
    /// when it was held.
    fn process(&self, service: &str) -> Result<Option<Running>, Code> {
        let service = open(service, ServiceAccess::QUERY_STATUS)?;
        loop {
            let status = status_process(&service)?;
            if status.dwProcessId == 0 {
                return Ok(None);
            }
            // Sound: no pointers are passed.
            let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE | PROCESS_TERMINATE, 0, status.dwProcessId) };
            let failed = last_error();
            // Sound: if it is not null, it is an open handle that nobody else closes.
            let handle = (!handle.is_null()).then(|| unsafe { OwnedHandle::from_raw_handle(handle) });
            if status_process(&service)?.dwProcessId != status.dwProcessId {
                continue;
            }
            let Some(handle) = handle else {
                // No process has that number any more, which the manager is about to notice.
                return if failed == Code(ERROR_INVALID_PARAMETER) { Ok(None) } else { Err(failed) };
            };
            let is_shared = status.dwServiceType & SERVICE_WIN32_OWN_PROCESS == 0;
            let running = Running { handle, id: status.dwProcessId, is_shared };
            return Ok((!running.has_ended()?).then_some(running));
        }
    }

    fn tenants(&self, process: &Running) -> Result<Vec<String>, Code> {
        // Sound: no pointers but to nothing.
        let manager = unsafe { OpenSCManagerW(ptr::null(), ptr::null(), SC_MANAGER_ENUMERATE_SERVICE) };
        if manager.is_null() {
            return Err(last_error());
        }
        // Sound: the handle is open, there is room for what is asked, and null is for no group, and to begin at the first.
        let call = |to: *mut ENUM_SERVICE_STATUS_PROCESSW, room, needed: &mut u32, count: &mut u32| unsafe {
            let (kinds, first, group) = (SERVICE_WIN32, ptr::null_mut(), ptr::null());
            EnumServicesStatusExW(
                manager,
                SC_ENUM_PROCESS_INFO,
                kinds,
                SERVICE_ACTIVE,
                to.cast(),
                room,
                needed,
                count,
                first,
                group,
            )
        };
        let entries = List::of(call);
        // Sound: it is open, and not used any more.
        unsafe { CloseServiceHandle(manager) };
        let entries = entries?;
        let there = entries.iter().filter(|entry| entry.ServiceStatusProcess.dwProcessId == process.id);
        // Sound: the call has put a name there.
        Ok(there.map(|entry| unsafe { text(entry.lpServiceName) }).collect())
    }

    fn take_recovery(&self, service: &str) -> Result<Self::Recovery, Code> {
        // Who sets a restart as recovery must be allowed to start.
        let access = ServiceAccess::QUERY_CONFIG | ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
        let service = open(service, access)?;
        let before = service.get_failure_actions().map_err(code)?;
        let Some(actions) = before.actions.clone().filter(|actions| !actions.is_empty()) else { return Ok(None) };
        // What is `None` stays as it is.
        let none = ServiceFailureActions { reboot_msg: None, command: None, actions: Some(Vec::new()), ..before };
        service.update_failure_actions(none.clone()).map_err(code)?;
        Ok(Some((none, actions)))
    }

    fn give_recovery(&self, service: &str, recovery: &Self::Recovery) -> Result<(), Code> {
        let Some((none, actions)) = recovery else { return Ok(()) };
        let service = open(service, ServiceAccess::CHANGE_CONFIG | ServiceAccess::START)?;
        service.update_failure_actions(ServiceFailureActions { actions: Some(actions.clone()), ..none.clone() }).map_err(code)
    }

    fn words(&self, code: Code) -> String {
        io::Error::from_raw_os_error(code.0.cast_signed()).to_string()
    }
}

/// The process of a service.
pub(super) struct Running {
    handle: OwnedHandle,
    id: u32,
    is_shared: bool,
}

impl Process for Running {
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn has_ended(&self) -> Result<bool, Code> {
        // Sound: the handle is open, and may be waited for.
        match unsafe { WaitForSingleObject(self.handle.as_raw_handle(), 0) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_TIMEOUT => Ok(false),
            _ => Err(last_error()),
        }
    }

    fn end(&self) -> Result<(), Code> {
        // Sound: the handle is open.
        let ended = done(unsafe { TerminateProcess(self.handle.as_raw_handle(), KILLED) });
        // One that has ended cannot be ended.
        if self.has_ended()? { Ok(()) } else { ended }
    }
}

fn open(service: &str, access: ServiceAccess) -> Result<Service, Code> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).map_err(code)?;
    manager.open_service(service, access).map_err(code)
}

/// With its process also when it does not run, or not yet.
fn status_process(service: &Service) -> Result<SERVICE_STATUS_PROCESS, Code> {
    let mut status = SERVICE_STATUS_PROCESS::default();
    let mut needed = 0;
    let room = size_of::<SERVICE_STATUS_PROCESS>() as u32;
    // Sound: the handle is open, and `status` is what this question is answered with.
    let is_done = unsafe {
        QueryServiceStatusEx(service.raw_handle(), SC_STATUS_PROCESS_INFO, (&raw mut status).cast(), room, &mut needed)
    };
    done(is_done).map(|()| status)
}

/// What a call lists: entries, and behind them in the same room the names that they point to.
struct List<T> {
    room: Vec<T>,
    count: usize,
}

impl<T: Copy + Default> List<T> {
    /// Of a call that is told where to and how many bytes there are, and tells how many more it needs, and how many entries it listed.
    fn of(call: impl Fn(*mut T, u32, &mut u32, &mut u32) -> i32) -> Result<Self, Code> {
        let mut room: Vec<T> = Vec::new();
        loop {
            let bytes = size_of_val(room.as_slice());
            let (mut needed, mut count) = (0, 0);
            // 256 KiB at most are ever needed.
            match done(call(room.as_mut_ptr(), u32::try_from(bytes).unwrap_or(u32::MAX), &mut needed, &mut count)) {
                Ok(()) => return Ok(Self { room, count: count as usize }),
                Err(Code(ERROR_MORE_DATA)) => {
                    room = vec![T::default(); (bytes + needed as usize).div_ceil(size_of::<T>()).max(room.len() + 1)];
                }
                Err(code) => return Err(code),
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.room.iter().take(self.count)
    }
}

/// A text that ends with a zero. It must do so.
unsafe fn text(from: *const u16) -> String {
    // Sound: up to the zero it may be read, says whoever called.
    let length = (0..).take_while(|at| unsafe { *from.add(*at) } != 0).count();
    // Sound: as before.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(from, length) })
}

/// Of a call that returns 0 when it fails.
fn done(returned: i32) -> Result<(), Code> {
    if returned == 0 { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Code {
    of_system(&io::Error::last_os_error())
}

fn of_system(error: &io::Error) -> Code {
    Code(error.raw_os_error().map_or(ERROR_INVALID_DATA, i32::cast_unsigned))
}

fn code(error: windows_service::Error) -> Code {
    match error {
        windows_service::Error::Winapi(error) => of_system(&error),
        windows_service::Error::ArgumentHasNulByte(_) => Code::INVALID_NAME,
        _ => Code(ERROR_INVALID_DATA),
    }
}
