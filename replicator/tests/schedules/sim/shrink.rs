//! Making a schedule that fails smaller, as long as it fails.

use super::schedule::{Schedule, Step};

/// Schedules that are tried at most.
const MOST_TRIES: usize = 4000;

/// The smallest schedule found for which `fails` says yes, as it does for `schedule`.
pub fn shrink(mut schedule: Schedule, fails: impl Fn(&Schedule) -> bool) -> Schedule {
    let mut tries = 0;
    let mut fails = |schedule: &Schedule| {
        tries += 1;
        tries <= MOST_TRIES && fails(schedule)
    };
    loop {
        let before = schedule.clone();
        drop_steps(&mut schedule, &mut fails);
        for index in 0..schedule.steps.len() {
            reduce(&mut schedule, index, &mut fails);
        }
        if schedule == before {
            return schedule;
        }
    }
}

fn drop_steps(schedule: &mut Schedule, fails: &mut impl FnMut(&Schedule) -> bool) {
    let mut len = schedule.steps.len().div_ceil(2);
    while len > 0 {
        let mut at = schedule.steps.len();
        while at > 0 {
            let from = at.saturating_sub(len);
            let mut smaller = schedule.clone();
            smaller.steps.drain(from..at);
            if fails(&smaller) {
                *schedule = smaller;
            }
            at = from.min(schedule.steps.len());
        }
        len /= 2;
    }
}

fn reduce(schedule: &mut Schedule, index: usize, fails: &mut impl FnMut(&Schedule) -> bool) {
    loop {
        let step = schedule.steps[index];
        let smaller = smaller(step).into_iter().find_map(|step| {
            let mut smaller = schedule.clone();
            smaller.steps[index] = step;
            fails(&smaller).then_some(smaller)
        });
        match smaller {
            Some(smaller) => *schedule = smaller,
            None => return,
        }
    }
}

/// The same step with less in it.
fn smaller(step: Step) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some((trouble, at)) = step.trouble {
        steps.push(Step { trouble: None, ..step });
        steps.extend(less(at).filter(|at| *at > 0).map(|at| Step { trouble: Some((trouble, at)), ..step }));
    }
    steps.extend(less(step.amount).map(|amount| Step { amount, ..step }));
    steps
}

fn less(number: u64) -> impl Iterator<Item = u64> {
    let candidates = [0, number / 2, number.saturating_sub(1)];
    candidates.into_iter().filter(move |candidate| *candidate < number)
}
