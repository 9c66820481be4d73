//! Change files: what a plan would write, for `ldifde -i` and `ldapmodify`.

use std::path::{Path, PathBuf};

use standin_common::disk::{self, Mode};
use standin_failover::directory::ldif::{Write, by_domain, write_changes};
use standin_failover::directory::{Domain, NamingContexts};
use standin_failover::exchfailover::Outcome;

use super::Stop;

/// A change file, and the controllers that take it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct ChangeFile {
    /// The file.
    pub(crate) file: PathBuf,
    /// The DNS name of the domain whose controllers take all of it; `None` where that is not known.
    pub(crate) domain: Option<String>,
}

/// Replaces a file by these changes. Those of several domains go to a file for each, as a controller takes none of another domain:
/// `changes.sales.example.ldf` for `changes.ldf`. The files in the order in which they are to be imported.
pub(crate) fn write_changes_to(
    file: &Path,
    contexts: &NamingContexts,
    writes: impl IntoIterator<Item = Write>,
) -> Result<Vec<ChangeFile>, Stop> {
    let parts = by_domain(contexts, writes);
    let is_one = parts.len() < 2;
    if parts.is_empty() {
        replace(file, Vec::new())?;
        return Ok(vec![ChangeFile { file: file.to_owned(), domain: None }]);
    }
    let mut files = Vec::new();
    for (domain, writes) in parts {
        let place = match domain {
            Some(domain) if !is_one => named_after(file, domain),
            _ => file.to_owned(),
        };
        replace(&place, writes)?;
        files.push(ChangeFile { file: place, domain: domain.map(|domain| domain.dns_name.clone()) });
    }
    Ok(files)
}

fn replace(file: &Path, writes: Vec<Write>) -> Result<(), Stop> {
    let mut bytes = Vec::new();
    let failed = |error: &dyn std::fmt::Display| Stop::new(Outcome::Directory, format!("{}: {error}", file.display()));
    write_changes(&mut bytes, writes).map_err(|error| failed(&error))?;
    disk::replace(file, &bytes, Mode::Private).map_err(|error| failed(&error))
}

/// `changes.sales.example.ldf`. The name of a domain is looked at, as it comes from the directory.
fn named_after(file: &Path, domain: &Domain) -> PathBuf {
    let plain = |char: char| if char.is_alphanumeric() || matches!(char, '.' | '-') { char } else { '_' };
    let domain: String = domain.dns_name.chars().map(plain).collect();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    match file.extension() {
        Some(ending) => file.with_file_name(format!("{stem}.{domain}.{}", ending.to_string_lossy())),
        None => file.with_file_name(format!("{stem}.{domain}")),
    }
}

/// What is to be done with the files.
pub(crate) fn how_to_import(files: &[ChangeFile]) -> String {
    if let [one] = files {
        return format!("the changes are in {0}: import them with ldifde -i -f {0} or ldapmodify -f {0}", one.file.display());
    }
    let line =
        |one: &ChangeFile| format!("\n  {}  at a controller of {}", one.file.display(), one.domain.as_deref().unwrap_or("?"));
    let lines: String = files.iter().map(line).collect();
    format!("the changes are in a file for each domain; import them in this order (ldifde -i -f FILE -s CONTROLLER):{lines}")
}
