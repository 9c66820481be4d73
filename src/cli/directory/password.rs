//! `standin directory password`.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use standin_common::message::Password;
use standin_failover::credentials::Secret;
use standin_failover::exchfailover::Outcome;

use super::super::{Failure, Scene, show};
use crate::control::client::{self, AskError};
use crate::control::{Answer, Request, Shared, SharedResult};
use crate::directory::{Access, PASSWORD_VARIABLE, Stop, ask_password, is_one_line, store_password, try_password};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// Only check the password, store nothing.
    #[arg(long)]
    check: bool,
    /// Store it on this node only, and tell no other.
    #[arg(long, conflicts_with = "check")]
    here: bool,
    #[command(flatten)]
    access: Access,
}

/// The directory must take the new password before the old one is replaced, here and on every node.
pub(super) fn run(scene: &Scene<'_>, options: &Options) -> Result<ExitCode, Failure> {
    let settings = scene.settings_if_any()?;
    let access = options.access.clone().or(settings.as_ref());
    let Some(account) = access.account() else {
        return Err(
            Stop::usage("whose password? Name the account with --user, or in the table [directory] of the settings").into()
        );
    };
    let file = access.password_file.clone();
    if file.is_none() && !options.check {
        let why = "where is it to be stored? Name the file with --password-file, or in the table [directory] of the settings";
        return Err(Stop::usage(why).into());
    }
    let password = new_password(&account)?;
    try_password(&access, &password)?;
    let stored = file.filter(|_| !options.check);
    if let Some(file) = &stored {
        store_password(file, &password)?;
    }
    let has_peers = settings.as_ref().is_some_and(|settings| !settings.peers.is_empty());
    let others = match (&settings, &stored) {
        (Some(settings), Some(_)) if has_peers && !options.here => {
            share(&settings.node.state_dir, Password { account: account.clone(), password })
        }
        _ => Ok(Vec::new()),
    };
    tell(scene, &account, stored, others)
}

/// Has the daemon give it to the paired nodes.
fn share(state_dir: &std::path::Path, password: Password) -> Result<Vec<Shared>, String> {
    match client::ask_at_once(state_dir, &Request::SharePassword(password)) {
        Ok(Answer::Shared(shared)) => Ok(shared),
        Ok(_) => Err("the daemon's answer is of another release: restart it, then run this again".to_owned()),
        Err(error @ AskError::NotRunning(_)) => Err(format!("{error}, then run this again; or run it on each of them")),
        Err(error) => Err(format!("{error}; run this again, or on each of them")),
    }
}

fn tell(
    scene: &Scene<'_>,
    account: &str,
    stored: Option<PathBuf>,
    others: Result<Vec<Shared>, String>,
) -> Result<ExitCode, Failure> {
    let is_everywhere = others.as_ref().is_ok_and(|all| all.iter().all(|one| one.result != SharedResult::Failed));
    let outcome = if is_everywhere { Outcome::Done } else { Outcome::SomeFailed };
    let json = serde_json::json!({
        "code": outcome.code(), "account": account, "accepted": true, "stored": stored,
        "nodes": others.as_ref().ok(), "nodes_not_told": others.as_ref().err(),
    });
    scene.print(&json, || {
        let mut lines = vec![match &stored {
            Some(file) => format!("the directory takes the password of {account}; it is stored in {}", file.display()),
            None => format!("the directory takes the password of {account}; it is stored nowhere"),
        }];
        match &others {
            Ok(all) => lines.extend(all.iter().map(line)),
            Err(why) => lines.push(format!("  the other nodes were not told: {why}")),
        }
        lines.join("\n")
    })?;
    Ok(ExitCode::from(outcome.code()))
}

fn line(one: &Shared) -> String {
    let why = one.why.as_deref().map(show::harmless).unwrap_or_default();
    match one.result {
        SharedResult::Stored => format!("  {}: tried there, and stored", one.node),
        SharedResult::NotKept => format!("  {}: not needed there: {why}", one.node),
        SharedResult::Failed => format!("  {}: NOT stored: {why}", one.node),
    }
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
    let password = Secret::new(text);
    if !is_one_line(&password) {
        return Err(Stop::usage("the password is empty, or has more than one line; nothing was stored").into());
    }
    Ok(password)
}
