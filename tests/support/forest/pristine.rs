//! A provisioned directory that never ran, to be copied: made once for each recipe.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::controller::{Settings, address};
use super::{DOMAIN, DOMAIN_DN, Organization, PASSWORD, finish};

/// Raised when this file does something else than before.
const RECIPE: u32 = 1;

/// In order: whoever names a class must come after it. With what changes the schema.
const SCHEMA: [(&str, &str); 6] = [
    ("ldbadd", include_str!("schema/1-attributes.ldif")),
    ("ldbadd", include_str!("schema/2-classes-0.ldif")),
    ("ldbadd", include_str!("schema/2-classes-1.ldif")),
    ("ldbadd", include_str!("schema/2-classes-2.ldif")),
    ("ldbadd", include_str!("schema/2-classes-3.ldif")),
    ("ldbmodify", include_str!("schema/3-modifies.ldif")),
];

const SCHEMA_UPDATE_NOW: &str = "dn:\nchangetype: modify\nreplace: schemaUpdateNow\nschemaUpdateNow: 1\n\n";

/// The directory of a provisioned `dc1` with this organization. Whoever makes it first puts it there whole.
pub(super) fn of(cache: &Path, organization: &Organization) -> PathBuf {
    let ldif = organization.ldif();
    let mut hash = DefaultHasher::new();
    (RECIPE, &SCHEMA, &ldif, PASSWORD, finish(Command::new("samba").arg("--version"))).hash(&mut hash);
    let path = cache.join(format!("pristine-{:016x}", hash.finish()));
    if path.exists() {
        return path;
    }
    fs::create_dir_all(cache).unwrap();
    let making = tempfile::Builder::new().prefix("making-").tempdir_in(cache).unwrap();
    make(making.path(), &ldif);
    // Another process may have been faster: then its work is as good as ours.
    if fs::rename(making.path(), &path).is_ok() {
        let _ = making.keep();
    }
    assert!(path.exists(), "a pristine directory is in its place");
    path
}

fn make(dir: &Path, organization: &str) {
    provision(dir);
    Settings::of(dir, 1, false).write();
    for (program, text) in SCHEMA {
        let text = text.replace("${SCHEMADN}", &format!("CN=Schema,CN=Configuration,{DOMAIN_DN}"));
        change(dir, program, &text);
        change(dir, "ldbmodify", SCHEMA_UPDATE_NOW);
    }
    change(dir, "ldbmodify", organization);
    let database = dir.join("private/sam.ldb");
    let configuration = Settings::path(dir);
    let mut create = Command::new("samba-tool");
    create.args(["user", "create", "helpdesk", PASSWORD, "-H"]).arg(database).arg("--configfile").arg(configuration);
    finish(&mut create);
}

fn provision(dir: &Path) {
    let mut command = Command::new("samba-tool");
    command
        .args(["domain", "provision", "--server-role=dc", "--dns-backend=SAMBA_INTERNAL", "--host-name=dc1", "--domain=FB"])
        .arg(format!("--realm={}", DOMAIN.to_uppercase()))
        .arg(format!("--host-ip={}", address(1)))
        .arg(format!("--adminpass={PASSWORD}"))
        .arg(format!("--targetdir={}", dir.display()));
    finish(&mut command);
}

/// Feeds LDIF to a tool of ldb (package ldb-tools) that works on the stopped directory.
fn change(dir: &Path, program: &str, ldif: &str) {
    let mut child = Command::new(program)
        .arg("-H")
        .arg(dir.join("private/sam.ldb"))
        .arg(format!("--configfile={}", Settings::path(dir).display()))
        .arg("--option=dsdb:schema update allowed=true")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} (package ldb-tools): {error}"));
    child.stdin.take().unwrap().write_all(ldif.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
