//! Roots, targets and state directories that lie in one another on the same machine.

use standin_common::id::NodeName;

use crate::place::{Overlap, Place};
use crate::problem::{Problems, position, quote};

/// What uses a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Use {
    /// The state directory of this node.
    StateDir,
    /// It is read, for the set with this key path.
    Source(String),
    /// A layer is put over it: nobody else may read it by its path.
    Ordered,
    /// It is written, as a replica.
    Target,
}

/// A place on a node, and what uses it.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) node: NodeName,
    pub(crate) place: Place,
    pub(crate) used: Use,
    /// Key path and byte in the text.
    pub(crate) key: String,
    pub(crate) at: usize,
}

/// Reports each claim that collides with an earlier one, once.
pub(crate) fn check(problems: &Problems<'_>, mut claims: Vec<Claim>) {
    claims.sort_by_key(|claim| claim.at);
    for (index, later) in claims.iter().enumerate() {
        let collision = claims[..index].iter().find_map(|earlier| Some((earlier, collide(later, earlier)?)));
        if let Some((earlier, overlap)) = collision {
            report(problems, later, earlier, overlap);
        }
    }
}

fn collide(a: &Claim, b: &Claim) -> Option<Overlap> {
    let excluded = match (&a.used, &b.used) {
        // The same files may go to several standbys, in sets of their own.
        (Use::Source(a), Use::Source(b)) => a == b,
        _ => true,
    };
    (a.node == b.node && excluded).then(|| a.place.overlap(&b.place)).flatten()
}

fn report(problems: &Problems<'_>, later: &Claim, earlier: &Claim, overlap: Overlap) {
    let (line, _) = position(problems.text(), earlier.at);
    let (path, other) = (quote(later.place.text()), quote(earlier.place.text()));
    let (key, node) = (&earlier.key, &later.node);
    let wrong = match overlap {
        Overlap::Same => format!("{path} on node {node} is {key}, too (line {line})"),
        Overlap::Beneath => format!("{path} on node {node} lies beneath {other}, {key} (line {line})"),
        Overlap::Above => format!("{path} on node {node} holds {other}, {key} (line {line})"),
    };
    problems.add(later.at, &later.key, wrong, advice(&later.used, &earlier.used));
}

fn advice(later: &Use, earlier: &Use) -> &'static str {
    match (later, earlier) {
        (Use::StateDir, _) | (_, Use::StateDir) => "keep the state directory apart from every root and target",
        (Use::Source(_), Use::Source(_)) => "keep one of the two, or name roots that do not hold each other",
        (Use::Target, Use::Target) => "give each root a target of its own",
        (Use::Source(_) | Use::Ordered, Use::Source(_) | Use::Ordered) => {
            "an ordered root may be in one set only, and not lie in or over another root: keep one of the two"
        }
        _ => "choose paths that do not hold each other, since a replica cannot be the source of a set",
    }
}
