//! `standin directory show`.

use std::process::ExitCode;

use standin_failover::exchange::{Snapshot, tree};

use super::super::{Failure, Scene};
use super::open;
use crate::directory::{Access, Stop};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The server, by its name in the directory.
    server: String,
    #[command(flatten)]
    access: Access,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let (opened, _) = open(scene, &options.access)?;
    let snapshot = Snapshot::read(opened.directory()).map_err(Stop::from)?;
    let tree = tree(opened.directory(), &snapshot, &options.server).map_err(Stop::from)?;
    scene.print(&tree, || tree.to_string())?;
    Ok(ExitCode::SUCCESS)
}
