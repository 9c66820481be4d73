//! Change files: what a plan would write, for `ldifde -i` and `ldapmodify`.

use std::path::Path;

use standin_common::disk::{self, Mode};
use standin_failover::directory::ldif::{Write, write_changes};
use standin_failover::exchfailover::Outcome;

use super::Stop;

/// Replaces a file by these changes.
pub(crate) fn write_changes_to(file: &Path, writes: impl IntoIterator<Item = Write>) -> Result<(), Stop> {
    let mut bytes = Vec::new();
    let failed = |error: &dyn std::fmt::Display| Stop::new(Outcome::Directory, format!("{}: {error}", file.display()));
    write_changes(&mut bytes, writes).map_err(|error| failed(&error))?;
    disk::replace(file, &bytes, Mode::Private).map_err(|error| failed(&error))
}
