//! The table.

use std::time::Duration;

use crate::ways::Way;

/// All ways, with what each takes by the side of the script.
pub(crate) fn table(mailboxes: usize, rounds: usize, taken: &[Vec<Duration>]) -> String {
    let medians: Vec<f64> = taken.iter().map(|times| median(times)).collect();
    let mut text =
        format!("{mailboxes} mailboxes, median of {rounds} (least-most), one Samba controller on the same machine.\n\n");
    text.push_str("| way | s | mailboxes a second | script's time by its |\n| --- | --- | --- | --- |\n");
    for ((way, times), seconds) in Way::ALL.iter().zip(taken).zip(&medians) {
        let (least, most) = (times.iter().min().unwrap().as_secs_f64(), times.iter().max().unwrap().as_secs_f64());
        let (rate, ratio) = (mailboxes as f64 / seconds, medians[0] / seconds);
        text.push_str(&format!("| {} | {seconds:.2} ({least:.2}-{most:.2}) | {rate:.0} | **{ratio:.2}** |\n", way.words()));
    }
    text
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2].as_secs_f64()
}
