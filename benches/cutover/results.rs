//! The table.

use crate::seen::Seen;

/// One of the things that were seen, in milliseconds.
type Which = fn(&Seen) -> u64;

fn middle(of: &[Seen], which: Which) -> String {
    let mut values: Vec<u64> = of.iter().map(which).collect();
    values.sort_unstable();
    let seconds = |ms: u64| format!("{:.2}", ms as f64 / 1000.0);
    let range = format!("{}-{}", seconds(values[0]), seconds(values[values.len() - 1]));
    format!("{} ({range})", seconds(values[values.len() / 2]))
}

/// The middle of the rounds and their range, and the steps of our last one.
pub(crate) fn table(theirs: &[Seen], ours: &[Seen], steps: &[String]) -> String {
    let mut table = "| seconds from the death of the source until | keepalived, VRRP each second, rsync'ed data | standin, said in the moment of the loss |\n\
                     | --- | --- | --- |\n"
        .to_owned();
    let rows: [(&str, Which); 3] = [
        ("the address is on the standby", |seen| seen.address_ms),
        ("Postfix greets there", |seen| seen.greets_ms),
        ("a client's message is accepted", |seen| seen.accepted_ms),
    ];
    for (what, which) in rows {
        table += &format!("| {what} | {} | {} |\n", middle(theirs, which), middle(ours, which));
    }
    table += &format!("\nSteps of the last one of {}, from the command on: {}.\n", ours.len(), steps.join("; "));
    table
}
