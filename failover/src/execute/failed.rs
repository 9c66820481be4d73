//! `FailedExUsers.log`: what of a run was not done, for people and for scripts.
//!
//! UTF-8 text. Lines that begin with `#` say what the file is. Every other line is one object with four fields, separated by tabs:
//! what became of it (`failed`, `in doubt`, `not tried`, or `not read` of a whole domain), its domain or naming context, its distinguished name, and why. Tabs and
//! line ends within a field are blanks. The file is replaced at the end of every run, and removed when nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use standin_common::disk::{self, DiskError, Mode};

use super::Report;
use super::journal::StepId;
use crate::directory::Dn;
use crate::plan::Plan;

/// The text of the file; empty if everything was done.
pub fn text(plan: &Plan, report: &Report) -> String {
    let mut lines: BTreeMap<StepId, (&str, String)> = BTreeMap::new();
    for failure in &report.failed {
        lines.insert(failure.step, ("failed", failure.why.clone()));
    }
    let away = |step: StepId| {
        let context = place(plan, step).map(|(context, _)| context);
        report.away.iter().find(|(away, _)| Some(away) == context).map(|(_, why)| why.clone())
    };
    let stopped = || report.stopped.clone().unwrap_or_default();
    for step in &report.in_doubt {
        lines.insert(*step, ("in doubt", away(*step).unwrap_or_else(stopped)));
    }
    for step in &report.not_tried {
        lines.insert(*step, ("not tried", away(*step).unwrap_or_else(stopped)));
    }
    if lines.is_empty() && report.unread.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "# What was not done. A resumed run tries it again; of a domain that was not read, a new run does.\n# state\tdomain\tobject\treason\n",
    );
    for (step, (state, why)) in lines {
        let Some((context, object)) = place(plan, step) else { continue };
        text.push_str(&line(plan, state, (context, object), &why));
    }
    for (context, why) in &report.unread {
        text.push_str(&line(plan, "not read", (context, context), why));
    }
    text
}

fn line(plan: &Plan, state: &str, (context, object): (&Dn, &Dn), why: &str) -> String {
    let domain = plan.contexts.domains.iter().find(|domain| domain.context == *context);
    let domain = domain.map_or(context.as_str(), |domain| domain.dns_name.as_str());
    format!("{state}\t{}\t{}\t{}\n", field(domain), field(object.as_str()), field(why))
}

/// Puts the file in its place, or removes it when nothing is left to say.
///
/// # Errors
/// [`DiskError`]; the run itself is not affected by it.
pub fn write(path: &Path, plan: &Plan, report: &Report) -> Result<(), DiskError> {
    let text = text(plan, report);
    if !text.is_empty() {
        return disk::replace(path, text.as_bytes(), Mode::Private);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

fn place(plan: &Plan, step: StepId) -> Option<(&Dn, &Dn)> {
    match step {
        StepId::Change(number) => plan.changes.get(number).map(|change| (&change.context, &change.object)),
        StepId::Rename(number) => plan.renames.get(number).map(|rename| (&rename.context, &rename.object)),
    }
}

fn field(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}
