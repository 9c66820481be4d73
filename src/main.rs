//! `standin`: keeps a standby ready to stand in for a mail server. See `cli` for the commands, `daemon` for what runs.

mod cli;
mod control;
mod daemon;
mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Arguments::typed() {
        Ok(arguments) => cli::run(&arguments).unwrap_or_else(|failure| failure.tell(arguments.json())),
        Err(code) => code,
    }
}
