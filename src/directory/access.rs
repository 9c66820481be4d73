//! Which directory, and who asks.

use std::io::IsTerminal;
use std::path::PathBuf;

use standin_config::Settings;
use standin_failover::credentials::{Credentials, PasswordSource, Secret};
use standin_failover::directory::Directory;
use standin_failover::directory::ldap::{Endpoint, LdapDirectory, LdapSettings, Limits, Servers, SettingsError, Trust};
use standin_failover::directory::ldif::LdifDirectory;
use standin_failover::execute::Controllers;

use super::{PASSWORD_VARIABLE, Stop, ask_password};

/// How the directory is reached: what was typed, over what the settings say.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Directory")]
pub(crate) struct Access {
    /// A domain controller to begin with, such as dc1.example.com, or starttls://dc1.example.com for port 389. More than once for several.
    #[arg(long = "server", value_name = "CONTROLLER", value_delimiter = ',')]
    pub(crate) servers: Vec<String>,
    /// Ask DNS for the controllers of this domain.
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// Believe the certificates that the authorities in this PEM file signed.
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    pub(crate) ca: Option<PathBuf>,
    /// Believe exactly the certificate with this SHA-256 fingerprint.
    #[arg(long, value_name = "SHA256")]
    pub(crate) pin: Option<String>,
    /// The account, such as standin@example.com. Its password comes from the environment (STANDIN_DIRECTORY_PASSWORD), a file, or a prompt.
    #[arg(short, long, value_name = "ACCOUNT")]
    pub(crate) user: Option<String>,
    /// The file with the account's password in its first line. Only its owner may read it.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Work on this export of the directory in place of it. More than once for several files.
    #[arg(long, value_name = "EXPORT")]
    pub(crate) ldif: Vec<PathBuf>,
    /// Where journals of runs are kept.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) state_dir: Option<PathBuf>,
    /// A password that was given already.
    #[arg(skip)]
    pub(crate) password: Option<Secret>,
}

/// A directory, one of two kinds.
pub(crate) enum Opened {
    /// Active Directory.
    Live(Box<LdapDirectory>),
    /// An export of it.
    Export(Box<LdifDirectory>),
}

impl Opened {
    /// For reading.
    pub(crate) fn directory(&self) -> &dyn Directory {
        match self {
            Self::Live(directory) => directory.as_ref(),
            Self::Export(directory) => directory.as_ref(),
        }
    }

    /// For writing.
    pub(crate) fn controllers(&self) -> Result<&dyn Controllers, Stop> {
        match self {
            Self::Live(directory) => Ok(directory.as_ref()),
            Self::Export(_) => Err(Stop::usage("an export is not written to: make a plan of it, and its changes with --changes")),
        }
    }
}

impl Access {
    /// Fills in from the settings what was not typed.
    pub(crate) fn or(mut self, settings: Option<&Settings>) -> Self {
        let Some(settings) = settings else { return self };
        let own = settings.directory.clone().unwrap_or_default();
        if self.servers.is_empty() && self.domain.is_none() {
            (self.servers, self.domain) = (own.controllers, own.domain);
        }
        if self.ca.is_none() && self.pin.is_none() {
            (self.ca, self.pin) = (own.ca, own.pin);
        }
        // The file has the password of the settings' account, and of no other.
        if self.user.is_none() || self.user == own.account {
            self.user = own.account;
            self.password_file = self.password_file.or(own.password_file);
        }
        let usual = || settings.node.state_dir.join("directory");
        self.state_dir = self.state_dir.or(own.state_dir).or_else(|| Some(usual()));
        self
    }

    /// The account in full, with its domain.
    pub(crate) fn account(&self) -> Option<String> {
        self.user.as_deref().map(|user| resolve_account(user, self.domain.as_deref(), &self.servers))
    }

