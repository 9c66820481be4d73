//! Settings: read from TOML, checked as a whole, and handed on as they are meant.
//!
//! Two stages: `raw` is the file as written (types, key names, places), `resolve` makes [`Settings`] of it, in which nothing is optional
//! by accident. No stage stops at the first fault; every [`Problem`] names the line, the key, what is wrong and what to write instead.

mod address;
mod difference;
pub mod group;
mod load;
mod model;
mod overlap;
mod pattern;
mod place;
mod problem;
mod raw;
mod read;
mod reload;
mod resolve;
mod syntax;
mod template;
mod timetable;
pub mod units;

pub use address::{Address, AddressError, DEFAULT_PORT};
pub use difference::Difference;
pub use load::{LoadError, MAX_FILE_BYTES, line_of, state_dir_of};
pub use model::{
    Acknowledge, Capture, Compression, Day, Directory, Effect, MaxOrphans, Node, OnDisconnect, Orphans, Peer, Points, Reconnect,
    Role, Root, Rule, Set, Settings, WordError,
};
pub use pattern::compile_pattern;
pub use problem::Problem;
pub use reload::Reload;
pub use template::template;
pub use timetable::{Change, Hours, LocalTime, Rate, Timetable};
