//! Who a node is: a key and a self-signed certificate, known to others by the certificate's fingerprint; and whom it trusts.

mod fingerprint;
mod trust;

pub use fingerprint::{Fingerprint, FingerprintError};
pub use trust::{Peer, Trust, TrustError};

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::disk::{self, DiskError, Mode};
use crate::id::NodeName;

const KEY_FILE: &str = "identity.key";
const CERTIFICATE_FILE: &str = "identity.crt";

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// None was made yet.
    #[error("there is no identity in {}: run `standin init` first", .0.display())]
    Missing(PathBuf),
    /// Others could have read the key.
    #[error(
        "the key {} has mode {mode}, so others can read it: run `chmod 600 {}`, and if someone may have done so, remove it, run `standin init` and pair again",
        path.display(), path.display()
    )]
    Exposed {
        /// The key's file.
        path: PathBuf,
        /// Its mode.
        mode: String,
    },
    /// The key is there, but not its certificate.
    #[error("the key {} is there but its certificate {} is not: restore it from a backup, or remove the key, run `standin init` and pair again", key.display(), certificate.display())]
    NoCertificate {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file, which is missing.
        certificate: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{} is not usable: {why}; restore it from a backup, or remove it and {KEY_FILE}, run `standin init` and pair again", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No key or certificate could be made.
    #[error("cannot make an identity: {0}")]
    Making(#[from] rcgen::Error),
}

/// A node's key and certificate.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for Identity {
    /// Without the key, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Identity {
    /// Loads the identity in `dir`.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let (key_path, certificate_path) = (dir.join(KEY_FILE), dir.join(CERTIFICATE_FILE));
        let Some(key) = disk::read_optional(&key_path)? else {
            return Err(IdentityError::Missing(dir.to_owned()));
        };
        if let Some(mode) = disk::open_to_others(&key_path)? {
            return Err(IdentityError::Exposed { path: key_path, mode });
        }
        let Some(certificate) = disk::read_optional(&certificate_path)? else {
            return Err(IdentityError::NoCertificate { key: key_path, certificate: certificate_path });
        };
        let unusable =
            |path: &Path, why: &dyn std::fmt::Display| IdentityError::Unusable { path: path.to_owned(), why: why.to_string() };
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|why| unusable(&key_path, &why))?;
        let certificate = CertificateDer::from_pem_slice(&certificate).map_err(|why| unusable(&certificate_path, &why))?;
        check_pair(&certificate, &key).map_err(|why| unusable(&certificate_path, &why))?;
        Ok(Self { fingerprint: Fingerprint::of(&certificate), certificate, key })
    }

    /// Loads the identity in `dir`, or makes one. The name goes into the certificate for people to read; nothing relies on it.
    pub fn load_or_create(dir: &Path, node: &NodeName) -> Result<Self, IdentityError> {
        match Self::load(dir) {
            Err(IdentityError::Missing(_)) => {}
            loaded => return loaded,
        }
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, node.as_str());
        let certificate = params.self_signed(&key)?;
        // The key comes last: it is what makes the identity, so that a crash in between leaves none rather than half of one.
        disk::replace(&dir.join(CERTIFICATE_FILE), certificate.pem().as_bytes(), Mode::Public)?;
        disk::replace(&dir.join(KEY_FILE), key.serialize_pem().as_bytes(), Mode::Private)?;
        Self::load(dir)
    }

    /// What peers trust.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// Another secret of this node, which stays the same as long as its key; `context` tells what it is for.
    pub(crate) fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, self.key.secret_der())
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

/// TLS wants a server's name; fingerprints tell nodes apart, so that all have the same one.
pub(crate) const SERVER_NAME: &str = "standin";

fn check_pair(certificate: &CertificateDer<'static>, key: &PrivateKeyDer<'static>) -> Result<(), rustls::Error> {
    let key = rustls::crypto::ring::sign::any_supported_type(key)?;
    rustls::sign::CertifiedKey::new(vec![certificate.clone()], key).keys_match()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> NodeName {
        "alpha".parse().unwrap()
    }

    #[test]
    fn an_identity_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Identity::load(dir.path()), Err(IdentityError::Missing(_))));
        let made = Identity::load_or_create(dir.path(), &name()).unwrap();
        let again = Identity::load_or_create(dir.path(), &name()).unwrap();
        assert_eq!(made.fingerprint(), again.fingerprint());
        assert!(!format!("{made:?}").contains("key"));
        let other = tempfile::tempdir().unwrap();
        assert_ne!(made.fingerprint(), Identity::load_or_create(other.path(), &name()).unwrap().fingerprint());
    }

    #[test]
    fn half_an_identity_is_finished_or_explained() {
        let dir = tempfile::tempdir().unwrap();
        let made = Identity::load_or_create(dir.path(), &name()).unwrap();
        std::fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
        let again = Identity::load_or_create(dir.path(), &name()).unwrap();
        assert_ne!(made.fingerprint(), again.fingerprint());
        std::fs::remove_file(dir.path().join(CERTIFICATE_FILE)).unwrap();
        assert!(matches!(Identity::load_or_create(dir.path(), &name()), Err(IdentityError::NoCertificate { .. })));
    }

    #[test]
    fn a_key_and_a_certificate_that_do_not_belong_together_are_refused() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Identity::load_or_create(one.path(), &name()).unwrap();
        Identity::load_or_create(two.path(), &name()).unwrap();
        std::fs::copy(one.path().join(CERTIFICATE_FILE), two.path().join(CERTIFICATE_FILE)).unwrap();
        assert!(matches!(Identity::load(two.path()), Err(IdentityError::Unusable { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_way_to_mend_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Identity::load_or_create(dir.path(), &name()).unwrap();
        std::fs::set_permissions(dir.path().join(KEY_FILE), std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Identity::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
    }
}
