//! Becoming a member: the operator's one-time token against a certificate, at once or once the operator has approved.

use std::time::Duration;

use shared::enrolment::Enrolment;
use shared::masking::Element;
use shared::{Explain, canonical};
use shared_crypto::pki::CertificateRequest;
use shared_wire::client::Client;
use shared_wire::{EnrolAnswer, Enrolled};

use super::request::{Place, Request};
use super::{Credentials, Patience, may_pass};
use crate::error::SiteError;
use crate::site::Site;

const REQUEST: &str = "enrolment.request";
/// Wait before the operator's approval is asked for again, the first time; then twice as long each time.
const FIRST_ASK: Duration = Duration::from_secs(1);
/// Longest wait before it is asked for again.
const LONGEST_ASK: Duration = Duration::from_secs(30);
/// After this long an approval is not waited for any more; the same request can be sent again any time.
const APPROVAL: Duration = Duration::from_secs(3600);

/// Trades the operator's one-time `token` for a certificate. The keys are made here and stay here.
///
/// `ca_pem` is the federation's certificate authority, received from the operator over a channel that the site trusts.
/// Where the operator has yet to approve, this waits for an hour and ends with [`SiteError::EnrolmentPending`]; the
/// request is kept, and goes on with the same token or with [`resume_enrolment`].
pub async fn enrol(site: &Site, ca_pem: &str, token: &str) -> Result<Credentials, SiteError> {
    let place = Place::new(site.folder(), REQUEST);
    // A coordinator that is not there is said so at once, before anything is kept.
    let client = Client::connect(&site.config.federation.coordinator, ca_pem, None).await?;
    let request = match place.load()?.filter(|kept| is_for(kept, ca_pem, token)) {
        Some(kept) => kept,
        None => {
            let request = request(site, ca_pem, token)?;
            place.keep(&request)?;
            request
        }
    };
    finish(site, &client, &place, &request).await
}

/// Goes on with an enrolment that was pending when the site stopped; `None` where there is none.
pub async fn resume_enrolment(site: &Site) -> Result<Option<Credentials>, SiteError> {
    let place = Place::new(site.folder(), REQUEST);
    let Some(request) = place.load()? else { return Ok(None) };
    let client = Client::connect(&site.config.federation.coordinator, &request.ca_certificate_pem, None).await?;
    finish(site, &client, &place, &request).await.map(Some)
}

fn is_for(kept: &Request, ca_pem: &str, token: &str) -> bool {
    let enrolment = canonical::decode::<Enrolment>(kept.document.body.as_bytes());
    kept.ca_certificate_pem == ca_pem && enrolment.is_ok_and(|enrolment| enrolment.token == token)
}

fn request(site: &Site, ca_pem: &str, token: &str) -> Result<Request, SiteError> {
    let request = CertificateRequest::new(&site.participant_id)?;
    let enrolment = Enrolment {
        token: token.to_owned(),
        participant_id: site.participant_id.clone(),
        csr_pem: request.csr_pem,
        identity_key: site.identity.public().to_string(),
        agreement_key: Element::from(site.agreement.public()),
    };
    Ok(Request::new(site.identity.sign(&enrolment)?, ca_pem, &request.key_pem))
}

async fn finish(site: &Site, client: &Client, place: &Place, request: &Request) -> Result<Credentials, SiteError> {
    let approved = tokio::time::timeout(APPROVAL, approval(client, request)).await;
    let enrolled = approved.map_err(|_| SiteError::EnrolmentPending)?;
    let enrolled = enrolled.inspect_err(|error| {
        tracing::error!(code = error.code(), %error, "the coordinator refused to enrol this site");
    })?;
    let credentials = Credentials::new(enrolled, request.key_pem())?;
    credentials.save(&site.folder().join("federation"))?;
    place.clear()?;
    Ok(credentials)
}

/// Asks until the operator has decided.
async fn approval(client: &Client, request: &Request) -> Result<Enrolled, SiteError> {
    let (mut patience, mut wait) = (Patience::default(), FIRST_ASK);
    loop {
        match client.enrol(request.document.clone()).await.map_err(SiteError::from) {
            Ok(EnrolAnswer::Enrolled(enrolled)) => return Ok(enrolled),
            Ok(EnrolAnswer::Pending) => {
                patience.reset();
                tracing::info!(wait_s = wait.as_secs(), "waiting for the operator to approve this site");
                tokio::time::sleep(wait).await;
                wait = LONGEST_ASK.min(wait.saturating_mul(2));
            }
            Err(error) if may_pass(&error) => patience.pause("enrol", &error).await,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lone;

    #[test]
    fn a_kept_request_is_sent_again_only_for_the_same_token_and_authority() {
        let lone = Lone::new();
        let made = request(&lone.site, "authority", "token").unwrap();
        assert!(is_for(&made, "authority", "token"));
        assert!(!is_for(&made, "other", "token") && !is_for(&made, "authority", "other"));
    }

    #[test]
    fn the_request_proves_the_identity_key_that_it_names() {
        let lone = Lone::new();
        let made = request(&lone.site, "authority", "token").unwrap();
        let enrolment: Enrolment = lone.site.identity.public().open(&made.document).unwrap();
        assert_eq!(enrolment.identity_key, lone.site.identity.public().to_string());
        assert!(!enrolment.csr_pem.contains("PRIVATE"));
    }
}
