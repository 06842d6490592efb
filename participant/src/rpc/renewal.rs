//! A fresh certificate in time: after two thirds of its life, with a key that is made here, while everything goes on.
//!
//! The old certificate stays good until it expires, so that an upload that is under way ends as it began; what is called
//! afterwards goes by the new one.

use std::convert::Infallible;
use std::time::Duration;

use shared::Explain;
use shared::enrolment::Renewal;
use shared_crypto::pki::CertificateRequest;
use shared_wire::EnrolAnswer;

use super::request::{Place, Request};
use super::{Credentials, Membership, connect, retry};
use crate::error::SiteError;

const REQUEST: &str = "renewal.request";
/// The certificate's age is looked at this often at least, since the machine's clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(60);
/// Wait after a renewal that failed.
const PAUSE: Duration = Duration::from_secs(30);

impl Membership {
    /// Renews the site's certificate whenever it is time, for as long as this is polled. A failure is logged and tried
    /// again.
    pub async fn keep_certificate(&self) -> Infallible {
        loop {
            let wait = match self.renewal_wait() {
                Ok(wait) if wait.is_zero() => self.renew_or_say().await,
                Ok(wait) => wait.min(LOOK),
                Err(error) => {
                    tracing::error!(code = error.code(), %error, "this site's certificate is unreadable: enrol again");
                    LOOK
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// How long the present certificate still serves before it is time.
    fn renewal_wait(&self) -> Result<Duration, SiteError> {
        Ok(self.credentials().validity()?.renew_at().since(self.site.clock.now()))
    }

    async fn renew_or_say(&self) -> Duration {
        match self.renew().await {
            Ok(()) => Duration::ZERO,
            Err(error) => {
                metrics::counter!("ringfence_certificate_renewal_errors_total").increment(1);
                tracing::error!(code = error.code(), %error, hint = error.hint(), "the certificate is not renewed yet");
                PAUSE
            }
        }
    }

    /// Trades the site's certificate for a fresh one, durably, and connects anew with it.
    pub async fn renew(&self) -> Result<(), SiteError> {
        let (site, old) = (&self.site, self.credentials());
        let place = Place::new(site.folder(), REQUEST);
        let request = match place.load()? {
            Some(kept) => kept,
            None => {
                let made = CertificateRequest::new(&site.participant_id)?;
                let renewal = Renewal { participant_id: site.participant_id.clone(), csr_pem: made.csr_pem };
                let request = Request::new(site.identity.sign(&renewal)?, &old.ca_certificate_pem, &made.key_pem);
                place.keep(&request)?;
                request
            }
        };
        let client = self.client();
        let answered = retry("renew", || client.renew(request.document.clone())).await;
        // A request that is refused for good is not sent a second time: the next try makes a new one.
        let EnrolAnswer::Enrolled(enrolled) = answered.or_else(|error| refused(&place, error))? else {
            return Err(SiteError::EnrolmentPending);
        };
        // Whom the site trusts stays as it was when the operator gave it the authority's certificate.
        let certificate_pem = enrolled.certificate_pem;
        let renewed = Credentials { certificate_pem, key_pem: request.key_pem(), ..Credentials::clone(&old) };
        let client = connect(site, &renewed).await?;
        renewed.save(&site.folder().join("federation"))?;
        place.clear()?;
        let good_until = renewed.validity()?.not_after;
        self.replace(client, renewed);
        tracing::info!(%good_until, "renewed this site's certificate");
        Ok(())
    }
}

fn refused(place: &Place, error: shared_wire::WireError) -> Result<EnrolAnswer, SiteError> {
    if !error.is_transient() {
        place.clear()?;
    }
    Err(error.into())
}
