//! Mutual TLS for both ends, from PEM: version 1.3 and nothing older. A certificate's meaning is read by
//! `shared-crypto`, not here, and no session outlives its connection.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::WireError;

const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13];
const HTTP2: &[u8] = b"h2";

/// A certificate and its private key, PEM.
#[derive(Clone, Copy)]
pub struct PemIdentity<'a> {
    /// The certificate.
    pub certificate: &'a str,
    /// The private key.
    pub key: &'a str,
}

impl fmt::Debug for PemIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemIdentity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl PemIdentity<'_> {
    fn parts(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), WireError> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| WireError::setup(&error))?;
        Ok((certificates(self.certificate)?, key))
    }

    fn certified_key(&self) -> Result<Arc<CertifiedKey>, WireError> {
        let (chain, key) = self.parts()?;
        let certified = CertifiedKey::from_der(chain, key, &provider());
        Ok(Arc::new(certified.map_err(|error| WireError::setup(&error))?))
    }
}

/// The certificate that a server shows; it can be replaced while the server runs. All clones are one.
#[derive(Clone)]
pub struct ServerIdentity(Arc<RwLock<Arc<CertifiedKey>>>);

impl ServerIdentity {
    /// An identity to begin with. Fails when the PEM cannot be read or the key is not the certificate's.
    pub fn new(identity: PemIdentity<'_>) -> Result<Self, WireError> {
        Ok(Self(Arc::new(RwLock::new(identity.certified_key()?))))
    }

    /// Shows `identity` to all who connect from now on. On an error the old one stays.
    pub fn replace(&self, identity: PemIdentity<'_>) -> Result<(), WireError> {
        let certified = identity.certified_key()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The server's side: a client without a certificate may connect (to enrol), one with a foreign certificate may not.
pub(crate) fn server_config(identity: ServerIdentity, ca_certificate: &str) -> Result<Arc<ServerConfig>, WireError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| WireError::setup(&error))?
        .with_client_cert_verifier(client_verifier(ca_certificate)?)
        .with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn client_verifier(ca_certificate: &str) -> Result<Arc<dyn ClientCertVerifier>, WireError> {
    WebPkiClientVerifier::builder_with_provider(roots(ca_certificate)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| WireError::setup(&error))
}

/// The client's side: trusts this authority alone.
pub(crate) fn client_config(
    ca_certificate: &str,
    identity: Option<PemIdentity<'_>>,
) -> Result<Arc<ClientConfig>, WireError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| WireError::setup(&error))?
        .with_root_certificates(roots(ca_certificate)?);
    let mut config = match identity.map(|identity| identity.parts()).transpose()? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| WireError::setup(&error))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, WireError> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| WireError::setup(&error))
}

fn roots(ca_certificate: &str) -> Result<Arc<RootCertStore>, WireError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_certificate)? {
        roots.add(certificate).map_err(|error| WireError::setup(&error))?;
    }
    Ok(Arc::new(roots))
}