    /// Where journals of runs are.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| PathBuf::from("/var/lib/standin/directory"))
    }

    /// Opens it: an export from its files, or Active Directory with everybody's certificate looked at before a password is sent.
    pub(crate) fn open(&self) -> Result<Opened, Stop> {
        if !self.ldif.is_empty() {
            let files: Vec<_> = self.ldif.iter().map(PathBuf::as_path).collect();
            return Ok(Opened::Export(Box::new(LdifDirectory::open(&files)?)));
        }
        let settings = self.ldap_settings()?;
        let credentials = self.credentials()?;
        Ok(Opened::Live(Box::new(LdapDirectory::connect(settings, credentials)?)))
    }

    /// How a daemon reaches the directory, where nobody is there to be asked for anything.
    pub(crate) fn unattended_way(&self) -> Result<(LdapSettings, Credentials), Stop> {
        self.unattended()?;
        Ok((self.ldap_settings()?, self.credentials()?))
    }

    /// That nobody has to be asked for anything, as nobody is there where a daemon runs.
    pub(crate) fn unattended(&self) -> Result<(), Stop> {
        let Some(user) = self.account() else {
            let kerberos = cfg!(feature = "gssapi");
            let why = "the table [directory] of this node's settings names no account: add account and password_file";
            return if kerberos { Ok(()) } else { Err(Stop::usage(why)) };
        };
        let is_given = self.password.is_some() || std::env::var_os(PASSWORD_VARIABLE).is_some();
        match &self.password_file {
            _ if is_given => Ok(()),
            Some(file) if file.exists() => Ok(()),
            Some(file) => {
                let why = format!("the password of {user} is not stored on this node, in {}", file.display());
                Err(Stop::usage(format!(
                    "{why}: `standin directory password` tries it and stores it here and on the other nodes"
                )))
            }
            None => {
                let why = format!("the table [directory] of this node's settings names no password_file for {user}");
                Err(Stop::usage(format!("{why}: add one, then `standin directory password` stores the password in it")))
            }
        }
    }

    /// Everything but the password.
    pub(crate) fn ldap_settings(&self) -> Result<LdapSettings, Stop> {
        let wrong = |error: SettingsError| Stop::usage(error);
        let endpoints: Vec<Endpoint> = self.servers.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(wrong)?;
        let domain =
            || self.domain.clone().or_else(|| self.user.as_deref()?.rsplit_once('@').map(|(_, domain)| domain.to_owned()));
        let nowhere = "name a domain controller with --server, or write controllers in the table [directory] of the settings";
        let servers = match (endpoints, domain()) {
            (endpoints, _) if !endpoints.is_empty() => Servers::List(endpoints),
            (_, Some(domain)) => Servers::Domain(domain),
            _ => return Err(Stop::usage(nowhere)),
        };
        let trust = match (&self.pin, &self.ca) {
            (Some(pin), _) => Trust::Pinned(pin.parse().map_err(wrong)?),
            (None, Some(file)) => Trust::Authorities(file.clone()),
            (None, None) => Trust::System,
        };
        Ok(LdapSettings { servers, trust, name_servers: Vec::new(), limits: Limits::default() })
    }

    /// Who logs on: the account with its password, or the caller's Kerberos tickets where none is named.
    pub(crate) fn credentials(&self) -> Result<Credentials, Stop> {
        let Some(user) = self.account() else { return Ok(Credentials::Kerberos) };
        let source = match (&self.password, &self.password_file) {
            (Some(given), _) => PasswordSource::Given(given.clone()),
            (None, _) if std::env::var_os(PASSWORD_VARIABLE).is_some() => {
                PasswordSource::Environment(PASSWORD_VARIABLE.to_owned())
            }
            (None, Some(file)) => PasswordSource::File(file.clone()),
            (None, None) if std::io::stdin().is_terminal() => PasswordSource::Prompt,
            (None, None) => {
                let ways = format!("set {PASSWORD_VARIABLE}, or name a file with --password-file");
                return Err(Stop::usage(format!("there is no password for {user}, and nobody to ask: {ways}")));
            }
        };
        let password = source.password(|| ask_password(&format!("Password of {user}: "))).map_err(Stop::usage)?;
        Ok(Credentials::Password { user, password })
    }
}

/// A bare name, as in `-u administrator:…`, gets its domain: a simple bind takes `user@domain` or `DOMAIN\user` only.
fn resolve_account(user: &str, domain: Option<&str>, servers: &[String]) -> String {
    if user.contains(['@', '\\', '=']) {
        return user.to_owned();
    }
    let of_server = || {
        let host = servers.first()?.parse::<Endpoint>().ok()?.host;
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        host.split_once('.').filter(|_| !is_address).map(|(_, domain)| domain.to_owned())
    };
    match domain.map(str::to_owned).or_else(of_server) {
        Some(domain) => format!("{user}@{domain}"),
        None => user.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_gets_its_domain() {
        let at = |user: &str, domain: Option<&str>, server: &str| resolve_account(user, domain, &[server.to_owned()]);
        assert_eq!(at("administrator", None, "starttls://dc1.fb.test"), "administrator@fb.test");
        assert_eq!(at("administrator", Some("corp.test"), "dc1.fb.test"), "administrator@corp.test");
        assert_eq!(at("FB\\administrator", None, "dc1.fb.test"), "FB\\administrator");
        assert_eq!(at("a@b", None, "dc1.fb.test"), "a@b");
        assert_eq!(at("administrator", None, "10.0.0.1"), "administrator");
    }

    #[test]
    fn a_file_of_the_settings_is_not_used_for_another_account() {
        let text = "[node]\nname = \"a\"\nstate_dir = \"/s\"\n[directory]\ncontrollers = [\"dc1\"]\naccount = \"x@y\"\npassword_file = \"/p\"\n";
        let settings = Settings::parse(text, "f").unwrap();
        let of = |user: Option<&str>| Access { user: user.map(str::to_owned), ..Access::default() }.or(Some(&settings));
        assert_eq!((of(None).user.as_deref(), of(None).password_file), (Some("x@y"), Some(PathBuf::from("/p"))));
        assert_eq!((of(Some("z@y")).user.as_deref(), of(Some("z@y")).password_file), (Some("z@y"), None));
        assert_eq!(of(None).state_dir(), PathBuf::from("/s/directory"));
    }
}
