//! Who logs on to the directory, and the secret that proves it: where it comes from, and that it goes nowhere else.

use std::path::{Path, PathBuf};

use standin_common::disk;
pub use standin_common::secret::Secret;
use zeroize::Zeroizing;

/// How to log on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A simple bind over TLS.
    Password {
        /// User principal name (`administrator@example.com`) or `DOMAIN\user`.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// The Kerberos tickets of whoever runs this: needs a build with the feature `gssapi`.
    Kerberos,
}

/// Where a password comes from.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    /// Given already, after `-u USER:` for example.
    Given(Secret),
    /// An environment variable of this name.
    Environment(String),
    /// The first line of a file that only its owner may read.
    File(PathBuf),
    /// Whoever sits at the terminal.
    Prompt,
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The variable is not set, or no text.
    #[error("the environment variable {0} holds no password: set it, or name a file or a prompt")]
    Environment(String),
    /// The file is open to others.
    #[error(
        "{path} holds a password and others may read it (mode {mode}): chmod 600 it, and change the password if they may have"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] disk::DiskError),
    /// The file holds no text, or none in its first line.
    #[error("{0} holds no password in its first line")]
    Empty(PathBuf),
    /// Nobody to ask.
    #[error("the password cannot be asked for: {0}; give it in an environment variable or a file")]
    Prompt(std::io::Error),
    /// An empty one would log on as nobody (RFC 4513 section 5.1.2), which succeeds and then may do nothing.
    #[error("the password is empty")]
    Blank,
}

impl PasswordSource {
    /// Gets the password. `prompt` asks whoever sits there, without showing what is typed.
    ///
    /// # Errors
    /// [`CredentialsError`] with what to do.
    pub fn password(&self, prompt: impl FnOnce() -> std::io::Result<String>) -> Result<Secret, CredentialsError> {
        let secret = match self {
            Self::Given(secret) => secret.clone(),
            Self::Environment(name) => {
                let value = std::env::var(name).map_err(|_| CredentialsError::Environment(name.clone()))?;
                Secret::new(value)
            }
            Self::File(path) => from_file(path)?,
            Self::Prompt => Secret::new(prompt().map_err(CredentialsError::Prompt)?),
        };
        if secret.reveal().is_empty() { Err(CredentialsError::Blank) } else { Ok(secret) }
    }
}

fn from_file(path: &Path) -> Result<Secret, CredentialsError> {
    if let Some(mode) = disk::open_to_others(path)? {
        return Err(CredentialsError::Open { path: path.to_owned(), mode });
    }
    let bytes = Zeroizing::new(std::fs::read(path).map_err(disk::DiskError::at("read", path))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| CredentialsError::Empty(path.to_owned()))?;
    let line = text.lines().next().filter(|line| !line.is_empty());
    line.map(|line| Secret::new(line.to_owned())).ok_or_else(|| CredentialsError::Empty(path.to_owned()))
}

/// Takes `USER:PASSWORD` apart, as `-u` of exchfailover has it: the first `:` separates, so a password may hold more. The name alone
/// where there is none.
pub fn split_user(text: &str) -> (String, Option<Secret>) {
    match text.split_once(':') {
        Some((user, password)) => (user.to_owned(), Some(Secret::new(password.to_owned()))),
        None => (text.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_prompt() -> std::io::Result<String> {
        panic!("nobody is to be asked")
    }

    #[test]
    fn a_secret_is_not_printed() {
        let credentials = Credentials::Password { user: "a@b".into(), password: Secret::new("hunter2".into()) };
        let source = PasswordSource::Given(Secret::new("hunter2".into()));
        for text in [format!("{credentials:?}"), format!("{source:?}"), format!("{:#?}", credentials)] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_must_be_its_owners_alone() {
        use std::fs;
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "pass:word with blank \nsecond line\n").unwrap();
        let source = PasswordSource::File(path.clone());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = source.password(no_prompt).unwrap_err().to_string();
        assert!(error.contains("0640") && error.contains("chmod 600") && !error.contains("pass:word"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(source.password(no_prompt).unwrap().reveal(), "pass:word with blank ");
        fs::write(&path, "\nsecond").unwrap();
        assert!(matches!(source.password(no_prompt), Err(CredentialsError::Empty(_))));
    }

    #[test]
    fn sources_are_asked_and_an_empty_password_is_none() {
        let missing = PasswordSource::Environment("STANDIN_TEST_NOT_SET".into()).password(no_prompt);
        assert!(matches!(missing, Err(CredentialsError::Environment(_))));
        assert_eq!(PasswordSource::Prompt.password(|| Ok("typed".into())).unwrap().reveal(), "typed");
        assert!(matches!(PasswordSource::Prompt.password(|| Ok(String::new())), Err(CredentialsError::Blank)));
        let (user, password) = split_user("fb\\admin:a:b");
        assert_eq!((user.as_str(), password.as_ref().map(Secret::reveal)), ("fb\\admin", Some("a:b")));
        assert_eq!(split_user("admin@fb.test").1, None);
    }
}
