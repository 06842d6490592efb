//! Participants' lives over real connections: approval, renewal, quarantine and revocation.

use std::path::Path;
use std::sync::Arc;

use coordinator::config::Approval;
use coordinator::{Running, start};
use serde_json::json;
use shared::TaskId;
use shared::enrolment::{Enrolment, Renewal};
use shared::update::Join;
use shared_crypto::pki::{CertificateRequest, TlsIdentity};
use shared_crypto::{SigningKey, document_digest};
use shared_ops::clock::SystemClock;
use shared_wire::client::{Client, Presence};
use shared_wire::{EnrolAnswer, WireError};
use tokio_util::sync::CancellationToken;

use crate::access::Admin;
use crate::site::{address, agreement_key, code, config, connect, create_task, id, refusal};

/// A coordinator where the operator approves and renewals need no pause.
async fn serve(folder: &Path, approval: Approval) -> (Running, CancellationToken) {
    let mut config = config(folder);
    config.enrolment.approval = approval;
    config.limits.renewal_pause_ms = 0;
    let stop = CancellationToken::new();
    (start(config, Arc::new(SystemClock), stop.clone()).await.unwrap(), stop)
}

/// A site that has not enrolled yet, or waits.
struct Newcomer {
    name: &'static str,
    token: String,
    identity: SigningKey,
    request: CertificateRequest,
}

impl Newcomer {
    fn new(running: &Running, name: &'static str) -> Self {
        let token = running.coordinator.issue_token(&id(name)).unwrap().token.expose().to_owned();
        let identity = SigningKey::from_seed(&[name.as_bytes()[0]; 32]);
        Self { name, token, identity, request: CertificateRequest::new(&id(name)).unwrap() }
    }

    async fn ask(&self, running: &Running) -> Result<EnrolAnswer, WireError> {
        let enrolment = Enrolment {
            token: self.token.clone(),
            participant_id: id(self.name),
            csr_pem: self.request.csr_pem.clone(),
            identity_key: self.identity.public().to_string(),
            agreement_key: agreement_key(self.name),
        };
        let stranger = Client::connect(&address(running), running.coordinator.ca_certificate_pem(), None).await?;
        stranger.enrol(self.identity.sign(&enrolment).unwrap()).await
    }

    /// Enrols where nobody needs to approve, and connects.
    async fn enrol(&self, running: &Running) -> Client {
        let EnrolAnswer::Enrolled(enrolled) = self.ask(running).await.unwrap() else { panic!("it is pending") };
        self.connect(running, enrolled.certificate_pem, &self.request).await
    }

    async fn connect(&self, running: &Running, certificate_pem: String, request: &CertificateRequest) -> Client {
        let tls = TlsIdentity { certificate_pem, key_pem: request.key_pem.clone() };
        connect(&address(running), running.coordinator.ca_certificate_pem(), &tls).await.unwrap()
    }

    async fn renew(&self, client: &Client, request: &CertificateRequest) -> Result<EnrolAnswer, WireError> {
        let renewal = Renewal { participant_id: id(self.name), csr_pem: request.csr_pem.clone() };
        client.renew(self.identity.sign(&renewal).unwrap()).await
    }

    async fn join(&self, client: &Client) -> Result<(), WireError> {
        let task = client.tasks().await?.remove(0);
        let mut views = client.watch(&task_id(), &presence()).await?;
        let round_id = views.next().await?.unwrap().round_id;
        let join = Join {
            round_id,
            participant_id: id(self.name),
            task_digest: document_digest(&task.document),
            masking: None,
        };
        client.join(self.identity.sign(&join).unwrap().into()).await
    }
}

fn task_id() -> TaskId {
    TaskId::new("t").unwrap()
}

