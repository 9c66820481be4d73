//! Standin and rsync do the same work in turn; the ratios go to `benches/RESULTS.md`. Started by `benches/run`, whose `--help` tells more.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

mod copier;
mod line;
mod lossy;
#[path = "../../src/demo/material/mod.rs"]
mod material;
mod options;
mod report;
mod row;
mod rsync;
mod standin;
#[path = "../../tests/support/mod.rs"]
mod support;
mod tree;

use options::Options;
use report::Report;

fn main() {
    let Some(options) = Options::from_arguments() else { return };
    for place in &options.places {
        let mut report = Report::new(place);
        for row in options.rows.iter().filter(|row| row.fits(*place)) {
            row.run(*place, &options, &mut report);
            // After every row, so that a bench that is ended early was not in vain.
            report.save(&options);
        }
    }
}
