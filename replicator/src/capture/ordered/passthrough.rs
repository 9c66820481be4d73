//! Files that are only read once they are written (`passthrough` of a set): they may be read past the layer.

use globset::{Candidate, GlobSet, GlobSetBuilder};
use standin_common::path::RelPath;
use standin_config::compile_pattern;

/// Which files of a set's roots those are; by default none.
#[derive(Debug, Clone, Default)]
pub struct Passthrough(GlobSet);

impl Passthrough {
    /// Those that one of these globs matches. Errors: one is no glob.
    pub fn new(globs: &[String]) -> Result<Self, globset::Error> {
        let mut patterns = GlobSetBuilder::new();
        for glob in globs {
            patterns.add(compile_pattern(glob)?);
        }
        Ok(Self(patterns.build()?))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a path is of one.
    pub fn has(&self, path: &RelPath) -> bool {
        self.0.is_match_candidate(&Candidate::from_bytes(path.as_bytes()))
    }
}
