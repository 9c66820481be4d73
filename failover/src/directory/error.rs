//! What can go wrong with a directory, by what can be done about it.

use super::Dn;

/// Why a directory did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Nobody answers, or the connection broke. Another controller may.
    #[error("directory server {server} is not reachable: {why}; check its name, its port and that it runs")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What the system said.
        why: String,
    },
    /// The server answers and does not take these credentials, or the connection is not one on which they may be sent.
    #[error("directory server {server} refuses the credentials: {why}")]
    Credentials {
        /// Host and port.
        server: String,
        /// The server's reason; never a password.
        why: String,
    },
    /// The server can not prove who it is, so nothing was sent to it.
    #[error("directory server {server} is not trusted: {why}")]
    Untrusted {
        /// Host and port.
        server: String,
        /// What is wrong with its certificate, and what to do.
        why: String,
    },
    /// The account may not do this to this object.
    #[error("no right to do this to {object}: {why}; give the account rights on it, or use another")]
    Rights {
        /// The object.
        object: Dn,
        /// The server's reason.
        why: String,
    },
    /// There is no such object.
    #[error("{object} does not exist in the directory")]
    NoSuchObject {
        /// Its name.
        object: Dn,
    },
    /// The object's values are not what they were when they were read: somebody changed it meanwhile. Nothing was written.
    #[error("{object} was changed meanwhile: {why}; nothing of it was written")]
    Changed {
        /// The object.
        object: Dn,
        /// What was expected and is not there.
        why: String,
    },
    /// The directory refuses this change whoever asks for it: a name that is taken, a reference to nothing, a rule of the schema.
    #[error("the directory refuses the change of {object}: {why}")]
    Refused {
        /// The object.
        object: Dn,
        /// The server's reason.
        why: String,
    },
    /// The server is busy or unavailable at the moment.
    #[error("directory server {server} is busy: {why}")]
    Busy {
        /// Host and port.
        server: String,
        /// The server's reason.
        why: String,
    },
    /// What was answered can not be understood, or a file is not what it should be.
    #[error("{server}: {why}")]
    Protocol {
        /// Host and port, or file and line.
        server: String,
        /// What is wrong.
        why: String,
    },
}

impl DirectoryError {
    /// Whether the same request may well succeed in a moment, or with another controller.
    pub fn is_worth_a_retry(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unreachable { .. })
    }
}
