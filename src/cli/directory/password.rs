//! `standin directory password`.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use standin_common::disk::{self, Mode};
use standin_failover::credentials::Secret;

use super::super::{Failure, Scene};
use crate::directory::{Access, PASSWORD_VARIABLE, Stop, ask_password};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// Only check the password, store nothing.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    access: Access,
}

/// The directory must take the new password before the old one is replaced.
pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let mut access = options.access.clone().or(scene.settings_if_any()?.as_ref());
    let Some(user) = access.user.clone() else {
        return Err(
            Stop::usage("whose password? Name the account with --user, or in the table [directory] of the settings").into()
        );
    };
    let file = access.password_file.clone();
    if file.is_none() && !options.check {
        let why = "where is it to be stored? Name the file with --password-file, or in the table [directory] of the settings";
        return Err(Stop::usage(why).into());
    }
    let password = new_password(&user)?;
    access.password = Some(password.clone());
    access.ldif.clear();
    access.open()?;
    let stored = match file.filter(|_| !options.check) {
        Some(file) => {
            let line = format!("{}\n", password.reveal());
            disk::replace(&file, line.as_bytes(), Mode::Private).map_err(Stop::usage)?;
            Some(file)
        }
        None => None,
    };
    scene.print(&serde_json::json!({ "account": user, "accepted": true, "stored": stored }), || match &stored {
        Some(file) => format!("the directory takes the password of {user}; it is stored in {}", file.display()),
        None => format!("the directory takes the password of {user}; it is stored nowhere"),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// From the environment, a terminal (twice, as nobody sees what is typed), or the first line of standard input.
fn new_password(user: &str) -> Result<Secret, Failure> {
    let failed = |error: std::io::Error| Stop::usage(format!("the password can not be read: {error}"));
    let text = if let Ok(text) = std::env::var(PASSWORD_VARIABLE) {
        text
    } else if std::io::stdin().is_terminal() {
        let first = ask_password(&format!("New password of {user}: ")).map_err(failed)?;
        if ask_password("Once more: ").map_err(failed)? != first {
            return Err(Stop::usage("the two are not the same; nothing was stored").into());
        }
        first
    } else {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
        line.trim_end_matches(['\n', '\r']).to_owned()
    };
    if text.is_empty() || text.contains(['\n', '\r']) {
        return Err(Stop::usage("the password is empty, or has more than one line; nothing was stored").into());
    }
    Ok(Secret::new(text))
}
