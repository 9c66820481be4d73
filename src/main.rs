//! `standin`: keeps a standby ready to stand in for a mail server. The command line; see `cli` for the commands.

mod cli;
mod control;
mod daemon;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("standin: {failure}");
            failure.code()
        }
    }
}
