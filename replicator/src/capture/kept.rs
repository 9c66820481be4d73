//! The durable form of a dirty set: what a set that stops still has to look at.
//!
//! Sixteen bytes that say what this is, the length of the rest (eight bytes, little-endian), BLAKE3 of the rest, the rest in `postcard`.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use standin_common::scope::Scope;

use super::Dirty;

const MAGIC: &[u8; 16] = b"standin dirty 1\n";
const LEN: usize = size_of::<u64>();
const HEAD: usize = MAGIC.len() + LEN + blake3::OUT_LEN;

/// Bytes are not what [`Dirty::save`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kept list of changes is damaged or of another version")]
pub struct Damaged;

#[derive(Serialize, Deserialize)]
struct Kept {
    scopes: Vec<Scope>,
    whole: Option<String>,
    changes: u64,
}

impl Dirty {
    /// Everything that is to be looked at, as bytes to keep. The times are not kept: they mean nothing after a restart.
    pub fn save(&self) -> Vec<u8> {
        let contents = self.contents();
        let kept = Kept { scopes: contents.scopes, whole: contents.whole, changes: contents.changes };
        // Plain data of known lengths always has a form; if not, the bytes are read as damaged, which means everything.
        let body = postcard::to_stdvec(&kept).unwrap_or_default();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Notes what [`Dirty::save`] kept, as of `now`. Damaged bytes mean that anything may have changed, and that is noted.
    pub fn restore(&mut self, bytes: &[u8], now: Instant) -> Result<(), Damaged> {
        let Some(kept) = read(bytes) else {
            self.lose(now, Damaged.to_string());
            return Err(Damaged);
        };
        let before = self.changes();
        match kept.whole {
            Some(why) => self.lose(now, why),
            None => kept.scopes.into_iter().for_each(|scope| self.note(scope, now)),
        }
        let noted = self.changes() - before;
        self.count_more(kept.changes.saturating_sub(noted));
        Ok(())
    }
}

/// Whether these bytes are what [`Dirty::save`] wrote.
pub fn is_sound(bytes: &[u8]) -> bool {
    read(bytes).is_some()
}

fn read(bytes: &[u8]) -> Option<Kept> {
    let (head, body) = bytes.split_at_checked(HEAD)?;
    let (magic, rest) = head.split_at(MAGIC.len());
    let (len, hash) = rest.split_at(LEN);
    let sound = magic == MAGIC && len == (body.len() as u64).to_le_bytes() && hash == blake3::hash(body).as_bytes();
    if sound { postcard::from_bytes(body).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use standin_common::id::RootIndex;
    use standin_common::message::Position;
    use standin_common::path::RelPath;
    use standin_common::scope::Depth;

    use super::*;
    use crate::rules::Rules;

    fn dirty() -> Dirty {
        Dirty::new(vec![Rules::everything(); 2], 100)
    }

    fn scope(root: u16, path: &str, depth: Depth) -> Scope {
        Scope { at: Position { root: RootIndex(root), path: RelPath::new(path).unwrap() }, depth }
    }

    fn filled() -> Dirty {
        let mut dirty = dirty();
        let now = Instant::now();
        for (root, path, depth) in [(0, "a/b", Depth::Object), (1, "", Depth::Subtree), (0, "a/b", Depth::Object)] {
            dirty.note(scope(root, path, depth), now);
        }
        dirty
    }

    #[test]
    fn what_was_kept_comes_back() {
        let before = filled();
        let mut after = dirty();
        after.restore(&before.save(), Instant::now()).unwrap();
        assert_eq!(after.contents().scopes, before.contents().scopes);
        assert_eq!(after.changes(), 3);
        let mut whole = dirty();
        whole.lose(Instant::now(), "the queue of the kernel ran over");
        let mut after = dirty();
        after.restore(&whole.save(), Instant::now()).unwrap();
        assert_eq!(after.whole(), Some("the queue of the kernel ran over"));
    }

    #[test]
    fn whatever_is_damaged_means_everything() {
        let good = filled().save();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            for bytes in [&bad[..], &good[..at]] {
                assert!(!is_sound(bytes));
                let mut dirty = dirty();
                assert_eq!(dirty.restore(bytes, Instant::now()), Err(Damaged), "byte {at}");
                assert!(dirty.whole().is_some());
            }
        }
    }
}
