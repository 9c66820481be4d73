//! The command line: what was typed, and a file for each command.

mod check;
mod init;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use standin_config::LoadError;

/// Exit codes, as the help lists them.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 the command line or the settings are wrong.";

/// Keeps a standby ready to stand in for a mail server.
#[derive(Debug, Parser)]
#[command(name = "standin", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// The settings file.
    #[arg(long, global = true, env = "STANDIN_CONFIG", default_value = "/etc/standin/standin.toml")]
    config: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a node of this machine: its settings file, state directory and identity. Running it again changes nothing.
    Init(init::Options),
    /// Check the settings and the roots of this node; every problem at once.
    Check,
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page.
    Man,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something that was tried.
    #[error("{0}")]
    Failed(String),
    /// The settings.
    #[error("{0}")]
    Settings(#[from] LoadError),
}

impl Failure {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Settings(_) => ExitCode::from(2),
        }
    }
}

/// Runs a command.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Init(options) => init::run(&arguments.config, options, arguments.json),
        Command::Check => check::run(&arguments.config, arguments.json),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "standin", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            clap_mangen::Man::new(Arguments::command()).render(&mut std::io::stdout()).map_err(Failure::failed)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
