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
    /// Where to listen, by default 0.0.0.0:7420; more than once for several.
    #[arg(long)]
    listen: Vec<Address>,
    /// Where the node keeps its identity and what it knows of its sets, by default /var/lib/standin.
    #[arg(long)]
    state_dir: Option<PathBuf>,
}

/// Where a node listens, and where it keeps what it knows, if nothing else is said.
const USUAL_LISTEN: &str = "0.0.0.0:7420";
const USUAL_STATE_DIR: &str = "/var/lib/standin";

impl Options {
    fn state_dir(&self) -> Result<PathBuf, Failure> {
        std::path::absolute(self.state_dir.as_deref().unwrap_or(Path::new(USUAL_STATE_DIR))).map_err(Failure::failed)
    }

    fn listen(&self) -> Result<Vec<Address>, Failure> {
        if self.listen.is_empty() { Ok(vec![USUAL_LISTEN.parse().map_err(Failure::failed)?]) } else { Ok(self.listen.clone()) }
    }

    /// What was typed and is otherwise in settings that were there already.
    fn not_applied(&self, settings: &Settings) -> Result<Vec<String>, Failure> {
        let list =
            |addresses: &[Address]| addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
        let node = &settings.node;
        let name = self.name.as_ref().filter(|name| **name != node.name);
        let name = name.map(|name| format!("--name {name}, but `name = \"{}\"`", node.name));
        let listen = (!self.listen.is_empty() && self.listen != node.listen)
            .then(|| format!("--listen {}, but `listen = [{}]`", list(&self.listen), list(&node.listen)));
        let state_dir = self.state_dir()?;
        let state_dir = (self.state_dir.is_some() && state_dir != node.state_dir)
            .then(|| format!("--state-dir {}, but `state_dir = \"{}\"`", state_dir.display(), node.state_dir.display()));
        Ok([name, listen, state_dir].into_iter().flatten().collect())
    }
}

pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let config = scene.config;
    let new = disk::read_optional(config).map_err(Failure::failed)?.is_none();
    if new {
        write_settings(config, options)?;
    }
    let settings = Settings::load(config)?;
    let not_applied = options.not_applied(&settings)?;
    if !not_applied.is_empty() {
        let text = format!(
            "the settings were there already, and what you typed was not applied: {} in {}. Edit that file, or name another one with --config",
            not_applied.join("; "),
            config.display()
        );
        return Err(Failure::Refused(text));
    }
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
    let state_dir = options.state_dir()?;
    // First: settings that name a directory that cannot be would be in the way of the next attempt.
    disk::create_private_dir(&state_dir).map_err(elsewhere)?;
    let state_dir = state_dir.to_str().ok_or_else(|| Failure::failed("the state directory's path must be UTF-8"))?;
    if let Some(directory) = config.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)
            .map_err(|error| elsewhere(format!("cannot create {}: {error}", directory.display())))?;
    }
    let text = template(&name, &options.listen()?, state_dir);
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
