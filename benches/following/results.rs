//! The lines of the table.

use crate::table::Table;

pub(crate) const TABLE: Table = Table {
    name: "following",
    head: "| work | what | peer | peer's | standin's | ratio | goal |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    keys: 3,
};

/// One line: what was measured, of whom, and what was to be reached.
pub(crate) fn line([work, what, peer]: [&str; 3], [theirs, ours]: [String; 2], ratio: f64, goal: &str, reached: bool) -> String {
    let verdict = if reached { "reached" } else { "**missed**" };
    format!("| {work} | {what} | {peer} | {theirs} | {ours} | **{ratio:.2}** | {goal}: {verdict} |")
}
