//! How fast this directory takes writes: measured by each run, kept beside the journals, for the next plan's estimate.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standin_common::disk::{self, DiskError, Mode};
use standin_failover::directory::Dn;
use standin_failover::execute::Report;
use standin_failover::plan::Plan;
use standin_failover::plan::show::Rate;

const FILE: &str = "rate.json";
/// A run of so many writes says more than any smaller one.
const ENOUGH_WRITES: usize = 100;

/// What a run measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// The forest, by its configuration partition.
    forest: Dn,
    writes: usize,
    seconds: f64,
}

impl Measured {
    /// `None` of a run that was held up, or wrote nothing: that is not how fast the directory is.
    fn of(plan: &Plan, report: &Report, took: Duration) -> Option<Self> {
        let is_undisturbed = report.is_complete() && report.written > 0 && !took.is_zero();
        let forest = plan.contexts.configuration.clone();
        is_undisturbed.then_some(Self { forest, writes: report.written, seconds: took.as_secs_f64() })
    }

    /// Whether it says more than what is known.
    fn replaces(&self, known: Option<&Self>) -> bool {
        known.is_none_or(|known| known.forest != self.forest || self.writes >= ENOUGH_WRITES || known.writes < ENOUGH_WRITES)
    }
}

fn read(runs: &Path) -> Option<Measured> {
    // What cannot be read is as good as not measured.
    serde_json::from_slice(&std::fs::read(runs.join(FILE)).ok()?).ok()
}

/// What is known of the forest of a plan.
pub(super) fn known(runs: &Path, plan: &Plan) -> Option<Rate> {
    let measured = read(runs).filter(|measured| measured.forest == plan.contexts.configuration && measured.seconds > 0.0)?;
    Some(Rate { writes: measured.writes, writes_per_second: measured.writes as f64 / measured.seconds })
}

/// Keeps what a run measured.
///
/// # Errors
/// [`DiskError`]; the run itself is not affected by it.
pub(super) fn keep(runs: &Path, plan: &Plan, report: &Report, took: Duration) -> Result<(), DiskError> {
    let Some(measured) = Measured::of(plan, report, took).filter(|measured| measured.replaces(read(runs).as_ref())) else {
        return Ok(());
    };
    let file = runs.join(FILE);
    let bytes = serde_json::to_vec(&measured).map_err(std::io::Error::from).map_err(DiskError::at("write", &file))?;
    disk::replace(&file, &bytes, Mode::Private)
}

#[cfg(test)]
mod tests {
    use standin_failover::directory::NamingContexts;
    use standin_failover::plan::{Action, Asked};

    use super::*;

    fn plan(root: &str) -> Plan {
        let (default, configuration): (Dn, Dn) = (root.parse().unwrap(), format!("CN=Configuration,{root}").parse().unwrap());
        let contexts = NamingContexts { default, schema: configuration.clone(), configuration, domains: Vec::new() };
        let asked = Asked { action: Action::Failover, from: "A".into(), to: "B".into(), rules: vec![], options: vec![] };
        Plan::new(asked, contexts)
    }

    #[test]
    fn the_last_run_that_says_enough_is_kept_for_its_forest() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (plan("DC=fa"), plan("DC=fb"));
        let wrote = |written| Report { written, ..Report::default() };
        let rate = |plan: &Plan| known(dir.path(), plan).map(|rate| (rate.writes, rate.writes_per_second));
        assert_eq!(rate(&here), None);
        let second = Duration::from_secs(1);
        keep(dir.path(), &here, &wrote(12), 2 * second).unwrap();
        assert_eq!((rate(&here), rate(&there)), (Some((12, 6.0)), None));
        keep(dir.path(), &here, &wrote(500), 5 * second).unwrap();
        keep(dir.path(), &here, &wrote(3), second).unwrap();
        keep(dir.path(), &here, &wrote(0), second).unwrap();
        keep(dir.path(), &here, &Report { stopped: Some("lost".into()), ..wrote(900) }, second).unwrap();
        assert_eq!(rate(&here), Some((500, 100.0)));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(rate(&here), None);
    }
}
