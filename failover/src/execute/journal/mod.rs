//! The journal of a run: the plan with every old value, then what was intended and what came of it, one line each.
//!
//! A line is the first 16 hexadecimal digits of the BLAKE3 hash of its record, a blank, and the record as JSON. The first record is the
//! plan, and it is durable before the file has its name; intentions are durable before a write is sent; results need not be, as
//! the directory itself tells them. What a crash left of the last line is cut off; damage before that is an error.
//!
//! The file is its owner's alone (mode 0600). It holds no credentials: nothing that it is given has any.

mod file;
mod record;
mod state;

pub use file::{Journal, JournalError};
pub use record::{Outcome, Record, Residents, StepId, Trouble, Way};
pub use state::{Illegal, State, Steps};
