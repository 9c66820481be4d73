//! Which certificates of controllers are believed.

use std::fs;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::settings::{CertificateFingerprint, Trust};

/// Why no certificate could be believed at all.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file with authorities.
    #[error("the authorities' certificates in {path} cannot be read: {why}; give a PEM file with at least one")]
    File {
        /// Its path.
        path: String,
        /// What the system or the parser said.
        why: String,
    },
    /// The system has none.
    #[error("this system has no certificate authorities ({0}); give a PEM file with those of the domain, or a fingerprint")]
    None(String),
    /// TLS itself.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] Error),
}

/// The client's side of TLS: versions 1.2, which controllers before 2022 need, and 1.3.
pub(super) fn client(trust: &Trust) -> Result<Arc<ClientConfig>, TrustError> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = match trust {
        Trust::Pinned(fingerprint) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { fingerprint: *fingerprint, provider }))
        }
        Trust::Authorities(path) => {
            let unreadable = |why: String| TrustError::File { path: path.display().to_string(), why };
            let text = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
            let certificates = certificates.map_err(|error| unreadable(error.to_string()))?;
            builder.with_root_certificates(roots(certificates).map_err(unreadable)?)
        }
        Trust::System => {
            let loaded = rustls_native_certs::load_native_certs();
            let why = loaded.errors.first().map_or_else(|| "none is installed".to_owned(), ToString::to_string);
            builder.with_root_certificates(roots(loaded.certs).map_err(|_| TrustError::None(why))?)
        }
    };
    Ok(Arc::new(config.with_no_client_auth()))
}

/// One that can not be understood is left out; all of them, an error.
fn roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let (taken, _) = store.add_parsable_certificates(certificates);
    if taken == 0 { Err("it holds no certificate of an authority".into()) } else { Ok(store) }
}

/// Believes one certificate.
#[derive(Debug)]
struct Pinned {
    fingerprint: CertificateFingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = digest(&SHA256, certificate.as_ref());
        if found.as_ref() == self.fingerprint.0 {
            return Ok(ServerCertVerified::assertion());
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(found.as_ref());
        let why = format!("its fingerprint is {}, not {}", CertificateFingerprint(bytes), self.fingerprint);
        Err(Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(std::io::Error::other(why))))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
