//! systemd, by `systemctl`.

use std::time::{Duration, Instant};

use super::{Manager, Standing};
use crate::resource::command::{Ended, LOOK_TIME, Limited, must, must_by};
use crate::resource::{Condition, Step, Trouble};

/// How often the state of a service is asked for while it comes.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(100);

/// How long an order that is not waited for may take.
const ORDER_TIME: Duration = Duration::from_secs(5);

/// The manager of this machine.
pub(super) fn manager() -> Systemctl {
    Systemctl { program: vec!["systemctl".to_owned()] }
}

/// `systemctl`, or what stands in for it in a test.
pub(super) struct Systemctl {
    pub(super) program: Vec<String>,
}

impl Systemctl {
    fn words(&self, arguments: &[&str], unit: &str) -> Vec<String> {
        let arguments = arguments.iter().map(|word| (*word).to_owned());
        self.program.iter().cloned().chain(arguments).chain(["--".to_owned(), unit.to_owned()]).collect()
    }

    fn act(&self, verb: &str, unit: &str, step: &dyn Step) -> Result<(), Trouble> {
        must(&self.words(&[verb], unit), &[], &format!("service {unit}"), step)
    }

    /// After an order that ended well: until the unit is as wanted, since a job may have been joined with another.
    fn settle(&self, unit: &str, wanted: &Condition, step: &dyn Step) -> Result<(), Trouble> {
        loop {
            let stands = self.standing(unit)?.condition;
            if stands == *wanted {
                return Ok(());
            }
            if Instant::now() >= step.deadline()
                || step.is_cancelled()
                || matches!(stands, Condition::Partly(_)) && *wanted == Condition::Online
            {
                let mend = format!("look into it: systemctl status {unit}; journalctl -u {unit}");
                return Err(Trouble::new(format!("service {unit}"), format!("{stands}, when it should be {wanted}"), mend));
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
}

impl Manager for Systemctl {
    fn standing(&self, service: &str) -> Result<Standing, Trouble> {
        let what = format!("service {service}");
        let words = self.words(&["show", "--property=LoadState,ActiveState,SubState,UnitFileState"], service);
        let mut lines = Vec::new();
        let limited = Limited { words: &words, variables: &[], deadline: Instant::now() + LOOK_TIME, is_cancelled: &|| false };
        let ended = limited.run(&mut |line| lines.push(line.to_owned()));
        let lines = match ended {
            Ok(Ended::Code(0)) => lines,
            Ok(other) => {
                let why = format!("systemctl: {other}: {}", lines.join(" "));
                return Err(Trouble::new(
                    what,
                    why,
                    "systemd has to run on this node, or use the commands start, stop and state",
                ));
            }
            Err(error) => {
                let why = format!("systemctl cannot be started: {error}");
                return Err(Trouble::new(what, why, "on a system without systemd, use the commands start, stop and state"));
            }
        };
        read(service, &lines)
    }

    fn start(&self, service: &str, step: &dyn Step) -> Result<(), Trouble> {
        self.act("start", service, step)?;
        self.settle(service, &Condition::Online, step)
    }

    /// The order is given though time may be up, since one that hung has used it: each service less is one less that writes.
    fn stop(&self, service: &str, step: &dyn Step) -> Result<(), Trouble> {
        let deadline = step.deadline().max(Instant::now() + ORDER_TIME);
        must_by(deadline, &self.words(&["stop", "--no-block"], service), &[], &format!("service {service}"), step)?;
        self.settle(service, &Condition::Offline, step)
    }

    /// The order to stop comes first, so that systemd does not start it again.
    fn kill(&self, service: &str) -> Result<(), Trouble> {
        let what = format!("service {service}");
        for arguments in [&["stop", "--no-block"][..], &["kill", "--signal=SIGKILL"][..]] {
            let words = self.words(arguments, service);
            let limited =
                Limited { words: &words, variables: &[], deadline: Instant::now() + ORDER_TIME, is_cancelled: &|| false };
            let mut last = String::new();
            match limited.run(&mut |line| last = line.to_owned()) {
                Ok(Ended::Code(0)) => {}
                // It may have ended meanwhile.
                Ok(_) if matches!(self.standing(service), Ok(Standing { condition: Condition::Offline, .. })) => {}
                Ok(ended) => {
                    return Err(Trouble::new(what, format!("{}: {ended}: {last}", words.join(" ")), "look into it at once"));
                }
                Err(error) => {
                    return Err(Trouble::new(what, format!("systemctl cannot be started: {error}"), "look into it at once"));
                }
            }
        }
        Ok(())
    }

    fn set_start_up(&self, service: &str, with_system: bool, step: &dyn Step) -> Result<(), Trouble> {
        self.act(if with_system { "enable" } else { "disable" }, service, step)
    }
}

/// What `systemctl show` printed, as `Name=value` lines. Source: `org.freedesktop.systemd1(5)`, properties of units.
fn read(service: &str, lines: &[String]) -> Result<Standing, Trouble> {
    let value = |name: &str| {
        let mut found = lines.iter().filter_map(|line| line.split_once('=')).filter(|(known, _)| *known == name);
        found.next().map_or("", |(_, value)| value)
    };
    match value("LoadState") {
        "loaded" => {}
        "masked" => {
            let mend = format!("systemctl unmask {service}");
            return Err(Trouble::new(format!("service {service}"), "it is masked, so it cannot be started", mend));
        }
        "" => return Err(Trouble::new(format!("service {service}"), "systemctl does not say whether it is there", "")),
        other => {
            let why = format!("systemd does not have it ({other})");
            return Err(Trouble::new(format!("service {service}"), why, "install it, or correct its name"));
        }
    }
    let (active, sub) = (value("ActiveState"), value("SubState"));
    let condition = match active {
        "active" | "reloading" => Condition::Online,
        // A unit that failed has no process left.
        "inactive" | "failed" => Condition::Offline,
        _ => Condition::Partly(format!("{service} is {active} ({sub})")),
    };
    let starts_with_system = match value("UnitFileState") {
        "enabled" | "enabled-runtime" => Some(true),
        "disabled" => Some(false),
        _ => None,
    };
    Ok(Standing { condition, starts_with_system })
}
