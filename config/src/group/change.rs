//! How the same group differs between two files of settings, and what of it may change while it runs.

use super::Group;
use crate::difference::Difference;
use crate::units::print_span;

/// Shown where one side has nothing.
const ABSENT: &str = "(none)";

impl Group {
    /// What differs between this group here and the `other` node's idea of it; empty if nothing does. Keys are beneath the group, such
    /// as `resources[0].needs[1]`.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let (here, there) = (rows(self), rows(other));
        let value = |rows: &[(String, String)], key: &str| {
            rows.iter().find(|(known, _)| known == key).map_or(ABSENT.to_owned(), |(_, value)| value.clone())
        };
        let more = there.iter().filter(|(key, _)| here.iter().all(|(known, _)| known != key));
        let keys = here.iter().chain(more).map(|(key, _)| key);
        let difference = |key: &String| Difference { key: key.clone(), here: value(&here, key), there: value(&there, key) };
        keys.map(difference).filter(|difference| difference.here != difference.there).collect()
    }

    /// Whether the difference in that key beneath a group is taken over by a running daemon. What is where, who decides and when, and what
    /// has to be stopped as it was started, waits for the next start.
    pub(crate) fn is_live(key: &str) -> bool {
        let first = key.split(['.', '[']).next().unwrap_or_default();
        matches!(first, "at_shutdown" | "beside_others" | "drill")
    }

    /// This group with what may change while it runs taken from `written`.
    pub(crate) fn with_live_of(&self, written: &Self) -> Self {
        let written = written.clone();
        // Field by field, so that a new one cannot be forgotten here; `is_live` has the same.
        Self {
            name: self.name.clone(),
            nodes: self.nodes.clone(),
            failover: self.failover,
            heartbeat_ms: self.heartbeat_ms,
            misses: self.misses,
            accept_loss_ms: self.accept_loss_ms,
            at_shutdown: written.at_shutdown,
            beside_others: written.beside_others,
            witness: self.witness.clone(),
            alert: self.alert.clone(),
            fence: self.fence.clone(),
            drill: written.drill,
            resources: self.resources.clone(),
        }
    }
}

/// The group as keys and values. It is what `serde` makes of it, so a new field is here, too.
fn rows(group: &Group) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    if let Ok(value) = toml::Value::try_from(group) {
        flatten(&value, String::new(), &mut rows);
    }
    rows
}

fn flatten(value: &toml::Value, key: String, rows: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(value, key, rows);
            }
        }
        toml::Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| flatten(value, format!("{key}[{index}]"), rows));
        }
        toml::Value::String(text) => rows.push((key, text.clone())),
        toml::Value::Integer(number) => match (key.strip_suffix("_ms"), u64::try_from(*number)) {
            (Some(key), Ok(ms)) => rows.push((key.to_owned(), print_span(ms))),
            _ => rows.push((key, number.to_string())),
        },
        other => rows.push((key, other.to_string())),
    }
}
