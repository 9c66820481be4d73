//! A schedule as data: made from a seed, written as one line, read again.

use std::fmt;
use std::str::FromStr;

use standin_replicator::sim::Random;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// So many changes of the source.
    Change,
    /// A pass over everything, while so many changes come; or the same mirror goes on.
    Mirror,
    /// A pass over what was noticed, while so many changes come. Where that is not known, a mirror.
    Round,
    /// The standby's daemon is started again; if its amount is 1, after an orderly end.
    Restart,
    /// The standby loses power.
    Outage,
    /// The source's daemon is started again: it does not know what changed meanwhile.
    Forget,
    /// The replica is promoted, at the newest point or so many before it.
    Promote,
    /// Another node becomes the source, in a new generation.
    Usurp,
    /// A node tries to go on as the source that is it no more.
    Stale,
}

/// What hinders a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The line is cut after so many messages.
    Cut,
    /// The standby's daemon is killed after so many messages.
    Kill,
    /// The source's daemon is killed after so many messages.
    Lose,
    /// The standby loses power at its operation of that number.
    Crash,
    /// Its disk is full from that operation to the end of the step.
    Full,
    /// That operation fails.
    Error,
    /// As `Crash`, but counted from the commit.
    LateCrash,
    /// As `Full`, but counted from the commit.
    LateFull,
    /// As `Error`, but counted from the commit.
    LateError,
}

const ACTS: [(Act, &str); 9] = [
    (Act::Change, "change"),
    (Act::Mirror, "mirror"),
    (Act::Round, "round"),
    (Act::Restart, "restart"),
    (Act::Outage, "outage"),
    (Act::Forget, "forget"),
    (Act::Promote, "promote"),
    (Act::Usurp, "usurp"),
    (Act::Stale, "stale"),
];

const TROUBLES: [(Trouble, &str); 9] = [
    (Trouble::Cut, "cut"),
    (Trouble::Kill, "kill"),
    (Trouble::Lose, "lose"),
    (Trouble::Crash, "crash"),
    (Trouble::Full, "full"),
    (Trouble::Error, "error"),
    (Trouble::LateCrash, "late-crash"),
    (Trouble::LateFull, "late-full"),
    (Trouble::LateError, "late-error"),
];

fn name_of<T: PartialEq>(names: &[(T, &'static str)], of: &T) -> &'static str {
    names.iter().find(|(value, _)| value == of).map_or("?", |(_, name)| name)
}

fn named<T: Copy>(names: &[(T, &'static str)], wanted: &str) -> Option<T> {
    names.iter().find(|(_, name)| *name == wanted).map(|(value, _)| *value)
}

/// One step. What is random in it comes from its own seed, so that a step that is taken out changes no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub act: Act,
    /// How much of it.
    pub amount: u64,
    /// What hinders it, and when.
    pub trouble: Option<(Trouble, u64)>,
    /// For all that is random in it.
    pub seed: u64,
}

/// A world and what happens in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// For what is random in the world: rules, limits.
    pub world: u64,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// The schedule of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut steps = vec![step(Act::Change, 12, &mut random)];
        for _ in 0..random.below(12) + 3 {
            let act = [
                (Act::Change, 8),
                (Act::Mirror, 9),
                (Act::Round, 12),
                (Act::Restart, 3),
                (Act::Outage, 2),
                (Act::Forget, 1),
                (Act::Promote, 1),
                (Act::Usurp, 1),
                (Act::Stale, 1),
            ];
            let act = pick(&mut random, &act);
            steps.push(step(act, 6, &mut random));
            // What was cut off mostly goes on.
            if let Some(Step { act: act @ (Act::Mirror | Act::Round), trouble: Some(_), .. }) = steps.last().copied()
                && !random.one_in(4)
            {
                steps.push(step(act, 3, &mut random));
            }
            // Now and then rounds come one after the other.
            if act == Act::Round && random.one_in(6) {
                let many = [3, 3, 3, 3, 3, 8, 8, 40][random.below(8) as usize];
                for _ in 0..many {
                    let quiet = |step: Step| Step { trouble: step.trouble.filter(|_| many < 40), ..step };
                    steps.extend([step(Act::Change, 3, &mut random), quiet(step(Act::Round, 2, &mut random))]);
                }
            }
        }
        Self { world: seed, steps }
    }
}

fn pick<T: Copy>(random: &mut Random, choices: &[(T, u64)]) -> T {
    let mut at = random.below(choices.iter().map(|(_, weight)| weight).sum());
    for (choice, weight) in choices {
        if at < *weight {
            return *choice;
        }
        at -= weight;
    }
    choices[0].0
}

fn step(act: Act, most: u64, random: &mut Random) -> Step {
    let amount = match act {
        Act::Change => random.below(most) + 1,
        // Mostly nothing changes while a pass runs.
        Act::Mirror | Act::Round if random.one_in(3) => random.below(most) + 1,
        Act::Promote => random.below(3),
        Act::Restart => random.below(2),
        _ => 0,
    };
    let trouble = match act {
        Act::Mirror | Act::Round if random.one_in(2) => {
            let trouble = TROUBLES[random.below(TROUBLES.len() as u64) as usize].0;
            // Most of what there is to hit lies early, and some far behind.
            let within = [10, 40, 120, 300][random.below(4) as usize];
            Some((trouble, random.below(within) + 1))
        }
        Act::Promote | Act::Restart if random.one_in(2) => {
            let trouble = [Trouble::Crash, Trouble::Error][random.below(2) as usize];
            Some((trouble, random.below(60) + 1))
        }
        _ => None,
    };
    Step { act, amount, trouble, seed: random.number() >> 40 }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.world)?;
        for (index, Step { act, amount, trouble, seed }) in self.steps.iter().enumerate() {
            write!(f, "{} {} {amount}", if index > 0 { "," } else { "" }, name_of(&ACTS, act))?;
            if let Some((trouble, at)) = trouble {
                write!(f, " {} {at}", name_of(&TROUBLES, trouble))?;
            }
            write!(f, " @{seed:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (world, steps) = text.split_once(':').ok_or("a schedule begins with a number and a colon")?;
        let steps = steps.split(',').filter(|step| !step.trim().is_empty()).map(parse_step);
        Ok(Self { world: number(world.trim(), 10)?, steps: steps.collect::<Result<_, _>>()? })
    }
}

fn number(text: &str, radix: u32) -> Result<u64, String> {
    u64::from_str_radix(text, radix).map_err(|_| format!("{text:?} is no number"))
}

fn parse_step(text: &str) -> Result<Step, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let wrong = || format!("{:?} is no step: write `change 5 @1f` or `mirror 0 cut 30 @1f`", text.trim());
    let (act, amount, trouble, seed) = match words[..] {
        [act, amount, seed] => (act, amount, None, seed),
        [act, amount, trouble, at, seed] => (act, amount, Some((trouble, at)), seed),
        _ => return Err(wrong()),
    };
    let trouble = match trouble {
        Some((name, at)) => Some((named(&TROUBLES, name).ok_or_else(wrong)?, number(at, 10)?)),
        None => None,
    };
    let seed = number(seed.strip_prefix('@').ok_or_else(wrong)?, 16)?;
    Ok(Step { act: named(&ACTS, act).ok_or_else(wrong)?, amount: number(amount, 10)?, trouble, seed })
}
