//! What both halves of Standin share: ids, paths, entries, the block tree, wire messages, the link, identities, durable files,
//! secrets, sentences.
//!
//! Nothing here decides anything about replication or cutover; see `ARCHITECTURE.md` for the map.

pub mod codec;
pub mod disk;
pub mod entry;
pub mod id;
pub mod identity;
pub mod link;
pub mod message;
pub mod pairing;
pub mod path;
pub mod scope;
pub mod secret;
pub mod stream;
pub mod tree;
pub mod uptime;
pub mod words;
