//! What a standby's scrubs found, in words.

use super::Explained;
use crate::report::{ScrubFinding, SetReport, SetState};
use crate::words::count;

/// What scrubs found wrong, in words; `None` if all of it is right, as far as that is known.
pub fn wrong(report: &SetReport) -> Option<Explained> {
    let scrub = report.scrub.as_ref()?;
    let first = scrub.findings.first()?;
    let others = match scrub.finding_count {
        0 | 1 => String::new(),
        more => format!(" (and {} besides)", count(more - 1, "file")),
    };
    let cause = format!(
        "a scrub found that {} of root {}{others} is not on this disk as it was received: {}. The disk or the memory is at fault, or \
         somebody wrote past the file system",
        first.path,
        first.root.0,
        differing(first)
    );
    let (consequence, action) = match report.state {
        // Its files are not ours to mend.
        SetState::Promoted => (
            "It was promoted with that file, unless something has written it anew since.",
            "Check the file with the means of its application, and look to the disk".to_owned(),
        ),
        _ => (
            "The file would be wrong after a promotion; older recovery points may be, too.",
            format!("`standin verify {} --repair` on {} mends it; then look to the disk", report.set, report.peer.node),
        ),
    };
    Some(Explained { cause, consequence: consequence.to_owned(), action })
}

fn differing(found: &ScrubFinding) -> String {
    let at = found.first_byte;
    let groups = format!(
        "{} of 64 KiB differ{}, from byte {at} on",
        count(found.groups, "group"),
        if found.groups == 1 { "s" } else { "" }
    );
    let nothing_says = "although nothing says that it was written to";
    match &found.unreadable {
        None => format!("{groups}, {nothing_says}"),
        Some(why) if found.groups == 0 => format!("it cannot be read from byte {at} on ({why})"),
        Some(why) => format!("{groups}, {nothing_says}, and more of it cannot be read ({why})"),
    }
}

/// What is wrong with a standby, in one text: what hinders it, and what its scrubs found.
pub fn trouble(hindered: Option<String>, report: &SetReport) -> Option<String> {
    let found = wrong(report).map(|Explained { cause, consequence, action }| format!("{cause}. {consequence} {action}"));
    let both: Vec<_> = hindered.into_iter().chain(found).collect();
    if both.is_empty() { None } else { Some(both.join("; and ")) }
}
