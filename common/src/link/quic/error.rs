//! What quinn says, in the link's words.

use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use crate::link::{CloseCode, LinkError};

/// TLS alerts travel as 0x100 and the alert's number (RFC 9001, section 4.8).
const ALERTS: std::ops::Range<u64> = 0x100..0x200;

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => closed(close.error_code, &close.reason),
            ConnectionError::ConnectionClosed(close) if ALERTS.contains(&close.error_code.into()) => {
                Self::Refused("the peer does not trust this node's key: pair the two nodes (`standin pair`)".to_owned())
            }
            ConnectionError::ConnectionClosed(close) => Self::Broken(close.to_string()),
            ConnectionError::TransportError(error) if ALERTS.contains(&error.code.into()) => {
                Self::Refused(format!("the handshake failed here: {}", error.reason))
            }
            ConnectionError::TransportError(error) => Self::Broken(error.to_string()),
            ConnectionError::TimedOut => Self::Lost("nothing was heard from the peer for too long"),
            ConnectionError::Reset => Self::Lost("the peer does not know of it any more, it was probably restarted"),
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::VersionMismatch => Self::Refused("the peer speaks another version of QUIC".to_owned()),
            ConnectionError::CidsExhausted => {
                Self::Local { attempt: "open a connection".to_owned(), why: "too many connections".to_owned() }
            }
        }
    }
}

fn closed(code: VarInt, reason: &[u8]) -> LinkError {
    let code = u32::try_from(code.into_inner()).unwrap_or(u32::MAX);
    // The text is the peer's: whatever could upset a terminal is taken out.
    let reason: String = String::from_utf8_lossy(reason).chars().filter(|c| !c.is_control()).collect();
    if code == CloseCode::REFUSED.0 { LinkError::Refused(reason) } else { LinkError::Closed { code, reason } }
}

impl From<WriteError> for LinkError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(why) => why.into(),
            WriteError::Stopped(_) => Self::Abandoned,
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::ClosedHere,
        }
    }
}

impl From<ReadError> for LinkError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(why) => why.into(),
            ReadError::Reset(_) => Self::Abandoned,
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => Self::ClosedHere,
        }
    }
}

/// Something on this machine.
pub(super) fn local(attempt: impl Into<String>) -> impl FnOnce(&dyn std::fmt::Display) -> LinkError {
    let attempt = attempt.into();
    move |why| LinkError::Local { attempt, why: why.to_string() }
}
