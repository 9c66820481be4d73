//! `standin mount` and `standin unmount`.

use std::process::ExitCode;

use standin_common::id::SetName;

use super::{Failure, Scene, unexpected};
use crate::control::{Answer, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The set.
    set: SetName,
}

#[derive(Debug, clap::Args)]
pub(super) struct Unmount {
    /// The set.
    set: SetName,
    /// Also if the set is one of a group that is online.
    #[arg(long)]
    force: bool,
}

pub(super) fn mount(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let set = &options.set;
    ask(scene, &Request::Mount { set: set.clone() }, &format!("the layers are over the roots of {set}"))
}

pub(super) fn unmount(scene: &Scene<'_>, options: &Unmount) -> Result<ExitCode, Failure> {
    let set = &options.set;
    let told = format!("the layers of {set} are away: what changes now is not seen until `standin mount {set}`");
    ask(scene, &Request::Unmount { set: set.clone(), force: options.force }, &told)
}

fn ask(scene: &Scene<'_>, request: &Request, told: &str) -> Result<ExitCode, Failure> {
    let Answer::Ok = scene.ask(request)? else { return Err(unexpected()) };
    scene.print(&serde_json::json!({ "ok": true }), || told.to_owned())?;
    Ok(ExitCode::SUCCESS)
}
