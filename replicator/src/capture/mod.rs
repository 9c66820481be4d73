//! Capture: how changes are found. `ordered` hears of every operation (its own module); the rest here is
//! `watch`: notices of change from the kernel, and what is made of them.
//!
//! A [`Watcher`] tells where something changed; a [`Dirty`] set keeps those places, few and disjoint, until a pass takes them; [`Links`]
//! knows the further names of an object that was changed by one of them.
//!
//! What notices cannot tell, and a rescan from time to time must find by its change time: a write through a shared memory mapping (it is
//! told when the file is closed), and a write to a file of several names by a name that lies outside all roots.

mod dirty;
mod kept;
mod links;
mod names;
mod notice;
pub mod ordered;
pub mod watch;

pub use dirty::{Dirty, Taken};
pub use kept::{Damaged, is_sound};
pub use links::Links;
pub use names::LinkedNames;
pub use notice::{Method, Noticed, Waker, Watcher};
