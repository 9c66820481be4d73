//! Plans for the forest's organization, made and checked from the directory itself.

use standin_failover::directory::{Directory, Dn};
use standin_failover::exchange::Snapshot;
use standin_failover::plan::Plan;
use standin_failover::plan::build::{PlanOptions, build};
use standin_failover::plan::check::check;

/// Names as text.
pub(crate) fn dn(text: &str) -> Dn {
    text.parse().unwrap()
}

fn made(directory: &dyn Directory, options: &PlanOptions, recorded: Option<&Plan>) -> Plan {
    let plan = build(directory, options, recorded).unwrap();
    let faults = check(&plan, &Snapshot::read(directory).unwrap());
    assert!(faults.is_empty(), "{faults:?}");
    assert!(plan.unpaired.is_empty(), "{:?}", plan.unpaired);
    plan
}

/// A failover of everything from EX1 to EX2.
pub(crate) fn failover(directory: &dyn Directory) -> Plan {
    made(directory, &PlanOptions { source: "EX1".into(), target: "EX2".into(), ..PlanOptions::default() }, None)
}

/// The way home after this failover.
pub(crate) fn failback(directory: &dyn Directory, recorded: &Plan) -> Plan {
    let options = PlanOptions { failback: true, source: "EX1".into(), target: "EX2".into(), ..PlanOptions::default() };
    made(directory, &options, Some(recorded))
}
