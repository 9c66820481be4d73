//! `standin set`.

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use standin_common::id::{NodeName, SetName};
use standin_config::{Role, Root, Set, Settings, units};
use standin_replicator::listing::{self, Fate, Listed};
use standin_replicator::os::OsVolume;
use standin_replicator::rules::Rules;

use super::{DIFFERENT, Failure, Scene, seconds, show, unexpected};
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
    /// Hand a set over to its other node, which becomes the source, with nothing lost. On the source, when nothing writes to the set any more.
    Turn {
        /// The set.
        set: SetName,
        /// The node that is to be the source. If it is already, nothing is done.
        #[arg(long)]
        to: NodeName,
        /// How long the standby may take to get everything.
        #[arg(long, value_name = "SPAN", value_parser = seconds, default_value = "5 min")]
        timeout: f64,
        /// Also if the set is one of a group, which has a cutover for this.
        #[arg(long)]
        force: bool,
    },
    /// Go on as the source after a turn that stopped half-way, if the other node has not taken over.
    Release {
        /// The set.
        set: SetName,
    },
}

pub(super) fn run(scene: &Scene<'_>, command: &SetCommand) -> Result<ExitCode, Failure> {
    match command {
        SetCommand::List => list(scene),
        SetCommand::Show { set, files: true } => files(scene, set),
        SetCommand::Show { set, files: false } => {
            let settings = scene.settings_as_they_are()?;
            let set = find(&settings, set)?;
            scene.print(set, || definition(set))?;
            Ok(ExitCode::SUCCESS)
        }
        SetCommand::Check { set } => check(scene, set),
        SetCommand::Turn { set, to, timeout, force } => turn(scene, set, to, *timeout, *force),
        SetCommand::Release { set } => match scene.ask(&Request::Release { set: set.clone() })? {
            Answer::Ok => {
                scene.print(&serde_json::json!({ "set": set }), || format!("this node goes on as the source of {set}"))?;
                Ok(ExitCode::SUCCESS)
            }
            _ => Err(unexpected()),
        },
    }
}

fn turn(scene: &Scene<'_>, set: &SetName, to: &NodeName, timeout: f64, force: bool) -> Result<ExitCode, Failure> {
    let request = Request::Turn { set: set.clone(), to: to.clone(), timeout_seconds: Some(timeout), force };
    let Answer::Turned { generation, point } = scene.ask_and_wait(&request)? else { return Err(unexpected()) };
    let value = serde_json::json!({ "set": set, "source": to, "generation": generation, "point": point });
    scene.print(&value, || {
        let at = point.map_or(String::new(), |point| format!(", from point {} on", point.number));
        format!("{to} is the source of {set} at generation {generation}{at}")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn find<'a>(settings: &'a Settings, name: &SetName) -> Result<&'a Set, Failure> {
    let known = || match settings.sets.is_empty() {
        true => "there are none".to_owned(),
        false => format!("there are {}", settings.sets.keys().map(SetName::to_string).collect::<Vec<_>>().join(", ")),
    };
    settings.sets.get(name).ok_or_else(|| Failure::Usage(format!("there is no set {name} in the settings; {}", known())))
}

fn list(scene: &Scene<'_>) -> Result<ExitCode, Failure> {
    let settings = scene.settings_as_they_are()?;
    let role = |set: &Set| set.role(&settings.node.name).map_or("none", |role| role.as_str());
    let value: Vec<_> = settings
        .sets
        .values()
        .map(|set| serde_json::json!({ "set": set.name, "role": role(set), "source": set.source, "standby": set.standby }))
        .collect();
    scene.print(&value, || {
        if settings.sets.is_empty() {
            return format!("no sets; write one into {}", scene.config.display());
        }
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
    let span = |ms: Option<u64>| ms.map_or("off".to_owned(), units::print_span);
    text += &format!(
        "capture        {}, rescan {}, scrub {}, queue {}\n",
        set.capture,
        span(set.rescan_ms),
        span(set.scrub_ms),
        units::print_size(set.queue_limit_bytes)
    );
    text += &format!("points         interval {}, quiet {}\n", span(set.points.interval_ms), span(set.points.quiet_ms));
    text += &format!("acknowledge    {}, on disconnect {}, reconnect {}\n", set.acknowledge, set.on_disconnect, set.reconnect);
    for (index, hours) in set.limits.iter().enumerate() {
        text += &format!("limit {index}        {hours}\n");
    }
    for (index, root) in set.roots.iter().enumerate() {
        text += &format!("root {index}         {} to {}\n", root.path.display(), root.target.display());
        for (number, rule) in root.rules.iter().enumerate() {
            let recurse = if rule.recurse { ", with all beneath it" } else { "" };
            text += &format!("  rule {number}       {} {:?}{recurse}\n", rule.effect, rule.pattern);
        }
    }
    text
}

/// Lists as it walks: a root may have millions of objects.
fn files(scene: &Scene<'_>, name: &SetName) -> Result<ExitCode, Failure> {
    let settings = scene.settings_as_they_are()?;
    let set = find(&settings, name)?;
    if set.role(&settings.node.name) != Some(Role::Source) {
        return Err(Failure::Usage(format!("the files of {name} are on {}: ask for them there", set.source)));
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut unreadable = 0;
    for (index, root) in set.roots.iter().enumerate() {
        let rules = Rules::new(&root.rules).map_err(Failure::failed)?;
        let at_root = |error| Failure::failed(format!("{}: {error}", root.path.display()));
        let volume = OsVolume::open_source(&root.path).map_err(at_root)?;
        let listed = listing::list(&volume, &rules, |listed| {
            let line = match &listed {
                Ok(listed) if scene.json => as_json(index, listed),
                Ok(listed) => as_text(listed, root),
                Err(error) => {
                    unreadable += 1;
                    eprintln!("standin: {}", show::harmless(&error.to_string()));
                    return Ok(());
                }
            };
            writeln!(out, "{line}")
        });
        match listed.and_then(|()| out.flush()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written.map_err(Failure::failed)?,
        }
    }
    Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Included => "replicated",
        Fate::Excluded | Fate::ExcludedWithAll => "excluded",
        Fate::Way => "way",
        Fate::Special(_) => "never",
    }
}

fn as_json(root: usize, listed: &Listed) -> String {
    let path = listed.path.to_string();
    let with_all = listed.fate == Fate::ExcludedWithAll;
    let value = serde_json::json!({
        "root": root, "path": path, "size": listed.size, "fate": word(listed.fate), "with_all_beneath": with_all, "rule": listed.rule,
    });
    value.to_string()
}

fn as_text(listed: &Listed, root: &Root) -> String {
    let path = if listed.path.is_root() { root.path.display().to_string() } else { listed.path.to_string() };
    let path = show::harmless(&path);
    let by = listed
        .rule
        .and_then(|rule| root.rules.get(rule).map(|found| format!("by rule {rule}, {} {:?}", found.effect, found.pattern)));
    let why = match listed.fate {
        _ if listed.path.is_root() => "the root".to_owned(),
        Fate::Special(what) => format!("it is {what}"),
        Fate::Way => format!("{}; replicated only if something in it is", by.unwrap_or_default()),
        Fate::ExcludedWithAll => format!("{}, with all beneath it", by.unwrap_or_default()),
        _ => by.unwrap_or_else(|| "no rule against it".to_owned()),
    };
    format!("{:<10}  {:>10}  {path}  ({why})", word(listed.fate), show::size(listed.size))
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
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}
