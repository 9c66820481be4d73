//! Streams of capture `ordered`: operations received, folded, gone to and back, against the same operations performed one by one.
//!
//! `STANDIN_SEED=n` runs one program, `STANDIN_PROGRAMS=n` that many. A failure names its seed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crashes;
mod folding;
mod ground;
mod hostile;
mod mirror;
mod model;
mod program;

/// Runs the seeds that the environment asks for, or `programs` of them.
fn for_seeds(programs: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("STANDIN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STANDIN_PROGRAMS").unwrap_or(programs),
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("failed with STANDIN_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
