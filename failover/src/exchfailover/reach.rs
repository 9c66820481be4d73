//! How the directory is reached, and where a run keeps what it must remember.

/// Options about the directory itself; each overrides what the settings file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// `--server`: domain controllers in the order to be tried, `dc1.example.com` or `starttls://dc1.example.com`.
    pub servers: Vec<String>,
    /// `--domain`: the domain whose controllers DNS is asked for.
    pub domain: Option<String>,
    /// `--ca`: PEM file of the authorities that sign the controllers' certificates.
    pub authorities: Option<String>,
    /// `--pin`: SHA-256 of the one certificate that is believed.
    pub pin: Option<String>,
    /// `--password-file`: whose first line is the account's password.
    pub password_file: Option<String>,
    /// `--ldif`: exports to work on in place of a directory.
    pub exports: Vec<String>,
    /// `--changes`: where the changes of a plan for an export go.
    pub changes: Option<String>,
    /// `--state-dir`: where journals of runs are kept.
    pub state_dir: Option<String>,
    /// `--config`: the settings file.
    pub config: Option<String>,
}

impl Reach {
    /// What belongs after an option of these; `None` for any other option.
    pub(super) fn wants(option: &str) -> Option<&'static str> {
        Some(match option {
            "server" => "a domain controller's name",
            "domain" => "a domain's DNS name",
            "pin" => "a certificate's SHA-256 fingerprint",
            "state-dir" => "a directory's name",
            "ca" | "password-file" | "ldif" | "changes" | "config" => "a file's name",
            _ => return None,
        })
    }

    /// Takes the value of one of these options.
    pub(super) fn take(&mut self, option: &str, value: String) {
        match option {
            "server" => self.servers.extend(value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned)),
            "ldif" => self.exports.push(value),
            "domain" => self.domain = Some(value),
            "ca" => self.authorities = Some(value),
            "pin" => self.pin = Some(value),
            "password-file" => self.password_file = Some(value),
            "changes" => self.changes = Some(value),
            "state-dir" => self.state_dir = Some(value),
            _ => self.config = Some(value),
        }
    }
}
