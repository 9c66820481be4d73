//! `standin`: keeps a standby ready to stand in for a mail server. See `cli` for the commands, `daemon` for what runs.

mod cli;
mod control;
mod daemon;
mod demo;
mod directory;
mod exchfailover;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(words) = exchfailover::called(std::env::args_os()) {
        return exchfailover::main(words);
    }
    match cli::Arguments::typed() {
        Ok(arguments) => cli::run(&arguments).unwrap_or_else(|failure| failure.tell(arguments.json())),
        Err(code) => code,
    }
}
