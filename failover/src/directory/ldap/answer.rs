//! What a server's answers mean: result codes (RFC 4511 appendix A, MS-ADTS 3.1.1.3.1.9) as errors that say what to do.

use std::time::Duration;

use ldap3::{LdapError, LdapResult};
use rustls::CertificateError;

use super::super::{DirectoryError, Dn};

/// A result that is not success, of a request about an object.
pub(super) fn refused(server: &str, object: &Dn, result: &LdapResult) -> DirectoryError {
    let object = object.clone();
    let server = server.to_owned();
    let why = words(result);
    match result.rc {
        // Of a modify, the value to delete is not there, or the one to add is.
        16 | 20 => DirectoryError::Changed { object, why },
        // Active Directory's word for a second value in an attribute that takes one (ERROR_DS_SINGLE_VALUE_CONSTRAINT, 0x2081).
        19 if result.text.contains("00002081") => DirectoryError::Changed { object, why },
        32 => DirectoryError::NoSuchObject { object },
        50 => DirectoryError::Rights { object, why },
        // Active Directory answers 1 where a bind is missing.
        7 | 8 | 13 | 48 | 49 => DirectoryError::Credentials { server, why },
        1 if result.text.contains("bind") => DirectoryError::Credentials { server, why },
        3 | 11 | 51 | 52 => DirectoryError::Busy { server, why },
        2 | 10 | 12 => DirectoryError::Protocol { server, why },
        _ => DirectoryError::Refused { object, why },
    }
}

/// A bind that did not succeed.
pub(super) fn not_logged_on(server: &str, result: &LdapResult) -> DirectoryError {
    let server = server.to_owned();
    match result.rc {
        51 | 52 => DirectoryError::Busy { server, why: words(result) },
        49 => DirectoryError::Credentials { server, why: logon_failure(&result.text) },
        _ => DirectoryError::Credentials { server, why: words(result) },
    }
}

/// No answer, or none that can be read.
pub(super) fn broken(server: &str, object: &Dn, error: &LdapError, patience: Duration) -> DirectoryError {
    let server = server.to_owned();
    match error {
        LdapError::LdapResult { result } => refused(&server, object, result),
        LdapError::Timeout { .. } => DirectoryError::Unreachable { server, why: format!("no answer within {patience:?}") },
        LdapError::FilterParsing | LdapError::AddNoValues | LdapError::DecodingUTF8 => {
            DirectoryError::Protocol { server, why: error.to_string() }
        }
        LdapError::Io { source } => match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(fault)) => DirectoryError::Untrusted { server, why: certificate(fault) },
            Some(fault) => DirectoryError::Untrusted { server, why: fault.to_string() },
            None => DirectoryError::Unreachable { server, why: source.to_string() },
        },
        // The other end of the channel belongs to the connection, which has ended.
        LdapError::OpSend { .. } | LdapError::ResultRecv { .. } | LdapError::EndOfStream => {
            DirectoryError::Unreachable { server, why: "the connection ended".to_owned() }
        }
        _ => DirectoryError::Unreachable { server, why: error.to_string() },
    }
}

/// The server's own words with the name of the code. A result of Active Directory names the attribute and the Win32 error.
fn words(result: &LdapResult) -> String {
    let shown = result.to_string();
    let name = shown.split([',', ' ']).find(|word| !word.is_empty()).unwrap_or_default().to_owned();
    let name = shown.strip_prefix("rc=").and_then(|rest| rest.split(['(', ')']).nth(1)).map_or(name, str::to_owned);
    match result.text.trim().trim_end_matches('\0').trim_end() {
        "" => format!("{name} ({})", result.rc),
        text => format!("{name} ({}): {text}", result.rc),
    }
}

/// The Win32 error that Active Directory and Samba put after "data" into the text of invalidCredentials.
fn logon_failure(text: &str) -> String {
    let code = text.split_once("data ").map(|(_, rest)| rest.chars().take_while(char::is_ascii_hexdigit).collect::<String>());
    let known = match code.as_deref() {
        Some("525") => "there is no such user; write it as user@domain or DOMAIN\\user",
        Some("52e") => "the user or the password is wrong; write the user as user@domain or DOMAIN\\user",
        Some("530") => "the account may not log on at this hour",
        Some("531") => "the account may not log on from this machine",
        Some("532") => "the password has expired; set a new one",
        Some("533") => "the account is disabled",
        Some("701") => "the account has expired",
        Some("773") => "the password must be changed before the account can be used",
        Some("775") => "the account is locked out; unlock it, and check the password before the next attempt",
        _ => return format!("the user or the password is wrong ({})", text.trim().trim_end_matches('\0')),
    };
    known.to_owned()
}

fn certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired ({fault}); renew it")
        }
        CertificateError::UnknownIssuer => {
            "its certificate is not signed by an authority that is believed here; give the domain's authority as a file, or the certificate's fingerprint".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate has another name ({fault}); use the name that it has")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet ({fault}); check this machine's clock")
        }
        other => format!("its certificate is not believed: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(rc: u32, text: &str) -> LdapResult {
        LdapResult { rc, matched: String::new(), text: text.to_owned(), refs: Vec::new(), ctrls: Vec::new() }
    }

    #[test]
    fn codes_are_what_can_be_done_about_them() {
        let object: Dn = "CN=a,DC=b".parse().unwrap();
        let kind = |rc, text| refused("dc1", &object, &result(rc, text));
        assert!(matches!(kind(16, ""), DirectoryError::Changed { .. }));
        assert!(matches!(kind(19, "00002081: AtrErr"), DirectoryError::Changed { .. }));
        assert!(matches!(kind(19, "00002082: AtrErr"), DirectoryError::Refused { .. }));
        assert!(matches!(kind(51, ""), DirectoryError::Busy { .. }));
        assert!(matches!(kind(50, ""), DirectoryError::Rights { .. }));
        assert!(matches!(kind(53, ""), DirectoryError::Refused { .. }));
        assert!(matches!(kind(1, "a successful bind must be completed"), DirectoryError::Credentials { .. }));
        let shown = kind(50, "00002098: SecErr\0").to_string();
        assert!(shown.contains("insufficientAccessRights (50): 00002098: SecErr;"), "{shown}");
    }

    #[test]
    fn a_refused_logon_says_what_is_wrong_with_the_account() {
        let text = "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 775, v1db1";
        let shown = not_logged_on("dc1", &result(49, text)).to_string();
        assert!(shown.contains("locked out"), "{shown}");
    }
}
