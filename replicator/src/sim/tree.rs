//! The names and objects of a simulated volume at one moment.
//!
//! A copy shares everything with what it was made of until one of them changes, so that a sync, a clone of a volume and a look at its
//! contents cost nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use standin_common::entry::Attrs;
use standin_common::path::RelPath;

use crate::volume::{ObjectKind, Place, SideId};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Tree(RelPath),
    Side(SideId),
}

impl From<&Place<'_>> for Key {
    fn from(place: &Place<'_>) -> Self {
        match place {
            Place::Tree(path) => Self::Tree((*path).clone()),
            Place::Side(side) => Self::Side(*side),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub kind: ObjectKind,
    pub attrs: Attrs,
    pub data: Arc<Vec<u8>>,
    pub changed: i64,
}

/// A change of names or attributes, durable in order.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Made(u64, Node),
    Name(Key, Option<u64>),
    Moved(Key, Key),
    Attrs(u64, Attrs),
    Len(u64, usize),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub nodes: Arc<BTreeMap<u64, Node>>,
    pub names: Arc<BTreeMap<Key, u64>>,
}

impl Tree {
    fn nodes_mut(&mut self) -> &mut BTreeMap<u64, Node> {
        Arc::make_mut(&mut self.nodes)
    }

    fn names_mut(&mut self) -> &mut BTreeMap<Key, u64> {
        Arc::make_mut(&mut self.names)
    }

    pub(super) fn node_mut(&mut self, number: u64) -> Option<&mut Node> {
        self.nodes_mut().get_mut(&number)
    }

    /// Keeps what was written of `live` to objects that are here, or not, piece by piece of `block` bytes, as `kept` says.
    pub(super) fn keep_some(&mut self, live: &Tree, block: usize, mut kept: impl FnMut() -> bool) {
        for (number, node) in self.nodes_mut() {
            let Some(live) = live.nodes.get(number).filter(|live| !Arc::ptr_eq(&live.data, &node.data)) else { continue };
            for (block, written) in Arc::make_mut(&mut node.data).chunks_mut(block).zip(live.data.chunks(block)) {
                let len = block.len().min(written.len());
                if block[..len] != written[..len] && kept() {
                    block[..len].copy_from_slice(&written[..len]);
                }
            }
        }
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Made(number, node) => {
                self.nodes_mut().insert(*number, node.clone());
            }
            Change::Name(key, Some(number)) => {
                self.names_mut().insert(key.clone(), *number);
            }
            Change::Name(key, None) => {
                self.names_mut().remove(key);
            }
            Change::Moved(from, to) => {
                if let Some(number) = self.names_mut().remove(from) {
                    self.names_mut().insert(to.clone(), number);
                }
            }
            Change::Attrs(number, attrs) => {
                if let Some(node) = self.node_mut(*number) {
                    node.attrs = attrs.clone();
                }
            }
            Change::Len(number, len) => {
                if let Some(node) = self.node_mut(*number) {
                    Arc::make_mut(&mut node.data).resize(*len, 0);
                }
            }
        }
    }
}