fn presence() -> Presence {
    Presence::new(Arc::new(SystemClock))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_that_waits_for_approval_is_answered_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path(), Approval::Operator).await;
    let a = Newcomer::new(&running, "a");
    assert_eq!(a.ask(&running).await.unwrap(), EnrolAnswer::Pending);
    stop.cancel();
    running.ended().await.unwrap();

    let (running, stop) = serve(folder.path(), Approval::Operator).await;
    let admin = Admin::operator(&running, folder.path());
    assert_eq!(a.ask(&running).await.unwrap(), EnrolAnswer::Pending);
    let (_, list) = admin.get("/api/v1/participants?state=pending").await;
    assert_eq!(list["items"][0]["participant_id"], "a");
    let reason = json!({"reason": "checked by telephone"});
    let (status, approved) = admin.post("/api/v1/participants/a/approve", &reason).await;
    assert_eq!(
        (status, approved["state"].as_str(), approved["reason"].as_str()),
        (200, Some("approved"), Some("checked by telephone"))
    );
    assert!(a.enrol(&running).await.tasks().await.unwrap().is_empty());
    let (_, shown) = admin.get("/api/v1/participants/a").await;
    assert!(shown["certificate_expires_at"].is_string(), "{shown}");
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_cuts_open_connections_and_spares_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path(), Approval::Automatic).await;
    create_task(&running, &["a", "b"]);
    let (a, b) = (Newcomer::new(&running, "a"), Newcomer::new(&running, "b"));
    let (a_client, b_client) = (a.enrol(&running).await, b.enrol(&running).await);
    let (mut watched, mut spared) = (
        a_client.watch(&task_id(), &presence()).await.unwrap(),
        b_client.watch(&task_id(), &presence()).await.unwrap(),
    );
    watched.next().await.unwrap().unwrap();
    spared.next().await.unwrap().unwrap();
    let admin = Admin::operator(&running, folder.path());
    let (_, seen) = admin.get("/api/v1/participants/a").await;
    assert!(seen["last_seen"].is_string() && seen["clock_skew_ms"].is_number(), "{seen}");

    let (status, revoked) = admin.post("/api/v1/participants/a/revoke", &json!({"reason": "left"})).await;
    assert_eq!((status, revoked["state"].as_str()), (200, Some("revoked")));
    while let Ok(view) = watched.next().await {
        assert!(view.is_some(), "the stream ended as if all was well");
    }
    assert_eq!(code(&refusal(&a_client).await), "participant-revoked");
    assert_eq!(code(&a.ask(&running).await.unwrap_err()), "participant-revoked");
    assert!(spared.next().await.unwrap().is_some());
    assert!(b_client.tasks().await.is_ok());
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_site_watches_and_joins_only_when_it_is_reinstated() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path(), Approval::Automatic).await;
    create_task(&running, &["a", "b"]);
    let a = Newcomer::new(&running, "a");
    let client = a.enrol(&running).await;
    let admin = Admin::operator(&running, folder.path());
    let reason = json!({"reason": "odd updates"});
    assert_eq!(admin.post("/api/v1/participants/a/quarantine", &reason).await.0, 200);
    assert_eq!(code(&a.join(&client).await.unwrap_err()), "participant-quarantined");
    let mut views = client.watch(&task_id(), &presence()).await.unwrap();
    assert!(views.next().await.unwrap().is_some());
    let (status, problem) = admin.post("/api/v1/participants/a/approve", &reason).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("participant-state")));
    assert_eq!(admin.post("/api/v1/participants/a/reinstate", &reason).await.0, 200);
    a.join(&client).await.unwrap();
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_connects_while_the_one_before_still_serves() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path(), Approval::Automatic).await;
    let a = Newcomer::new(&running, "a");
    let old = a.enrol(&running).await;
    let request = CertificateRequest::new(&id("a")).unwrap();
    let EnrolAnswer::Enrolled(renewed) = a.renew(&old, &request).await.unwrap() else { panic!("it is pending") };
    let new = a.connect(&running, renewed.certificate_pem, &request).await;
    assert!(new.tasks().await.is_ok() && old.tasks().await.is_ok());
    let again = a.renew(&old, &a.request).await.unwrap_err();
    assert_eq!(code(&again), "renewal-old-key");
    let stranger = Client::connect(&address(&running), running.coordinator.ca_certificate_pem(), None).await.unwrap();
    assert_eq!(code(&a.renew(&stranger, &request).await.unwrap_err()), "certificate-missing");
    stop.cancel();
    running.ended().await.unwrap();
}
