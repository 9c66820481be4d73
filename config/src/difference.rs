//! How the same set differs between the settings of two nodes.

use serde::{Deserialize, Serialize};

use crate::model::{Points, Root, Rule, Set};
use crate::units::{print_rate, print_size, print_span};

/// Shown where one side has nothing.
const ABSENT: &str = "(none)";

/// One setting of a set that differs between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The key beneath the set, such as `roots[0].target`.
    pub key: String,
    /// Its value on this node, as it would be written.
    pub here: String,
    /// Its value on the other node.
    pub there: String,
}

impl Set {
    /// What differs between this set here and the `other` node's idea of it, in the order of the settings; empty if nothing does.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let (here, there) = (rows(self), rows(other));
        let mut keys: Vec<_> = here.iter().map(|(key, _)| key).collect();
        let more = there.iter().map(|(key, _)| key).filter(|key| here.iter().all(|(known, _)| known != *key));
        keys.extend(more);
        let value = |rows: &[(String, String)], key: &String| {
            rows.iter().find(|(known, _)| known == key).map_or(ABSENT.to_owned(), |(_, value)| value.clone())
        };
        let difference = |key: &String| Difference { key: key.clone(), here: value(&here, key), there: value(&there, key) };
        keys.into_iter().map(difference).filter(|difference| difference.here != difference.there).collect()
    }
}

/// The set as keys and values, each as it would be written.
fn rows(set: &Set) -> Vec<(String, String)> {
    // Taken apart, so that a new field cannot be forgotten here.
    let Set {
        name,
        source,
        standby,
        capture,
        acknowledge,
        on_disconnect,
        reconnect,
        points: Points { interval_ms, quiet_ms },
        rescan_ms,
        scrub_ms,
        queue_limit_bytes,
        orphans,
        max_orphans,
        history_points,
        journal_limit_bytes,
        limit_bytes_per_second,
        limits,
        compression,
        lanes,
        passes,
        passthrough,
        roots,
    } = set;
    let mut rows = vec![
        ("name".to_owned(), name.to_string()),
        ("source".to_owned(), source.to_string()),
        ("standby".to_owned(), standby.to_string()),
        ("capture".to_owned(), capture.to_string()),
        ("acknowledge".to_owned(), acknowledge.to_string()),
        ("on_disconnect".to_owned(), on_disconnect.to_string()),
        ("reconnect".to_owned(), reconnect.to_string()),
        ("points.interval".to_owned(), write_span(*interval_ms)),
        ("points.quiet".to_owned(), write_span(*quiet_ms)),
        ("rescan".to_owned(), write_span(*rescan_ms)),
        ("scrub".to_owned(), write_span(*scrub_ms)),
        ("queue_limit".to_owned(), print_size(*queue_limit_bytes)),
        ("orphans".to_owned(), orphans.to_string()),
        ("max_orphans".to_owned(), max_orphans.to_string()),
        ("history_points".to_owned(), history_points.to_string()),
        ("journal_limit".to_owned(), print_size(*journal_limit_bytes)),
        ("limit".to_owned(), limit_bytes_per_second.map_or(ABSENT.to_owned(), print_rate)),
        ("compression".to_owned(), compression.to_string()),
        ("lanes".to_owned(), lanes.to_string()),
        ("passes".to_owned(), passes.to_string()),
    ];
    if !passthrough.is_empty() {
        rows.push(("passthrough".to_owned(), format!("{passthrough:?}")));
    }
    rows.extend(limits.iter().enumerate().map(|(index, hours)| (format!("limits[{index}]"), hours.to_string())));
    for (index, Root { path, target, rules }) in roots.iter().enumerate() {
        rows.push((format!("roots[{index}].path"), path.display().to_string()));
        rows.push((format!("roots[{index}].target"), target.display().to_string()));
        let rule_rows =
            rules.iter().enumerate().map(|(rule, value)| (format!("roots[{index}].rules[{rule}]"), write_rule(value)));
        rows.extend(rule_rows);
    }
    rows
}

fn write_span(ms: Option<u64>) -> String {
    ms.map_or("off".to_owned(), print_span)
}

fn write_rule(rule: &Rule) -> String {
    let recurse = if rule.recurse { ", recurse = true" } else { "" };
    format!("{{ {} = {:?}{recurse} }}", rule.effect, rule.pattern)
}
