//! A changed password of the directory's account: tried, then stored for later runs.

use std::path::{Path, PathBuf};

use standin_common::disk::{self, Mode};
use standin_common::message::{Password, PasswordAnswer};
use standin_config::Settings;
use standin_failover::credentials::Secret;

use super::{Access, Stop};

/// Whether it can be the first line of a file.
pub(crate) fn is_one_line(password: &Secret) -> bool {
    !password.reveal().is_empty() && !password.reveal().contains(['\n', '\r'])
}

/// Logs on with a password; without an error the directory takes it.
pub(crate) fn try_password(access: &Access, password: &Secret) -> Result<(), Stop> {
    let mut access = access.clone();
    access.password = Some(password.clone());
    access.ldif.clear();
    access.open().map(drop)
}

/// Replaces the file by one with this password, for its owner alone.
pub(crate) fn store_password(file: &Path, password: &Secret) -> Result<(), Stop> {
    let line = zeroize::Zeroizing::new(format!("{}\n", password.reveal()));
    disk::replace(file, line.as_bytes(), Mode::Private).map_err(Stop::usage)
}

/// What a node does with a password that a paired one sends: as its own settings say, and only after its own directory took it.
pub(crate) fn take_password(settings: &Settings, sent: &Password) -> PasswordAnswer {
    let access = Access::default().or(Some(settings));
    let file = match own_file(&access, &sent.account) {
        Ok(file) => file,
        Err(why) => return PasswordAnswer::NotKept(why),
    };
    if !is_one_line(&sent.password) {
        return PasswordAnswer::Failed("the password is empty, or has more than one line".to_owned());
    }
    match try_password(&access, &sent.password).and_then(|()| store_password(&file, &sent.password)) {
        Ok(()) => PasswordAnswer::Stored,
        Err(stop) => PasswordAnswer::Failed(stop.why),
    }
}

/// Where the settings keep the password of this account, or why they do not.
fn own_file(access: &Access, account: &str) -> Result<PathBuf, String> {
    let own = access.account().ok_or("its settings name no account of the directory")?;
    if own.to_lowercase() != account.to_lowercase() {
        return Err(format!("its settings name another account, {own}"));
    }
    access.password_file.clone().ok_or_else(|| "its settings name no password_file".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(directory: &str, account: &str) -> PasswordAnswer {
        let settings = Settings::parse(&format!("[node]\nname = \"a\"\nstate_dir = \"/s\"\n{directory}"), "f").unwrap();
        take_password(&settings, &Password { account: account.to_owned(), password: Secret::new("x".into()) })
    }

    #[test]
    fn only_the_own_account_and_only_where_a_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        // Nobody listens there.
        let own = format!(
            "[directory]\ncontrollers = [\"127.0.0.1:1\"]\naccount = \"standin@fa.test\"\npassword_file = \"{}\"\n",
            file.display()
        );
        assert!(matches!(answer("", "standin@fa.test"), PasswordAnswer::NotKept(why) if why.contains("no account")));
        assert!(matches!(answer(&own, "other@fa.test"), PasswordAnswer::NotKept(why) if why.contains("standin@fa.test")));
        let without = "[directory]\ncontrollers = [\"127.0.0.1:1\"]\naccount = \"standin@fa.test\"\n";
        assert!(matches!(answer(without, "standin@fa.test"), PasswordAnswer::NotKept(why) if why.contains("password_file")));
        // What the directory did not take is not stored.
        assert!(matches!(answer(&own, "STANDIN@fa.test"), PasswordAnswer::Failed(why) if why.contains("127.0.0.1")));
        assert!(!file.exists());
    }
}
