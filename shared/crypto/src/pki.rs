//! The federation's certificates: who may speak TLS with whom.
//!
//! The coordinator keeps one authority. It gives its own endpoint a server certificate, and each approved participant a
//! short-lived client certificate over a key that never left the site. All keys are ECDSA P-256, which every TLS 1.3
//! stack must verify (RFC 8446, section 9.1). Nothing here opens a connection or decides who is approved.

mod authority;
mod peer;
mod request;
#[cfg(test)]
mod tests;
mod validity;

pub use authority::{CertificateAuthority, TlsIdentity};
pub use peer::PeerCertificate;
pub use request::CertificateRequest;
pub use validity::Validity;

/// What stands before the participant's id in its certificate's URI name.
const PARTICIPANT_URI: &str = "ringfence://participant/";
