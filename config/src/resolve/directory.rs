//! `[directory]`.

use std::path::PathBuf;

use super::Resolver;
use super::sense::port_fault;
use crate::model::Directory;
use crate::problem::quote;
use crate::raw::{DIRECTORY, RawDirectory};
use crate::read::Placed;

/// Hexadecimal digits of a SHA-256 fingerprint.
const FINGERPRINT_DIGITS: usize = 64;

impl Resolver<'_> {
    pub(super) fn directory(&self, raw: &RawDirectory) -> Directory {
        let controllers = raw.controllers.iter().flat_map(|list| &list.value);
        let controllers: Vec<String> = controllers.filter_map(|written| self.controller(written)).collect();
        let path = |written: &Option<Placed<String>>| -> Option<PathBuf> {
            written.as_ref().and_then(|written| self.place(written, true)).map(|place| place.to_path())
        };
        if let (Some(_), Some(pin)) = (&raw.ca, &raw.pin) {
            let instead = "keep ca for certificates that an authority signs, or pin for exactly one";
            self.problems.add(pin.at, &pin.key, "ca and pin can not both say what is believed", instead);
        }
        if let (Some(file), None) = (&raw.password_file, &raw.account) {
            let instead = format!("write {}, too", DIRECTORY.example("account"));
            self.problems.add(file.at, &file.key, "there is a password and nobody whose it is", instead);
        }
        Directory {
            controllers,
            domain: raw.domain.as_ref().and_then(|written| self.host(written, "domain")),
            account: raw.account.as_ref().and_then(|written| self.account(written)),
            password_file: path(&raw.password_file),
            ca: path(&raw.ca),
            pin: raw.pin.as_ref().and_then(|written| self.pin(written)),
            state_dir: path(&raw.state_dir),
        }
    }

    /// A controller with the schemes that have TLS; the rest of it is a host and perhaps a port.
    fn controller(&self, written: &Placed<String>) -> Option<String> {
        let text = &written.value;
        let (scheme, rest) = text.split_once("://").unwrap_or(("ldaps", text));
        match scheme.to_ascii_lowercase().as_str() {
            "ldaps" | "starttls" => self.host_and_port(&written.with(rest.trim_end_matches('/').to_owned()), "controllers")?,
            "ldap" => {
                let instead = format!("write \"ldaps://{rest}\", or \"starttls://{rest}\" for port 389");
                self.problems.add(written.at, &written.key, "the password would be sent in the clear", instead);
                return None;
            }
            _ => {
                let wrong = format!("{} has an unknown scheme", quote(text));
                self.problems.add(written.at, &written.key, wrong, format!("write {}", DIRECTORY.example("controllers")));
                return None;
            }
        };
        Some(text.clone())
    }

    fn host_and_port(&self, written: &Placed<String>, key: &str) -> Option<String> {
        let host = self.host(written, key)?;
        let fault = port_fault(&host);
        if let Some(wrong) = &fault {
            self.problems.add(written.at, &written.key, wrong.clone(), format!("write {}", DIRECTORY.example(key)));
        }
        fault.is_none().then_some(host)
    }

    fn host(&self, written: &Placed<String>, key: &str) -> Option<String> {
        let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '[' | ']');
        if !written.value.is_empty() && written.value.chars().all(fits) {
            return Some(written.value.clone());
        }
        let wrong = format!("{} is no name of a host or domain", quote(&written.value));
        self.problems.add(written.at, &written.key, wrong, format!("write {}", DIRECTORY.example(key)));
        None
    }

    fn account(&self, written: &Placed<String>) -> Option<String> {
        if written.value.contains(':') {
            let instead = "write the name alone, and the password's file with password_file";
            self.problems.add(written.at, &written.key, "an account has no \":\", and a password does not belong here", instead);
            return None;
        }
        if written.value.trim().is_empty() {
            self.problems.add(written.at, &written.key, "the name is empty", format!("write {}", DIRECTORY.example("account")));
            return None;
        }
        Some(written.value.clone())
    }

    fn pin(&self, written: &Placed<String>) -> Option<String> {
        let digits = written.value.chars().filter(|char| !matches!(char, ':' | ' ' | '-'));
        let (known, other): (Vec<char>, Vec<char>) = digits.partition(char::is_ascii_hexdigit);
        if known.len() == FINGERPRINT_DIGITS && other.is_empty() {
            return Some(written.value.clone());
        }
        let wrong = format!("{} is no SHA-256 fingerprint", quote(&written.value));
        let instead = "write 64 hexadecimal digits, with or without colons: openssl x509 -noout -fingerprint -sha256 -in FILE";
        self.problems.add(written.at, &written.key, wrong, instead);
        None
    }
}
