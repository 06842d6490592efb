//! The site's side of the federation protocol: enrolment, and taking part in rounds.
//!
//! Calls that failed for a passing reason are repeated; every call is idempotent, so repeating is always safe.

mod credentials;
mod rounds;

use std::future::Future;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use shared::enrolment::Enrolment;
use shared_crypto::pki::CertificateRequest;
use shared_wire::client::Client;
use shared_wire::{PemIdentity, WireError};

pub use credentials::Credentials;
pub use rounds::{Membership, Outcome};

use crate::error::SiteError;
use crate::site::Site;

/// First wait before a repeated call; doubled each time, with jitter.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Tries before a call is given up; with the waits above, about two minutes.
const TRIES: usize = 16;

/// Trades the operator's one-time `token` for a certificate. The keys are made here and stay here.
///
/// `ca_pem` is the federation's certificate authority, received from the operator over a channel that the site trusts.
pub async fn enrol(site: &Site, ca_pem: &str, token: &str) -> Result<Credentials, SiteError> {
    let request = CertificateRequest::new(&site.participant_id)?;
    let enrolment = Enrolment {
        token: token.to_owned(),
        participant_id: site.participant_id.clone(),
        csr_pem: request.csr_pem,
        identity_key: site.identity.public().to_string(),
    };
    let signed = site.identity.sign(&enrolment)?;
    let client = Client::connect(&site.config.federation.coordinator, ca_pem, None).await?;
    let enrolled = retry("enrol", || client.enrol(signed.clone())).await?;
    let credentials = Credentials::new(enrolled, request.key_pem)?;
    credentials.save(&site.folder().join("federation"))?;
    Ok(credentials)
}

/// Connects with the site's certificate.
pub async fn connect(site: &Site, credentials: &Credentials) -> Result<Client, SiteError> {
    let address = &site.config.federation.coordinator;
    let dial = || async {
        let identity = PemIdentity { certificate: &credentials.certificate_pem, key: credentials.key_pem.expose() };
        Client::connect(address, &credentials.ca_certificate_pem, Some(identity)).await
    };
    Ok(retry("connect", dial).await?)
}

/// Repeats `call` while its failure may pass.
async fn retry<T, C, F>(what: &'static str, call: C) -> Result<T, WireError>
where
    C: FnMut() -> F,
    F: Future<Output = Result<T, WireError>>,
{
    call.retry(waits())
        .when(WireError::is_transient)
        .notify(
            |error, wait| tracing::warn!(call = what, %error, wait_ms = wait.as_millis(), "call failed, will repeat"),
        )
        .await
}

fn waits() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_max_times(TRIES)
        .with_jitter()
}
