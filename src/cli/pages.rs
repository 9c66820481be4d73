//! `standin man`: a page for each command.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use super::{Arguments, EXIT_CODES, Failure, Scene};

pub(super) fn run(scene: &Scene<'_>, directory: &Path) -> Result<ExitCode, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot write man pages to {}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(with_exit_codes(Arguments::command()), directory).map_err(failed)?;
    scene.print(&serde_json::json!({ "directory": directory }), || {
        format!("a page for each command in {}", directory.display())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Every page lists them, not only the first.
fn with_exit_codes(command: clap::Command) -> clap::Command {
    // Those that have their own keep them, and so do the commands beneath.
    let codes = command.get_after_help().map_or(EXIT_CODES.to_owned(), ToString::to_string);
    let inherited = codes.clone();
    command.after_help(codes).mut_subcommands(move |below| {
        let has_own = below.get_after_help().is_some();
        with_exit_codes(if has_own { below } else { below.after_help(inherited.clone()) })
    })
}
