//! How a directory is reached. A connection without TLS can not be expressed: a password never travels in the clear.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Everything but the credentials.
#[derive(Clone, Debug)]
pub struct LdapSettings {
    /// Which controllers to begin with.
    pub servers: Servers,
    /// Which certificates are believed.
    pub trust: Trust,
    /// DNS servers to ask for controllers; the system's own ways where empty.
    pub name_servers: Vec<IpAddr>,
    /// How long to wait, how much at a time.
    pub limits: Limits,
}

/// Where to find the first controller. The others are found through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// These, in this order.
    List(Vec<Endpoint>),
    /// Those that DNS names for the domain: SRV records of `_ldap._tcp.dc._msdcs.DOMAIN` (MS-ADTS 6.3.2.3), tried by RFC 2782.
    Domain(String),
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// At once: port 636, or 3269 for the global catalog.
    Ldaps,
    /// After a StartTLS request: port 389, or 3268 for the global catalog (RFC 4511 section 4.14).
    StartTls,
}

/// A controller's name, and how to talk to it. Written `dc1.example.com`, `ldaps://dc1.example.com:636` or `starttls://dc1.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name, which the certificate must have, or an address.
    pub host: String,
    /// The port; the usual one if `None`.
    pub port: Option<u16>,
    /// How TLS begins.
    pub security: Security,
}

/// Which certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the system's authorities.
    System,
    /// Those of the authorities in a PEM file.
    Authorities(PathBuf),
    /// Exactly this certificate, whoever signed it, whatever it names, and whenever it ends: SHA-256 of its DER form, as
    /// `openssl x509 -fingerprint -sha256` and Windows' certutil print it.
    Pinned(CertificateFingerprint),
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CertificateFingerprint(pub(super) [u8; 32]);

/// How long to wait, how much at a time.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first packet to the end of the bind.
    pub connect: Duration,
    /// For the answer to a modify or a rename, or for the next page of a search. Longer than MaxQueryDuration of Active Directory, 120 s.
    pub answer: Duration,
    /// Objects in a page: at most MaxPageSize of Active Directory, 1000.
    pub page: u16,
    /// Connections to a controller. Each carries several requests at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(15), answer: Duration::from_secs(130), page: 1000, connections: 4 }
    }
}

/// Why a text names no endpoint, or no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A scheme without TLS.
    #[error("{0}: a password would be sent in the clear; write ldaps://HOST, or starttls://HOST for port 389")]
    Plaintext(String),
    /// Anything else.
    #[error("\"{text}\" {why}")]
    Malformed {
        /// The text.
        text: String,
        /// What is wrong, and what to write.
        why: &'static str,
    },
}

impl Endpoint {
    /// LDAPS on the usual port.
    pub fn ldaps(host: &str) -> Self {
        Self { host: host.to_owned(), port: None, security: Security::Ldaps }
    }

    /// Where the domain's data are.
    pub(super) fn domain_port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::Ldaps => 636,
            Security::StartTls => 389,
        })
    }

    /// The same controller's global catalog (MS-ADTS 3.1.1.3.1.10).
    pub(super) fn catalog(&self) -> Self {
        let port = match self.security {
            Security::Ldaps => 3269,
            Security::StartTls => 3268,
        };
        Self { port: Some(port), ..self.clone() }
    }

    /// The same way to talk, with another controller.
    pub(super) fn of_host(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "[{address}]:{}", self.domain_port()),
            Err(_) => write!(f, "{}:{}", self.host, self.domain_port()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let malformed = |why| SettingsError::Malformed { text: text.to_owned(), why };
        let (security, rest) = match text.split_once("://") {
            None => (Security::Ldaps, text),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "ldaps" => (Security::Ldaps, rest),
                "starttls" => (Security::StartTls, rest),
                "ldap" => return Err(SettingsError::Plaintext(text.to_owned())),
                _ => return Err(malformed("has an unknown scheme; write ldaps://HOST or starttls://HOST")),
            },
        };
        let rest = rest.trim_end_matches('/');
        let (host, port) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None if rest.matches(':').count() == 1 => {
                rest.split_once(':').map(|(host, port)| (host, Some(port))).unwrap_or((rest, None))
            }
            None => (rest, None),
        };
        let port = port.map(|digits| digits.parse().map_err(|_| malformed("has no port from 1 to 65535"))).transpose()?;
        let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(fits) {
            return Err(malformed("names no host; write dc1.example.com or ldaps://dc1.example.com:636"));
        }
        Ok(Self { host: host.to_owned(), port, security })
    }
}

impl FromStr for CertificateFingerprint {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let malformed = || SettingsError::Malformed {
            text: text.to_owned(),
            why: "is no SHA-256 fingerprint: 64 hexadecimal digits, with or without colons",
        };
        let digits: Vec<u32> = text
            .chars()
            .filter(|char| !matches!(char, ':' | ' ' | '-'))
            .map(|char| char.to_digit(16))
            .collect::<Option<_>>()
            .ok_or_else(malformed)?;
        let bytes: Vec<u8> = digits.chunks_exact(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect();
        if digits.len() != 64 {
            return Err(malformed());
        }
        bytes.try_into().map(Self).map_err(|_| malformed())
    }
}

impl fmt::Display for CertificateFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if place == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for CertificateFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_plaintext_is_refused() {
        let read = |text: &str| text.parse::<Endpoint>().map(|endpoint| (endpoint.security, endpoint.to_string()));
        assert_eq!(read("dc1.fb.test"), Ok((Security::Ldaps, "dc1.fb.test:636".into())));
        assert_eq!(read("LDAPS://dc1:1636/"), Ok((Security::Ldaps, "dc1:1636".into())));
        assert_eq!(read("starttls://dc1"), Ok((Security::StartTls, "dc1:389".into())));
        assert_eq!(read("ldaps://[fd00::1]:7"), Ok((Security::Ldaps, "[fd00::1]:7".into())));
        assert_eq!(read("fd00::1"), Ok((Security::Ldaps, "[fd00::1]:636".into())));
        assert!(matches!(read("ldap://dc1"), Err(SettingsError::Plaintext(_))));
        for bad in ["", "dc1:x", "http://dc1", "dc1/x", "a b", "dc1:70000"] {
            assert!(matches!(read(bad), Err(SettingsError::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn fingerprints_are_read_as_they_are_printed() {
        let text = "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:FF";
        let fingerprint: CertificateFingerprint = text.parse().unwrap();
        assert_eq!(fingerprint.to_string(), text);
        assert_eq!(text.replace(':', "").to_lowercase().parse(), Ok(fingerprint));
        for bad in [&text[3..], "xy", "", &format!("{text}0")] {
            assert!(bad.parse::<CertificateFingerprint>().is_err(), "{bad}");
        }
    }
}
