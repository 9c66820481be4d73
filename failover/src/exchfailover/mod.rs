//! The command line that administrators know as `exchfailover`: words in, what they mean out. Pure.

mod help;
mod options;
mod outcome;
#[cfg(test)]
mod tests;
mod words;

pub use help::{SYNTAX, explained};
pub use options::{Account, Asked, Direction, Options, Secret, parse};
pub use outcome::Outcome;
pub use words::{UsageError, file_words};
