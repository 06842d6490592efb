//! Mutual TLS for both ends, from PEM. A certificate's meaning is read by `shared-crypto`, not here.

use tonic::Request;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// A certificate and its private key, PEM.
#[derive(Clone, Copy)]
pub struct PemIdentity<'a> {
    /// The certificate.
    pub certificate: &'a str,
    /// The private key.
    pub key: &'a str,
}

impl PemIdentity<'_> {
    fn identity(&self) -> Identity {
        Identity::from_pem(self.certificate, self.key)
    }
}

/// The server's side: a client without a certificate may connect (to enrol), one with a foreign certificate may not.
pub(crate) fn server_tls(identity: PemIdentity<'_>, ca_certificate: &str) -> ServerTlsConfig {
    ServerTlsConfig::new()
        .identity(identity.identity())
        .client_ca_root(Certificate::from_pem(ca_certificate))
        .client_auth_optional(true)
}

/// The client's side: trusts this authority alone.
pub(crate) fn client_tls(ca_certificate: &str, identity: Option<PemIdentity<'_>>) -> ClientTlsConfig {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_certificate));
    match identity {
        Some(identity) => tls.identity(identity.identity()),
        None => tls,
    }
}

/// The DER bytes of the certificate that the caller showed, already checked against the authority; `None` without one.
pub(crate) fn peer_certificate_der<T>(request: &Request<T>) -> Option<Vec<u8>> {
    request.peer_certs()?.first().map(|certificate| certificate.to_vec())
}
