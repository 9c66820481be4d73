//! `standin demo`.

use std::process::ExitCode;

use standin_config::units;

use super::{Failure, Scene, show};
use crate::demo;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// About how large the volume is; the demo needs three times that on disk.
    #[arg(long, default_value = "1 GiB", value_parser = size)]
    size: u64,
    /// Keep everything on disk at the end, and say where.
    #[arg(long)]
    keep: bool,
}

fn size(text: &str) -> Result<u64, String> {
    let bytes = units::parse_size(text).map_err(|error| error.to_string())?;
    if bytes < demo::MIN_SIZE_BYTES {
        return Err(format!("at least {}, or there is nothing to see", show::size(demo::MIN_SIZE_BYTES)));
    }
    Ok(bytes)
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let options = demo::Options { size_bytes: options.size, keep: options.keep, quiet: scene.json };
    let outcome = demo::run(options).map_err(Failure::failed)?;
    if scene.json {
        scene.print(&outcome, String::new)?;
    }
    Ok(if outcome.held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
