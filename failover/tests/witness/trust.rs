//! Certificates and users of etcd.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use standin_failover::witness::{Witness, WitnessError};
use tempfile::TempDir;

use crate::ground::{Etcd, file, possible, wait_for, witness};
use crate::race::word;

/// An authority, and what it signed, as files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(dir: &TempDir, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = file(dir.path(), &format!("{name}.pem"), &issuer.pem());
        Self { issuer, file }
    }

    /// A certificate and its key; without a common name, as etcd's gateway takes no users from there.
    fn issue(&self, dir: &TempDir, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (
            file(dir.path(), &format!("{name}.crt"), &certificate.pem()),
            file(dir.path(), &format!("{name}.key"), &key.serialize_pem()),
        )
    }
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn only_the_right_certificates_are_believed_on_both_sides() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(&dir, "ours"), Authority::new(&dir, "theirs"));
    let (certificate, key) = ours.issue(&dir, "etcd");
    let (own, own_key) = ours.issue(&dir, "node");
    let (strange, strange_key) = theirs.issue(&dir, "stranger");
    let options = ["--cert-file", text(&certificate), "--key-file", text(&key)];
    let options = [&options[..], &["--client-cert-auth", "--trusted-ca-file", text(&ours.file)]].concat();
    let etcd = Etcd::with(tempfile::tempdir().unwrap(), "https", &options);
    let mut settings = etcd.settings();
    (settings.ca, settings.certificate, settings.key) = (Some(ours.file.clone()), Some(own), Some(own_key));
    let right = witness(&settings);
    wait_for(&right);
    right.swap(None, &word(1, "alpha", 0)).unwrap();

    settings.ca = Some(theirs.file.clone());
    let wrong = witness(&settings).read().unwrap_err();
    assert!(wrong.to_string().contains("write that authority's file as ca"), "{wrong}");
    settings.ca = None;
    assert!(witness(&settings).read().is_err(), "the system's authorities do not know it");
    settings.ca = Some(dir.path().join("nowhere.pem"));
    let missing = witness(&settings).read().unwrap_err();
    assert!(matches!(&missing, WitnessError::Refused(why) if why.contains("nowhere.pem")), "{missing}");
    settings.ca = Some(ours.file.clone());
    (settings.certificate, settings.key) = (Some(strange), Some(strange_key));
    let stranger = witness(&settings).read().unwrap_err();
    assert!(stranger.to_string().contains("does not take this node's certificate"), "{stranger}");
    (settings.certificate, settings.key) = (None, None);
    let nobody = witness(&settings).read().unwrap_err();
    assert!(nobody.to_string().contains("write certificate and key"), "{nobody}");
    assert_eq!(right.read(), Ok(Some(word(1, "alpha", 0))));
}

#[test]
fn users_log_on_again_when_their_token_ends_and_a_wrong_password_is_said() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(&dir, "ours");
    let (certificate, key) = ours.issue(&dir, "etcd");
    let options = ["--cert-file", text(&certificate), "--key-file", text(&key)];
    let etcd = Etcd::with(tempfile::tempdir().unwrap(), "https", &options);
    let trusted = ["--cacert", text(&ours.file)];
    let ctl = |arguments: &[&str]| etcd.ctl(&[&trusted[..], arguments].concat());
    let as_root = |arguments: &[&str]| ctl(&[&["--user", "root:r"], arguments].concat());
    for command in [
        "user add root --new-user-password=r",
        "user grant-role root root",
        "role add standin",
        "role grant-permission standin readwrite /standin/ --prefix",
        "user add standin --new-user-password=Right:Pa55",
        "user grant-role standin standin",
        "user add reader --new-user-password=reader",
        "auth enable",
    ] {
        ctl(&command.split(' ').collect::<Vec<_>>());
    }
    let mut settings = etcd.settings();
    settings.ca = Some(ours.file.clone());
    let nobody = witness(&settings).read().unwrap_err();
    assert!(matches!(&nobody, WitnessError::Refused(why) if why.contains("write user and password_file")), "{nobody}");
    let password = file(etcd.dir(), "password", "Wrong:Pa55\n");
    (settings.user, settings.password_file) = (Some("standin".to_owned()), Some(password.clone()));
    let standin = witness(&settings);
    let wrong = standin.read().unwrap_err();
    assert!(matches!(&wrong, WitnessError::Refused(why) if why.contains("invalid user ID or password")), "{wrong}");
    assert!(!wrong.to_string().contains("Pa55"));
    file(etcd.dir(), "password", "Right:Pa55\n");
    assert_eq!(standin.read(), Ok(None), "a new password holds at once");
    standin.swap(None, &word(1, "alpha", 0)).unwrap();
    // All tokens end.
    as_root(&["auth", "disable"]);
    ctl(&["auth", "enable"]);
    assert_eq!(standin.read(), Ok(Some(word(1, "alpha", 0))));
    settings.user = Some("reader".to_owned());
    settings.password_file = Some(file(etcd.dir(), "reader", "reader\n"));
    let reader = witness(&settings).read().unwrap_err();
    assert!(matches!(&reader, WitnessError::Refused(why) if why.contains("permission denied")), "{reader}");
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    settings.password_file = Some(password);
    let open = witness(&settings).read().unwrap_err();
    assert!(open.to_string().contains("others may read it"), "{open}");
}
