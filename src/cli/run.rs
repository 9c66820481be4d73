//! `standin run`.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::{Failure, Scene};

pub(super) fn run(scene: &Scene<'_>, verbose: u8) -> Result<ExitCode, Failure> {
    let settings = scene.settings()?;
    log(verbose);
    crate::daemon::run(settings, scene.config).map_err(Failure::Failed)?;
    Ok(ExitCode::SUCCESS)
}

/// Logs to standard error from now on.
pub(super) fn log(verbose: u8) {
    let level = ["info", "debug", "trace"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_env("STANDIN_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,standin={level},standin_common={level},standin_replicator={level}")));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(verbose > 0);
    // The journal has its own times, and no colours.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().with_ansi(false).init();
    } else {
        log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}
