//! Network addresses as written: `host:port`.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The UDP port of an address that names none.
pub const DEFAULT_PORT: u16 = 7420;

/// Longest host name, in bytes (RFC 1035, section 2.3.4, without the trailing dot).
const MAX_HOST_LEN: usize = 253;
/// Longest label of a host name, in bytes (the same place).
const MAX_LABEL_LEN: usize = 63;

/// A host name, IPv4 or IPv6 address, and a port. Names are looked up when it is used, not when it is read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// Without brackets; lower case.
    host: String,
    port: u16,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No host.
    #[error("{0:?} names no host")]
    NoHost(String),
    /// Several colons without brackets.
    #[error("{0:?} has several colons, and an IPv6 address stands in brackets")]
    Brackets(String),
    /// What stands in brackets is not an IPv6 address.
    #[error("{0:?} is not an IPv6 address")]
    Ipv6(String),
    /// Only digits and dots, but not an IPv4 address.
    #[error("{0:?} is not an IPv4 address")]
    Ipv4(String),
    /// Neither an address nor a host name.
    #[error("{0:?} is not a host name")]
    Host(String),
    /// Not a port.
    #[error("{0:?} is not a port from 0 to 65535")]
    Port(String),
}

impl Address {
    /// The host: a name, or an IPv4 or IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port; 0 to listen on any free one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Looks the host up, which may take as long as name service does.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        self.to_string().to_socket_addrs().map(Iterator::collect)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (host, port) = split(text)?;
        let port = match port {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| AddressError::Port(digits.to_owned()))?
            }
            Some(other) => return Err(AddressError::Port(other.to_owned())),
            None => DEFAULT_PORT,
        };
        Ok(Self { host, port })
    }
}

/// The checked host and the port as written.
fn split(text: &str) -> Result<(String, Option<&str>), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) = rest.split_once(']').ok_or_else(|| AddressError::Ipv6(text.to_owned()))?;
        let address: SocketAddrV6 = format!("[{inner}]:0").parse().map_err(|_| AddressError::Ipv6(inner.to_owned()))?;
        let host = Address::from(SocketAddr::V6(address)).host;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(AddressError::Port(after.to_owned())),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(AddressError::Brackets(text.to_owned())),
        Some((host, port)) => Ok((check_host(host, text)?, Some(port))),
        None => Ok((check_host(text, text)?, None)),
    }
}

fn check_host(host: &str, text: &str) -> Result<String, AddressError> {
    if host.is_empty() {
        return Err(AddressError::NoHost(text.to_owned()));
    }
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let address = host.parse::<Ipv4Addr>().map_err(|_| AddressError::Ipv4(host.to_owned()))?;
        return Ok(address.to_string());
    }
    let letters = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let label = |label: &str| (1..=MAX_LABEL_LEN).contains(&label.len()) && letters(label) && !label.starts_with('-');
    if host.len() > MAX_HOST_LEN || !host.strip_suffix('.').unwrap_or(host).split('.').all(label) {
        return Err(AddressError::Host(host.to_owned()));
    }
    Ok(host.to_lowercase())
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            other => other.ip().to_string(),
        };
        Self { host, port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        f.pad(&text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// What to write instead of `text`.
pub(crate) fn advice(text: &str, error: &AddressError) -> String {
    match error {
        AddressError::Brackets(_) if text.trim().parse::<Ipv6Addr>().is_ok() => {
            format!("write \"[{}]:{DEFAULT_PORT}\"", text.trim())
        }
        AddressError::Brackets(_) | AddressError::Ipv6(_) => format!("write it as \"[2001:db8::1]:{DEFAULT_PORT}\""),
        AddressError::Port(_) if text.rsplit_once(':').is_some_and(|(host, _)| host.parse::<Address>().is_ok()) => {
            format!("write \"{}:{DEFAULT_PORT}\"", text.rsplit_once(':').map_or("", |(host, _)| host.trim()))
        }
        _ => format!("write it as \"10.0.0.2:{DEFAULT_PORT}\" or \"mail2.example.org:{DEFAULT_PORT}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_as_people_write_them() {
        for (text, printed) in [
            ("10.0.0.2:7420", "10.0.0.2:7420"),
            ("10.0.0.2", "10.0.0.2:7420"),
            ("Mail2.Example.org:99", "mail2.example.org:99"),
            ("[0:0::1]", "[::1]:7420"),
            ("[fe80::1%2]:1", "[fe80::1%2]:1"),
            ("0.0.0.0:0", "0.0.0.0:0"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), printed, "{text}");
        }
    }

    #[test]
    fn faults_are_told_apart() {
        for (text, error) in [
            ("", AddressError::NoHost("".into())),
            (":7420", AddressError::NoHost(":7420".into())),
            ("::1", AddressError::Brackets("::1".into())),
            ("[::g]:1", AddressError::Ipv6("::g".into())),
            ("10.0.0.300", AddressError::Ipv4("10.0.0.300".into())),
            ("10.0.0.1:port", AddressError::Port("port".into())),
            ("10.0.0.1:65536", AddressError::Port("65536".into())),
            ("10.0.0.1:+1", AddressError::Port("+1".into())),
            ("a b:1", AddressError::Host("a b".into())),
            ("a..b", AddressError::Host("a..b".into())),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }

    #[test]
    fn numbers_are_resolved_without_name_service() {
        let address: Address = "[::1]:7".parse().unwrap();
        assert_eq!(address.resolve().unwrap(), ["[::1]:7".parse().unwrap()]);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_printed_is_read_back(text in "[\\[\\]:.%a-z0-9 -]{0,20}|.{0,10}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
