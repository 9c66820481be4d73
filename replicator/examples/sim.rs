//! Runs schedules of the simulator on all cores: `sim --seeds N [--seed FROM]`, or one that was printed: `sim --schedule '...'`.

#[path = "../tests/schedules/sim/mod.rs"]
#[allow(unreachable_pub, dead_code)]
mod sim;

use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: sim [--seeds N] [--seed FROM] [--schedule '...']";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<String, String> {
    let (mut seeds, mut from) = (1000, 0);
    while let Some(option) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match option.as_str() {
            "--seeds" => seeds = value.parse().map_err(|_| USAGE)?,
            "--seed" => from = value.parse().map_err(|_| USAGE)?,
            "--schedule" => return sim::run(&value.parse()?, None).map(|()| "it holds".to_owned()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let began = Instant::now();
    match sim::search(from..from + seeds, None) {
        Some(failure) => Err(failure.text()),
        None => Ok(format!("{seeds} schedules from seed {from} on hold, in {:.1} s", began.elapsed().as_secs_f64())),
    }
}
