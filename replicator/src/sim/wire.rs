//! A line that keeps what is sent until somebody takes it.

use std::collections::VecDeque;

use standin_common::message::LaneDown;

use crate::source::lane::{LaneError, Sink};

/// What a lane of the source sent, with payloads, the oldest first.
#[derive(Debug, Default)]
pub struct SimWire(pub VecDeque<(LaneDown, Vec<u8>)>);

impl Sink for SimWire {
    fn send(&mut self, message: &LaneDown, payload: &[u8]) -> Result<(), LaneError> {
        self.0.push_back((message.clone(), payload.to_vec()));
        Ok(())
    }
}
