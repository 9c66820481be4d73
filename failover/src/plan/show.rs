//! A plan for whoever reviews it: a summary, every change in lines, JSON.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use super::{Action, Decision, Kind, PLAN_SCHEMA, Plan, PlannedChange};
use crate::directory::Dn;

/// How many references of unknown meaning a summary lists; the rest is counted.
const LISTED: usize = 20;

/// Why a file is no plan that could be executed.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It can not be read or written, or is no JSON of a plan.
    #[error("the plan can not be read or written: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version of this program made it.
    #[error("the plan has form {found}, this program knows form {PLAN_SCHEMA}; make it again, or use the version that made it")]
    Form {
        /// The form that it has.
        found: u64,
    },
}

/// Writes a plan as JSON, one line for each change, so that two plans can be compared by lines.
///
/// # Errors
/// Those of `out`.
pub fn write_json(plan: &Plan, out: &mut dyn io::Write) -> Result<(), PlanFileError> {
    let frame = serde_json::to_string_pretty(&plan.clone_without_changes())?;
    // The frame has an empty list of changes, which is the one place of that text: strings escape their quotes.
    let (before, after) = frame.split_once("\n  \"changes\": [],").unwrap_or((frame.as_str(), ""));
    let write = |out: &mut dyn io::Write| -> io::Result<()> {
        write!(out, "{before}\n  \"changes\": [")?;
        for (at, change) in plan.changes.iter().enumerate() {
            out.write_all(if at == 0 { b"\n    " } else { b",\n    " })?;
            serde_json::to_writer(&mut *out, change)?;
        }
        writeln!(out, "\n  ],{after}")
    };
    write(out).map_err(|error| PlanFileError::Json(serde_json::Error::io(error)))
}

/// Reads a plan that [`write_json`] wrote.
///
/// # Errors
/// [`PlanFileError`]: no plan, or one of another form.
pub fn read_json(text: &str) -> Result<Plan, PlanFileError> {
    #[derive(serde::Deserialize)]
    struct Form {
        schema: u64,
    }
    let Form { schema: found } = serde_json::from_str(text)?;
    if found != u64::from(PLAN_SCHEMA) {
        return Err(PlanFileError::Form { found });
    }
    Ok(serde_json::from_str(text)?)
}

/// How fast a run before took writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many it wrote.
    pub writes: usize,
    /// How many of them a second.
    pub writes_per_second: f64,
}

impl Rate {
    /// How long a plan takes at this rate, in whole seconds.
    pub fn seconds(&self, plan: &Plan) -> f64 {
        ((plan.changes.len() + plan.renames.len()) as f64 / self.writes_per_second).ceil()
    }
}

/// What the plan does, in a page: pairs, counts, how long a run takes by a measured rate, what is left.
pub fn summary(plan: &Plan, rate: Option<&Rate>) -> String {
    let verb = match plan.asked.action {
        Action::Failover => "failover",
        Action::Failback => "failback",
        Action::Rename => "renames after",
    };
    let mut lines = vec![format!("{verb} {} -> {}", plan.asked.from, plan.asked.to)];
    if !plan.asked.options.is_empty() {
        lines.push(format!("  options: {}", plan.asked.options.join(" ")));
    }
    lines.extend(stores(plan));
    lines.extend(totals(plan, rate));
    lines.extend(references(plan));
    lines.extend(plan.missing.iter().map(|missing| format!("  not read: {}: {}", missing.context, missing.why)));
    lines.extend(plan.warnings.iter().map(|warning| format!("  warning: {warning}")));
    lines.push(String::new());
    lines.join("\n")
}

fn stores(plan: &Plan) -> Vec<String> {
    // A plan that moves nobody has not counted them.
    let is_setup = plan.asked.options.iter().any(|option| option == "-setup");
    let pairs = plan.pairs.iter().map(|pair| {
        let users = if pair.mailboxes == 1 { "mailbox" } else { "mailboxes" };
        let count = if is_setup { String::new() } else { format!("  {} {users}", pair.mailboxes) };
        format!("  {} -> {}  {}{count}", place(&pair.from), place(&pair.to), pair.file)
    });
    let left = plan
        .unpaired
        .iter()
        .map(|left| format!("  {} stays with {} mailboxes: {}", place(&left.store), left.mailboxes, left.why));
    pairs.chain(left).collect()
}

/// `group, store` of a store.
fn place(store: &Dn) -> String {
    let group = store.parent().map(|group| group.common_name()).unwrap_or_default();
    format!("\"{group}, {}\"", store.common_name())
}

