//! `standin init`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use standin_common::disk::{self, Mode};
use standin_common::id::NodeName;
use standin_common::identity::Identity;
use standin_config::{Address, Settings, template};

use super::{Failure, Scene};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The node's name; by default the machine's.
    #[arg(long)]
    name: Option<NodeName>,
    /// Where to listen; more than once for several.
    #[arg(long, default_value = "0.0.0.0:7420")]
    listen: Vec<Address>,
    /// Where the node keeps its identity and what it knows of its sets.
    #[arg(long, default_value = "/var/lib/standin")]
    state_dir: PathBuf,
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let config = scene.config;
    let new = disk::read_optional(config).map_err(Failure::failed)?.is_none();
    if new {
        write_settings(config, options)?;
    }
    let settings = Settings::load(config)?;
    disk::create_private_dir(&settings.node.state_dir).map_err(Failure::failed)?;
    let identity = Identity::load_or_create(&settings.node.state_dir, &settings.node.name).map_err(Failure::failed)?;
    let fingerprint = identity.fingerprint().to_string();
    let report = serde_json::json!({
        "node": settings.node.name, "settings": config, "settings_written": new,
        "state_dir": settings.node.state_dir, "fingerprint": fingerprint,
    });
    scene.print(&report, || {
        let written = if new { "written" } else { "there already, not changed" };
        let (name, state_dir) = (&settings.node.name, settings.node.state_dir.display());
        format!(
            "node         {name}\nsettings     {} ({written})\nstate        {state_dir}\nfingerprint  {fingerprint}",
            config.display()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn write_settings(config: &Path, options: &Options) -> Result<(), Failure> {
    let name = match &options.name {
        Some(name) => name.clone(),
        None => machine_name()?,
    };
    let state_dir = std::path::absolute(&options.state_dir).map_err(Failure::failed)?;
    // First: settings that name a directory that cannot be would be in the way of the next attempt.
    disk::create_private_dir(&state_dir).map_err(elsewhere)?;
    let state_dir = state_dir.to_str().ok_or_else(|| Failure::failed("the state directory's path must be UTF-8"))?;
    if let Some(directory) = config.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)
            .map_err(|error| elsewhere(format!("cannot create {}: {error}", directory.display())))?;
    }
    let text = template(&name, &options.listen, state_dir);
    disk::replace(config, text.as_bytes(), Mode::Public).map_err(elsewhere)
}

fn elsewhere(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("{error}; run it as root, or name other places with --config and --state-dir"))
}

fn machine_name() -> Result<NodeName, Failure> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.parse()
        .map_err(|why| Failure::failed(format!("the machine's name {name:?} is no node name ({why}); give one with --name")))
}
