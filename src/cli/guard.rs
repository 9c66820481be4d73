//! `standin guard`: started by the daemon beside itself, see `daemon/monitor/guard.rs`.

use std::process::ExitCode;

use standin_common::id::GroupName;

use super::{Failure, Scene};

pub(super) fn run(scene: &Scene<'_>, group: &GroupName) -> Result<ExitCode, Failure> {
    let settings = scene.settings()?;
    super::run::log(0);
    crate::daemon::monitor::guard::run(&settings, group).map_err(Failure::Failed)?;
    Ok(ExitCode::SUCCESS)
}