fn totals(plan: &Plan, rate: Option<&Rate>) -> Vec<String> {
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut contexts: BTreeMap<&Dn, usize> = BTreeMap::new();
    for change in &plan.changes {
        *kinds.entry(change.kind).or_default() += 1;
        *contexts.entry(&change.context).or_default() += 1;
    }
    let writes = plan.changes.len() + plan.renames.len();
    let mut lines = vec![if writes == 0 { "  nothing to do".to_owned() } else { format!("  {writes} objects change:") }];
    lines.extend(kinds.iter().map(|(kind, count)| format!("    {count:>7}  {}", words(*kind))));
    if !plan.renames.is_empty() {
        lines.push(format!("    {:>7}  renames", plan.renames.len()));
    }
    lines.extend(contexts.iter().map(|(context, count)| format!("    {count:>7}  in {context}")));
    match rate.filter(|rate| rate.writes_per_second > 0.0) {
        _ if writes == 0 => {}
        Some(rate) => lines.push(format!(
            "  estimate: {:.0} s, at the {:.0} writes a second of a run here before ({} writes)",
            rate.seconds(plan),
            rate.writes_per_second,
            rate.writes
        )),
        None => lines.push("  estimate: none yet; every run here measures how fast the directory takes writes".to_owned()),
    }
    lines
}

fn references(plan: &Plan) -> Vec<String> {
    let unknown: Vec<_> = plan.references.iter().filter(|reference| reference.decision == Decision::Unknown).collect();
    let mut why: BTreeMap<&str, usize> = BTreeMap::new();
    for reference in &plan.references {
        if let Decision::Left(reason) = &reference.decision {
            *why.entry(reason).or_default() += 1;
        }
    }
    let mut lines: Vec<String> = why.iter().map(|(reason, count)| format!("  {count} references stay: {reason}")).collect();
    if !unknown.is_empty() {
        lines.push(format!("  {} references that nobody knows about; look at them:", unknown.len()));
        lines.extend(
            unknown
                .iter()
                .take(LISTED)
                .map(|reference| format!("    {}: {}: {}", reference.object, reference.attribute, reference.value)),
        );
        if unknown.len() > LISTED {
            lines.push(format!("    and {} more, in the plan's file", unknown.len() - LISTED));
        }
    }
    lines
}

fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::Overwrite => "stores that may be overwritten by a restore",
        Kind::Mailbox => "mailboxes",
        Kind::Database => "databases with another server",
        Kind::DatabaseCopy => "databases' copies",
        Kind::RoutingMaster => "routing groups' masters",
        Kind::RoutingGroup => "servers' routing groups",
        Kind::Connector => "connectors",
        Kind::UpdateService => "Recipient Update Services",
        Kind::AddressBook => "offline address books",
        Kind::SiteFolders => "administrative groups' folder servers",
        Kind::PublicStore => "default public stores",
        Kind::FolderTree => "folder trees",
        Kind::ExpansionServer => "groups' expansion servers",
        Kind::ServiceNamesOff => "accounts that lose service principal names",
        Kind::ServiceNamesOn => "accounts that get service principal names",
        Kind::Name => "names",
    }
}

/// Every change and rename, in the order of execution, for those who read all of it (`-test`).
///
/// # Errors
/// Those of `out`.
pub fn write_details(plan: &Plan, out: &mut dyn io::Write) -> io::Result<()> {
    for stage in super::Stage::ALL {
        for change in plan.changes_of(stage) {
            write_change(change, out)?;
        }
        for rename in plan.renames_of(stage) {
            writeln!(out, "{}\n  # {}\n  renamed to {}", rename.object, rename.reason, rename.name)?;
        }
    }
    Ok(())
}

fn write_change(change: &PlannedChange, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "{}\n  # {}", change.object, change.reason)?;
    for edit in &change.edits {
        for old in &edit.old {
            writeln!(out, "  {} - {old}", edit.attribute)?;
        }
        for new in &edit.new {
            writeln!(out, "  {} + {new}", edit.attribute)?;
        }
    }
    Ok(())
}

impl Plan {
    fn clone_without_changes(&self) -> Self {
        Self {
            schema: self.schema,
            asked: self.asked.clone(),
            contexts: self.contexts.clone(),
            pairs: self.pairs.clone(),
            unpaired: self.unpaired.clone(),
            changes: Vec::new(),
            renames: self.renames.clone(),
            references: self.references.clone(),
            missing: self.missing.clone(),
            warnings: self.warnings.clone(),
        }
    }
}
