//! The site's side of the federation protocol: enrolment, and taking part in rounds.
//!
//! Calls that failed for a passing reason are repeated; every call is idempotent, so repeating is always safe. Nothing
//! here decides what a round asks of the site: that is [`crate::follow`].

mod credentials;
mod enrolment;
mod follower;
mod hand;
mod masked;
mod membership;
mod release;
mod renewal;
mod request;

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder, Retryable};
use shared_wire::WireError;
use shared_wire::client::Client;

pub use credentials::Credentials;
pub use enrolment::{enrol, resume_enrolment};
pub use membership::{Membership, Outcome};
pub use release::Latest;

use crate::error::SiteError;
use crate::site::Site;

/// First wait before a repeated call; doubled each time, with jitter.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Tries before a call is given up; with the waits above, about two minutes.
const TRIES: usize = 16;

/// Connects with the site's certificate.
pub(crate) async fn connect(site: &Site, credentials: &Credentials) -> Result<Client, SiteError> {
    let address = &site.config.federation.coordinator;
    let dial = || Client::connect(address, &credentials.ca_certificate_pem, Some(credentials.identity()));
    Ok(retry("connect", dial).await?)
}

/// Repeats `call` while its failure may pass.
async fn retry<T, C, F>(what: &'static str, call: C) -> Result<T, WireError>
where
    C: FnMut() -> F,
    F: Future<Output = Result<T, WireError>>,
{
    call.retry(waits().with_max_times(TRIES))
        .when(WireError::is_transient)
        .notify(
            |error, wait| tracing::warn!(call = what, %error, wait_ms = wait.as_millis(), "call failed, will repeat"),
        )
        .await
}

fn waits() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(FIRST_WAIT).with_max_delay(LONGEST_WAIT).with_jitter()
}

/// Waits between the tries of something that is tried as long as the site runs; each wait has its limit.
#[derive(Debug)]
pub struct Patience(ExponentialBackoff);

impl Default for Patience {
    /// Nothing has failed yet.
    fn default() -> Self {
        Self(waits().without_max_times().build())
    }
}

impl Patience {
    /// Says that something failed for a passing reason, and waits.
    pub async fn pause(&mut self, what: &'static str, error: &impl Display) {
        let wait = self.0.next().unwrap_or(LONGEST_WAIT);
        tracing::warn!(call = what, %error, wait_ms = wait.as_millis(), "the coordinator is not reached, will try again");
        tokio::time::sleep(wait).await;
    }

    /// It worked: the next failure begins with the first wait.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Whether the same thing may work later without anybody doing anything.
fn may_pass(error: &SiteError) -> bool {
    matches!(error, SiteError::Wire(error) if error.is_transient())
}

#[cfg(test)]
mod tests;
