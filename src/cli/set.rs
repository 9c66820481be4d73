//! `standin set`.

use std::process::ExitCode;

use standin_common::id::SetName;
use standin_config::{Set, Settings, units};

use super::{Failure, Scene, show, unexpected};
use crate::control::{Answer, Request};

#[derive(Debug, clap::Subcommand)]
pub(super) enum SetCommand {
    /// List the sets of this node.
    List,
    /// Show a set.
    Show {
        /// The set.
        set: SetName,
        /// List what is replicated and what is not, and why. On the source.
        #[arg(long)]
        files: bool,
    },
    /// Compare a set's settings with those of the other node.
    Check {
        /// The set.
        set: SetName,
    },
}

pub(super) fn run(scene: &Scene<'_>, command: &SetCommand) -> Result<ExitCode, Failure> {
    match command {
        SetCommand::List => list(scene),
        SetCommand::Show { set, .. } => {
            let settings = scene.settings()?;
            let set = find(&settings, set)?;
            scene.print(set, || definition(set))?;
            Ok(ExitCode::SUCCESS)
        }
        SetCommand::Check { set } => check(scene, set),
    }
}

fn find<'a>(settings: &'a Settings, name: &SetName) -> Result<&'a Set, Failure> {
    let known = || settings.sets.keys().map(SetName::to_string).collect::<Vec<_>>().join(", ");
    settings
        .sets
        .get(name)
        .ok_or_else(|| Failure::Usage(format!("there is no set {name} in the settings; there are: {}", known())))
}

fn list(scene: &Scene<'_>) -> Result<ExitCode, Failure> {
    let settings = scene.settings()?;
    let role = |set: &Set| set.role(&settings.node.name).map_or("none", |role| role.as_str());
    let value: Vec<_> = settings
        .sets
        .values()
        .map(|set| serde_json::json!({ "set": set.name, "role": role(set), "source": set.source, "standby": set.standby }))
        .collect();
    scene.print(&value, || {
        let row = |set: &Set| {
            vec![
                set.name.to_string(),
                role(set).to_owned(),
                set.source.to_string(),
                set.standby.to_string(),
                set.roots.len().to_string(),
            ]
        };
        let rows: Vec<_> = settings.sets.values().map(row).collect();
        show::table(&["SET", "THIS NODE", "SOURCE", "STANDBY", "ROOTS"], &rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn definition(set: &Set) -> String {
    let limit = set.limit_bytes_per_second.map_or("none".to_owned(), units::print_rate);
    let mut text = format!("set            {}\nsource         {}\nstandby        {}\n", set.name, set.source, set.standby);
    text += &format!("orphans        {}, at most {}\n", set.orphans, set.max_orphans);
    text += &format!("history        {} points, {}\n", set.history_points, units::print_size(set.journal_limit_bytes));
    text += &format!("link           {} lanes, compression {}, limit {limit}\n", set.lanes, set.compression);
    for (index, root) in set.roots.iter().enumerate() {
        text += &format!("root {index}         {} to {}\n", root.path.display(), root.target.display());
        for (number, rule) in root.rules.iter().enumerate() {
            let recurse = if rule.recurse { ", with all beneath it" } else { "" };
            text += &format!("  rule {number}       {} {:?}{recurse}\n", rule.effect, rule.pattern);
        }
    }
    text
}

fn check(scene: &Scene<'_>, name: &SetName) -> Result<ExitCode, Failure> {
    let Answer::Compared { peer, differences } = scene.ask(&Request::CheckSet { set: name.clone() })? else {
        return Err(unexpected());
    };
    let same = differences.is_empty();
    scene.print(&serde_json::json!({ "set": name, "peer": peer, "same": same, "differences": differences }), || {
        if same {
            return format!("{name} is the same on this node and {peer}");
        }
        let row = |difference: &standin_config::Difference| {
            vec![difference.key.clone(), show::harmless(&difference.here), show::harmless(&difference.there)]
        };
        let there = peer.to_string().to_uppercase();
        show::table(&["SETTING", "HERE", &there], &differences.iter().map(row).collect::<Vec<_>>())
    })?;
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
