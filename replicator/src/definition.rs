//! What both nodes must agree on before anything of a set is replicated.

use standin_config::Set;

/// Digest of a set's ends, roots, targets and rules. Everything else may differ between the nodes.
pub fn digest(set: &Set) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    add(set.name.as_str());
    add(set.source.as_str());
    add(set.standby.as_str());
    for root in &set.roots {
        add(&root.path.to_string_lossy());
        add(&root.target.to_string_lossy());
        add(&root.rules.len().to_string());
        for rule in &root.rules {
            add(rule.effect.as_str());
            add(&rule.pattern);
            add(if rule.recurse { "recurse" } else { "" });
        }
    }
    *hasher.finalize().as_bytes()
}
