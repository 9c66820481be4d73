//! The command line that administrators know as `exchfailover`: words in, what they mean out. Pure.

mod help;
mod hide;
mod options;
mod outcome;
mod reach;
#[cfg(test)]
mod tests;
mod words;

pub use help::{SYNTAX, explained};
pub use hide::without_password;
pub use options::{Account, Asked, Direction, Options, Secret, parse};
pub use outcome::Outcome;
pub use reach::Reach;
pub use words::{UsageError, file_words};
