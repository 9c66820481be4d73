//! Why a pass ended without its end.

use standin_common::codec::CodecError;
use standin_common::link::LinkError;
use standin_common::message::Refusal;

use crate::source::lane::LaneError;

/// Why a pass ended without its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PassError {
    /// The link; the same mirror may go on over the next connection.
    #[error("the mirror was cut off: {0}")]
    Link(LinkError),
    /// What the standby sent is no message.
    #[error("the standby broke the protocol: {0}")]
    Unreadable(CodecError),
    /// It was stopped here.
    #[error("the mirror was stopped")]
    Stopped,
    /// The standby does not want it, or cannot go on.
    #[error("{}", refusal(.0))]
    Refused(Refusal),
    /// The standby broke the protocol.
    #[error("the standby broke the protocol: {0}")]
    Protocol(&'static str),
    /// The roots are not what they should be.
    #[error("{0}")]
    Unsafe(String),
    /// What was sent does not arrive.
    #[error("{0}")]
    Lane(String),
}

fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotYourSet => {
            "the standby has no such set, or not with this node as its source: compare the settings".to_owned()
        }
        Refusal::OtherDefinition => {
            "the standby's settings of the set have other roots or rules: `standin set check` lists the differences".to_owned()
        }
        Refusal::OldGeneration { here } => {
            format!("the standby is at generation {here}, which is newer: this node is not the source any more")
        }
        Refusal::Promoted => "the replica was promoted: its files belong to the applications there".to_owned(),
        Refusal::Busy => "the standby is busy with another mirror of the set".to_owned(),
        Refusal::Bad(why) => format!("the replica is in a bad state: {why}"),
        Refusal::Failed(why) => format!("the standby cannot go on: {why}"),
        Refusal::OtherBase => "the replica is not at the point that this node knows: everything is compared".to_owned(),
        Refusal::Anew => {
            "the pass begins anew: too much changed while the line was cut, or something did not arrive as it was sent".to_owned()
        }
        Refusal::Protocol(why) => format!("the standby says that this node broke the protocol: {why}"),
    }
}

impl From<LinkError> for PassError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Codec(what) => Self::Unreadable(what),
            error => Self::Link(error),
        }
    }
}

impl From<LaneError> for PassError {
    fn from(error: LaneError) -> Self {
        match error {
            LaneError::Cut(link) => link.into(),
            LaneError::Stopped => Self::Stopped,
            LaneError::Protocol(what) => Self::Protocol(what),
            LaneError::NeverProven(_) => Self::Lane(error.to_string()),
        }
    }
}
