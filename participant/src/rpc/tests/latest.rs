//! The operator's word travels: a site goes where the newest one says, and nowhere on any other.

use shared::Explain;
use shared::audit::AuditRecord;
use shared::document::SignedDocument;
use shared::release::Promotion;
use shared_crypto::SigningKey;

use super::*;
use crate::testing::Published;

/// A member of a federation whose task is over, with its release; admitted or not.
async fn member(is_admitted: bool) -> (Running, Lone, Membership) {
    let (running, lone, credentials) = enrolled(Script::default()).await;
    let (site, records) = (Arc::clone(&lone.site), Arc::new(records()));
    let membership = Membership::connect(site, records, credentials, Notes::of(&running)).await.unwrap();
    running.stage.end(TaskState::Released(running.stage.published(1).release.release_id));
    if is_admitted {
        admit(&running, &membership).await;
    }
    (running, lone, membership)
}

async fn admit(running: &Running, membership: &Membership) {
    let outcome = membership.take_part(&running.stage.document, &CancellationToken::new()).await.unwrap();
    assert!(matches!(outcome, Outcome::Released(release_id) if release_id.as_str() == "guard-1"));
}

/// What serves from now on, or the code of the refusal; `None` where there was nothing new.
async fn follow(latest: &mut Latest<'_>) -> Option<Result<String, &'static str>> {
    let followed = latest.follow().await.map_err(|error| error.code()).transpose()?;
    Some(followed.map(|installed| installed.release.release_id.to_string()))
}

fn signed_by_another(promotion: &SignedDocument) -> SignedDocument {
    let word: Promotion = shared::canonical::decode(promotion.body.as_bytes()).unwrap();
    SigningKey::from_seed(&[9; 32]).sign(&word).unwrap()
}

/// The last record of the site's audit log.
fn last_record(lone: &Lone) -> serde_json::Value {
    let journal = &lone.site.journal;
    let entry = journal.log().entry(journal.log().size() - 1).unwrap();
    lone.site.identity.public().open::<AuditRecord>(&entry).unwrap().content
}

fn serving(lone: &Lone, membership: &Membership) -> Option<String> {
    let releases = membership.credentials().releases(Arc::clone(&lone.site.store));
    releases.current().unwrap().map(|installed| installed.release.release_id.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_goes_forward_and_back_with_the_operators_words_and_keeps_them_as_evidence() {
    let (running, lone, membership) = member(true).await;
    let [first, second] = [1, 2].map(|number| running.stage.published(number));
    let mut latest = Latest::new(&membership);
    assert_eq!(follow(&mut latest).await, None, "nothing is promoted yet");
    let back = Some(second.release.release_id.clone());
    let words: [(&Published, _); 3] =
        [(&first, first.promotion(1, None)), (&second, second.promotion(2, None)), (&first, first.promotion(3, back))];
    for (published, word) in words {
        running.stage.hand_out(published, Some(word.clone()));
        assert_eq!(follow(&mut latest).await, Some(Ok(published.release.release_id.to_string())));
        assert_eq!(follow(&mut latest).await, None, "nothing new");
        let kept: SignedDocument = serde_json::from_value(last_record(&lone)["promotion"].clone()).unwrap();
        assert_eq!(kept, word);
    }
    assert_eq!(serving(&lone, &membership).as_deref(), Some("guard-1"));
    running.stage.hand_out(&second, Some(second.promotion(2, None)));
    let after_a_restart = &mut Latest::new(&membership);
    assert_eq!(follow(after_a_restart).await, Some(Err("release-promotion-replayed")), "numbers are durable");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_word_is_refused_once_and_the_refusal_stands_in_the_audit_log() {
    let (running, lone, membership) = member(true).await;
    let [first, second] = [1, 2].map(|number| running.stage.published(number));
    let mut latest = Latest::new(&membership);
    running.stage.hand_out(&first, Some(first.promotion(7, None)));
    assert_eq!(follow(&mut latest).await, Some(Ok("guard-1".to_owned())));
    let refusals = [
        (Some(signed_by_another(&second.promotion(8, None))), "crypto-wrong-signer"),
        (Some(second.promotion(6, None)), "release-promotion-replayed"),
        (Some(second.promotion(7, None)), "release-promotion-replayed"),
        (Some(first.promotion(9, None)), "release-differs"),
        (None, "release-promotion-missing"),
    ];
    for (word, code) in refusals {
        running.stage.hand_out(&second, word);
        assert_eq!(follow(&mut latest).await, Some(Err(code)));
        let size = lone.site.journal.log().size();
        assert_eq!(last_record(&lone)["code"], code);
        assert_eq!(follow(&mut latest).await, None, "{code}: not looked at again");
        assert_eq!(lone.site.journal.log().size(), size);
        assert_eq!(serving(&lone, &membership).as_deref(), Some("guard-1"), "{code}");
    }
    running.stage.hand_out(&second, Some(second.promotion(10, None)));
    assert_eq!(follow(&mut latest).await, Some(Ok("guard-2".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_a_task_that_was_not_admitted_waits_for_the_admission() {
    let (running, lone, membership) = member(false).await;
    let first = running.stage.published(1);
    running.stage.hand_out(&first, Some(first.promotion(1, None)));
    let mut latest = Latest::new(&membership);
    assert_eq!(follow(&mut latest).await, Some(Err("release-task-not-admitted")));
    assert_eq!(serving(&lone, &membership), None);
    admit(&running, &membership).await;
    assert_eq!(follow(&mut latest).await, None, "a refused word is looked at again only when it is said to");
    latest.look_again();
    assert_eq!(follow(&mut latest).await, Some(Ok("guard-1".to_owned())));
}
