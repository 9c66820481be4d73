//! Whom a node trusts: `peers.json` in the state directory, written by pairing and by nothing else.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Fingerprint;
use crate::disk::{self, DiskError, Mode};
use crate::id::NodeName;

const FILE: &str = "peers.json";
const LOCK: &str = "peers.lock";
const FORMAT: u16 = 1;

/// A peer that was paired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: NodeName,
    /// Its certificate's fingerprint.
    pub fingerprint: Fingerprint,
    /// The address at which it was paired, for people.
    pub address: String,
    /// When, in seconds since 1970.
    pub paired_at_secs: u64,
}

/// Why the list of peers cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is not a list of peers.
    #[error("{} is not a list of peers: {why}; restore it from a backup, or remove it and pair again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The name belongs to another key.
    #[error(
        "{name} is already paired with the fingerprint {known}: if its identity was made anew, run `standin pair --remove {name}` first"
    )]
    OtherFingerprint {
        /// The name.
        name: NodeName,
        /// The fingerprint that it has here.
        known: Fingerprint,
    },
    /// The key belongs to another name.
    #[error(
        "the fingerprint {fingerprint} is already paired as {known}: if that node was renamed, run `standin pair --remove {known}` first"
    )]
    OtherName {
        /// The fingerprint.
        fingerprint: Fingerprint,
        /// The name that it has here.
        known: NodeName,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: u16,
    peers: Vec<Peer>,
}

/// The list of trusted peers. Read at every question, so that what another process pairs or removes holds at once.
#[derive(Debug, Clone)]
pub struct Trust {
    dir: PathBuf,
}

impl Trust {
    /// The list in a state directory; nothing is read yet.
    pub fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.to_owned() }
    }

    /// All peers, by name.
    pub fn list(&self) -> Result<Vec<Peer>, TrustError> {
        let path = self.dir.join(FILE);
        let Some(bytes) = disk::read_optional(&path)? else {
            return Ok(Vec::new());
        };
        let unreadable = |why: String| TrustError::Unreadable { path: path.clone(), why };
        let contents: Contents = serde_json::from_slice(&bytes).map_err(|why| unreadable(why.to_string()))?;
        if contents.format != FORMAT {
            return Err(unreadable(format!("its format is {}, this program knows {FORMAT}", contents.format)));
        }
        Ok(contents.peers)
    }

    /// The peer of that name.
    pub fn by_name(&self, name: &NodeName) -> Result<Option<Peer>, TrustError> {
        Ok(self.list()?.into_iter().find(|peer| peer.name == *name))
    }

    /// The peer with that fingerprint.
    pub fn by_fingerprint(&self, fingerprint: &Fingerprint) -> Result<Option<Peer>, TrustError> {
        Ok(self.list()?.into_iter().find(|peer| peer.fingerprint == *fingerprint))
    }

    /// Whether [`Trust::add`] would take this peer, without changing anything.
    pub fn check(&self, name: &NodeName, fingerprint: &Fingerprint) -> Result<(), TrustError> {
        conflict(&self.list()?, name, fingerprint)
    }

    /// Adds a peer; one that is there already gets the new address. `false` if nothing had to be changed.
    pub fn add(&self, name: &NodeName, fingerprint: Fingerprint, address: &str) -> Result<bool, TrustError> {
        self.change(|peers| {
            conflict(peers, name, &fingerprint)?;
            if peers.iter().any(|peer| peer.name == *name && peer.address == address) {
                return Ok(false);
            }
            peers.retain(|peer| peer.name != *name);
            peers.push(Peer { name: name.clone(), fingerprint, address: address.to_owned(), paired_at_secs: now_secs() });
            peers.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(true)
        })
    }

    /// Removes a peer. `false` if there was none of that name.
    pub fn remove(&self, name: &NodeName) -> Result<bool, TrustError> {
        self.change(|peers| {
            let before = peers.len();
            peers.retain(|peer| peer.name != *name);
            Ok(peers.len() != before)
        })
    }

    fn change(&self, edit: impl FnOnce(&mut Vec<Peer>) -> Result<bool, TrustError>) -> Result<bool, TrustError> {
        // The daemon and the command line may both change the list: reading and writing it back must not interleave.
        let path = self.dir.join(LOCK);
        let lock = File::options().create(true).append(true).open(&path).map_err(DiskError::at("open", &path))?;
        lock.lock().map_err(DiskError::at("lock", &path))?;
        let mut peers = self.list()?;
        let changed = edit(&mut peers)?;
        if changed {
            let path = self.dir.join(FILE);
            let mut text = serde_json::to_vec_pretty(&Contents { format: FORMAT, peers })
                .map_err(|why| TrustError::Unreadable { path: path.clone(), why: why.to_string() })?;
            text.push(b'\n');
            disk::replace(&path, &text, Mode::Private)?;
        }
        Ok(changed)
    }
}

