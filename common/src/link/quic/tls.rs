//! TLS 1.3 with a certificate on each side, trusted by its fingerprint and by nothing else.
//!
//! Names, dates and issuers of certificates mean nothing here; that the peer has the certificate's key is proven by the handshake's
//! signature. Sessions are never resumed: a resumed one would not ask again whether the peer is still trusted.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme};

use super::{Expect, Purpose, TrustCheck};
use crate::identity::{Fingerprint, Identity};

const WORK: &[u8] = b"standin/1";
const PAIRING: &[u8] = b"standin-pair/1";

impl Purpose {
    /// The application protocol (RFC 7301) that asks for it.
    fn protocol(self) -> &'static [u8] {
        match self {
            Self::Work => WORK,
            Self::Pairing => PAIRING,
        }
    }

    pub(super) fn of_protocol(protocol: &[u8]) -> Option<Self> {
        [Self::Work, Self::Pairing].into_iter().find(|purpose| purpose.protocol() == protocol)
    }
}

/// ring, AES-128 first: it is the fastest where the processor knows AES, and all that is written here is short-lived.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

/// For those who dial us.
pub(super) fn server(identity: &Identity, trust: Arc<dyn TrustCheck>) -> Result<QuicServerConfig, Error> {
    let verifier = Arc::new(ClientVerifier { trust, provider: provider() });
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate()], identity.key())?;
    config.alpn_protocols = vec![WORK.to_vec(), PAIRING.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    QuicServerConfig::try_from(config).map_err(|why| Error::General(why.to_string()))
}

/// For dialling one peer once; the second value tells which fingerprint was seen.
pub(super) fn client(identity: &Identity, expect: Expect) -> Result<(QuicClientConfig, Seen), Error> {
    let seen = Seen::default();
    let verifier = Arc::new(ServerVerifier { expect, seen: seen.clone(), provider: provider() });
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![identity.certificate()], identity.key())?;
    config.alpn_protocols = vec![expect.purpose().protocol().to_vec()];
    config.resumption = Resumption::disabled();
    let config = QuicClientConfig::try_from(config).map_err(|why| Error::General(why.to_string()))?;
    Ok((config, seen))
}

/// The fingerprint that a dialled peer showed, if it came to that.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Fingerprint>>>);

impl Seen {
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, fingerprint: Fingerprint) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
    }
}

/// The alert `access_denied`, which tells nothing but no.
const fn denied() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

struct ClientVerifier {
    trust: Arc<dyn TrustCheck>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientVerifier")
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let fingerprint = Fingerprint::of(certificate);
        if self.trust.trusted(&fingerprint) || self.trust.pairing_open() {
            return Ok(ClientCertVerified::assertion());
        }
        tracing::warn!(%fingerprint, "refused a node that is not paired with this one");
        Err(denied())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct ServerVerifier {
    expect: Expect,
    seen: Seen,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint = Fingerprint::of(certificate);
        self.seen.set(fingerprint);
        match self.expect {
            Expect::Pinned(pinned) if pinned != fingerprint => Err(denied()),
            Expect::Pinned(_) | Expect::AnyForPairing => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS 1.2 is not offered, so nobody honest comes here.
const fn only_13() -> Error {
    Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedKxGroup)
}

/// The fingerprint of a peer whose handshake is complete.
pub(super) fn peer_fingerprint(connection: &quinn::Connection) -> Option<Fingerprint> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    identity.first().map(|certificate| Fingerprint::of(certificate))
}

/// What a peer whose handshake is complete came for.
pub(super) fn purpose(connection: &quinn::Connection) -> Option<Purpose> {
    let data = connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    Purpose::of_protocol(&data.protocol?)
}
