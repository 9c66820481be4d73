//! `standin check`.

mod groups;

use std::path::Path;
use std::process::ExitCode;

use standin_common::identity::Identity;
use standin_config::{Capture, LoadError, Role, Set, Settings};

use super::{Failure, Scene, show};

pub(super) fn run(scene: &Scene<'_>) -> Result<ExitCode, Failure> {
    let Scene { config, json } = *scene;
    let settings = match Settings::load(config) {
        Ok(settings) => settings,
        Err(LoadError::Problems(problems)) if json => {
            scene.print(&serde_json::json!({ "ok": false, "settings": problems }), String::new)?;
            return Ok(ExitCode::from(2));
        }
        Err(error) => return Err(error.into()),
    };
    let mut problems = Vec::new();
    if let Err(error) = Identity::load(&settings.node.state_dir) {
        problems.push(format!("identity: {error}"));
    }
    for (name, set) in &crate::daemon::roles::as_they_are(&settings).sets {
        let found = root_problems(set, &settings);
        problems.extend(found.into_iter().map(|problem| format!("set {name}: {problem}")));
    }
    for group in settings.groups.values().filter(|group| group.nodes.contains_key(&settings.node.name)) {
        problems.extend(groups::problems(config, &settings, group));
    }
    let ok = problems.is_empty();
    let report = serde_json::json!({ "ok": ok, "problems": problems, "notes": settings.notes() });
    scene.print(&report, || {
        let mut lines: Vec<_> = settings.notes().iter().map(|note| format!("note: {note}")).collect();
        lines.extend(problems.iter().cloned());
        if ok {
            let sets = show::count(settings.sets.len() as u64, "set");
            lines.push(format!("{}: node {}, {sets}, nothing wrong", config.display(), settings.node.name));
        }
        lines.join("\n")
    })?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// What hinders this node from taking its part in a set.
fn root_problems(set: &Set, settings: &Settings) -> Vec<String> {
    let role = set.role(&settings.node.name);
    let mut problems: Vec<_> = set.roots.iter().filter_map(|root| root_problem(role, &root.path, &root.target)).collect();
    if role == Some(Role::Source) && set.capture == Capture::Ordered {
        problems.extend(set.roots.iter().filter_map(|root| layer_problem(&root.path)));
        if !Path::new("/dev/fuse").exists() {
            problems.push("`capture = \"ordered\"` needs /dev/fuse: `modprobe fuse` makes it".to_owned());
        }
    }
    problems
}

fn layer_problem(root: &Path) -> Option<String> {
    let is_file = std::fs::metadata(root).is_ok_and(|found| !found.is_dir());
    is_file.then(|| format!("the root {} is no directory, and `capture = \"ordered\"` is for directories only", root.display()))
}

fn root_problem(role: Option<Role>, source: &Path, target: &Path) -> Option<String> {
    match role? {
        Role::Source => {
            let error = std::fs::metadata(source).err()?;
            Some(format!("the root {} cannot be read: {error}; mount it or write another `path`", source.display()))
        }
        Role::Standby => {
            let parent = target.parent().unwrap_or(target);
            (!target.exists() && !parent.is_dir())
                .then(|| format!("neither the target {} nor the directory it would be made in exists; make it", target.display()))
        }
    }
}