fn conflict(peers: &[Peer], name: &NodeName, fingerprint: &Fingerprint) -> Result<(), TrustError> {
    for peer in peers {
        match (peer.name == *name, peer.fingerprint == *fingerprint) {
            (true, false) => return Err(TrustError::OtherFingerprint { name: name.clone(), known: peer.fingerprint }),
            (false, true) => return Err(TrustError::OtherName { fingerprint: *fingerprint, known: peer.name.clone() }),
            _ => {}
        }
    }
    Ok(())
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    #[test]
    fn peers_are_added_found_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let trust = Trust::new(dir.path());
        let key = Fingerprint::of(b"beta");
        assert!(trust.list().unwrap().is_empty());
        assert!(trust.add(&name("beta"), key, "10.0.0.2:7420").unwrap());
        assert!(!trust.add(&name("beta"), key, "10.0.0.2:7420").unwrap());
        assert!(trust.add(&name("alpha"), Fingerprint::of(b"alpha"), "10.0.0.1:7420").unwrap());
        let names: Vec<_> = trust.list().unwrap().into_iter().map(|peer| peer.name.to_string()).collect();
        assert_eq!(names, ["alpha", "beta"]);
        assert_eq!(trust.by_fingerprint(&key).unwrap().unwrap().name, name("beta"));
        assert!(trust.remove(&name("beta")).unwrap());
        assert!(!trust.remove(&name("beta")).unwrap());
        assert_eq!(trust.by_name(&name("beta")).unwrap(), None);
    }

    #[test]
    fn nobody_is_renamed_or_given_another_key_silently() {
        let dir = tempfile::tempdir().unwrap();
        let trust = Trust::new(dir.path());
        trust.add(&name("beta"), Fingerprint::of(b"1"), "x").unwrap();
        assert!(matches!(trust.add(&name("beta"), Fingerprint::of(b"2"), "x"), Err(TrustError::OtherFingerprint { .. })));
        assert!(matches!(trust.add(&name("gamma"), Fingerprint::of(b"1"), "x"), Err(TrustError::OtherName { .. })));
        assert!(trust.check(&name("gamma"), &Fingerprint::of(b"1")).is_err());
        assert_eq!(trust.list().unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_list_is_an_error_and_not_empty() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"{\"format\":1,").unwrap();
        assert!(Trust::new(dir.path()).list().is_err());
        std::fs::write(dir.path().join(FILE), b"{\"format\":2,\"peers\":[]}").unwrap();
        assert!(Trust::new(dir.path()).list().unwrap_err().to_string().contains("format is 2"));
    }

    #[test]
    fn two_writers_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let trust = Trust::new(dir.path());
        std::thread::scope(|scope| {
            for number in 0..8u8 {
                let trust = trust.clone();
                scope.spawn(move || trust.add(&name(&format!("n{number}")), Fingerprint::of(&[number]), "x").unwrap());
            }
        });
        assert_eq!(trust.list().unwrap().len(), 8);
    }
}
