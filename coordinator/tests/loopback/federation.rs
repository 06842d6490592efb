//! What participants may and may not do.

use shared::release::{Release, RoundRecord};
use shared::update::{CHUNK_BYTES, UpdateReceipt};
use shared::{Clock, Digest, ParamVector, TaskId};
use shared_crypto::bulk_digest;
use shared_crypto::pki::{CertificateAuthority, CertificateRequest, TlsIdentity};
use shared_ops::clock::SystemClock;
use shared_wire::client::Client;
use shared_wire::{Bytes, Phase, TaskState, UpdateOpen, WireError};

use crate::site::{PARAMS, Site, address, code, connect, create_task, enrol_with, id, refusal, serve};

const HOUR: std::time::Duration = std::time::Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_round_goes_to_its_release_and_a_restart_changes_nothing_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    create_task(&running, &["a", "b"]);
    let (mut a, mut b) = (Site::enrol(&running, "a").await, Site::enrol(&running, "b").await);
    a.join().await;
    b.join().await;
    let receipt = a.deliver(1.0).await;
    stop.cancel();
    running.ended().await.unwrap();

    let (running, stop) = serve(folder.path()).await;
    a.reconnect(&running).await;
    b.reconnect(&running).await;
    let view = a.view().await;
    assert_eq!((view.phase, view.accepted, view.caller_accepted), (Phase::Collecting, 1, true));
    assert_eq!(a.deliver(1.0).await, receipt, "the same update gets the same receipt");
    b.deliver(3.0).await;
    tokio::join!(a.evaluate(), b.evaluate());
    let mut views = a.watch(&view.round_id.task_id).await.unwrap();
    let mut last = None;
    while let Some(view) = views.next().await.unwrap() {
        last = Some(view.task_state);
    }
    let Some(TaskState::Released(release_id)) = last else { panic!("{last:?}") };

    let bundle = b.client.release(&release_id).await.unwrap();
    assert_eq!(Some(&bundle), b.client.latest_release(None).await.unwrap().as_ref());
    let key = running.coordinator.coordinator_key();
    let release: Release = key.open(&bundle.release).unwrap();
    let record: RoundRecord = key.open(&bundle.round_record).unwrap();
    let accepted: UpdateReceipt = key.open(&receipt).unwrap();
    assert_eq!(record.accepted[&id("a")].payload, accepted.payload);
    assert_eq!(b.client.round_record(&view.round_id).await.unwrap(), bundle.round_record);
    let mut bytes = Vec::new();
    b.client.fetch(release.params, PARAMS * 4, &mut bytes).await.unwrap();
    assert_eq!(bulk_digest(&bytes), release.params);
    assert_eq!(ParamVector::from_le_bytes(&bytes, PARAMS).unwrap(), ParamVector::new(vec![2.0; PARAMS]).unwrap());
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_living_certificate_of_this_federation_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    create_task(&running, &["a", "b"]);
    let a = Site::enrol(&running, "a").await;
    let b = Site::enrol(&running, "b").await;
    let outsider = Site::enrol(&running, "c").await;
    assert!(outsider.client.tasks().await.unwrap().is_empty());
    let task_id = TaskId::new("t").unwrap();
    assert_eq!(code(&outsider.watch(&task_id).await.unwrap_err()), "task-unknown");

    let without = Client::connect(&address(&running), &a.ca, None).await.unwrap();
    assert_eq!(code(&without.tasks().await.unwrap_err()), "certificate-missing");

    let foreign = CertificateAuthority::create("other", SystemClock.now(), HOUR).unwrap();
    let request = CertificateRequest::new(&id("a")).unwrap();
    let certificate_pem = foreign.sign_request(&request.csr_pem, &id("a"), SystemClock.now(), HOUR).unwrap();
    let forged = TlsIdentity { certificate_pem, key_pem: request.key_pem };
    let refused = match connect(&address(&running), &a.ca, &forged).await {
        Ok(client) => client.tasks().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(refused, WireError::Unreachable { .. }), "{refused}");

    let mut views = a.watch(&task_id).await.unwrap();
    views.next().await.unwrap().unwrap();
    running.coordinator.revoke(&id("a")).unwrap();
    let cut = loop {
        match views.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a reason"),
            Err(error) => break error,
        }
    };
    // The connection may be cut before the reason is read; the next call is told it in any case.
    assert!(cut.remote_code().is_none_or(|code| code == "participant-revoked"), "{cut}");
    assert_eq!(code(&refusal(&a.client).await), "participant-revoked");
    assert!(b.client.tasks().await.is_ok());
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_enrols_one_id_and_gets_it_one_certificate_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    let token = running.coordinator.issue_token(&id("a")).unwrap();
    let token = token.token.expose();
    assert_eq!(code(&enrol_with(&running, "b", token).await.unwrap_err()), "token-not-good");
    assert_eq!(code(&enrol_with(&running, "a", "guess").await.unwrap_err()), "token-not-good");
    let (_, first) = enrol_with(&running, "a", token).await.unwrap();
    let ca = running.coordinator.ca_certificate_pem().to_owned();
    let old = connect(&address(&running), &ca, &first).await.unwrap();
    assert!(old.tasks().await.is_ok());
    assert_eq!(code(&enrol_with(&running, "a", token).await.unwrap_err()), "certificate-too-soon");
    assert!(old.tasks().await.is_ok());
    running.coordinator.revoke(&id("a")).unwrap();
    assert_eq!(code(&enrol_with(&running, "a", token).await.unwrap_err()), "participant-revoked");
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_update_tells_why_even_before_it_is_all_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    create_task(&running, &["a", "b"]);
    let (a, b) = (Site::enrol(&running, "a").await, Site::enrol(&running, "b").await);
    a.join().await;
    b.join().await;
    let view = a.until(Phase::Collecting).await;
    let task = a.client.tasks().await.unwrap().remove(0).document;
    let (open, params) = a.update(&view, &task, 1.0);
    let submit = async |site: &Site, open: &UpdateOpen, params: &Bytes| {
        site.client.submit_update(open.clone(), params.clone(), |_, _| {}).await
    };
    let more = UpdateOpen { chunk_digests: vec![Digest([0; 32]); 100], ..open.clone() };
    assert_eq!(code(&submit(&a, &more, &params).await.unwrap_err()), "chunk-count");
    assert_eq!(code(&submit(&b, &open, &params).await.unwrap_err()), "crypto-wrong-signer");
    submit(&a, &open, &params).await.unwrap();
    let (second, params) = a.update(&view, &task, 2.0);
    assert_eq!(code(&submit(&a, &second, &params).await.unwrap_err()), "round-equivocation");
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_goes_on_where_its_link_broke_in_this_process_and_in_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    create_task(&running, &["a", "b"]);
    let (mut a, b) = (Site::enrol(&running, "a").await, Site::enrol(&running, "b").await);
    a.join().await;
    b.join().await;
    let view = a.until(Phase::Collecting).await;
    let task = a.client.tasks().await.unwrap().remove(0).document;
    let (open, payload) = a.update(&view, &task, 1.0);
    let broken = a.client.submit_update(open.clone(), payload.slice(..CHUNK_BYTES), |_, _| {}).await;
    assert_eq!(code(&broken.unwrap_err()), "update-incomplete");
    let (other, other_payload) = b.update(&view, &task, 2.0);
    let broken = b.client.submit_update(other, other_payload.slice(..CHUNK_BYTES), |_, _| {}).await;
    assert_eq!(code(&broken.unwrap_err()), "update-incomplete");
    let begun = |client: Client, (open, payload): (UpdateOpen, Bytes)| async move {
        let mut first = None;
        let receipt = client.submit_update(open, payload, |durable, _| _ = first.get_or_insert(durable)).await;
        (receipt.unwrap(), first)
    };
    let chunk = u64::try_from(CHUNK_BYTES).unwrap();
    assert_eq!(begun(b.client.clone(), b.update(&view, &task, 2.0)).await.1, Some(chunk));
    stop.cancel();
    running.ended().await.unwrap();

    let (running, stop) = serve(folder.path()).await;
    a.reconnect(&running).await;
    assert_eq!(begun(a.client.clone(), (open, payload)).await.1, Some(chunk));
    stop.cancel();
    running.ended().await.unwrap();
}
