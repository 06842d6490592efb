//! Every call arrives as it was made, and a broken stream goes on where it broke.

use std::sync::Arc;

use shared::time::ManualClock;
use shared::{Clock, Digest, ReleaseId, RoundId, RoundNumber, Timestamp};
use shared_wire::client::Presence;
use shared_wire::{Activity, CHUNK_BYTES, EnrolAnswer, MaskingStage, ReleaseBundle, TaskState, WireError};

use crate::stage::{KNOWN, Seen, Uploads, World, document, join_request, latest, opening, params, sealed_share};
use crate::stage::{task, view};

fn presence() -> (Arc<ManualClock>, Presence) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(5)));
    (Arc::clone(&clock), Presence::new(clock))
}

#[tokio::test]
async fn every_question_is_answered() {
    let world = World::start(Uploads::From(0), None).await;
    let site = world.client("site").await;
    assert_eq!(site.renew(document()).await.unwrap(), EnrolAnswer::Pending);
    let tasks = site.tasks().await.unwrap();
    assert_eq!((tasks.len(), &tasks[0].state), (1, &TaskState::Paused));
    site.join(join_request()).await.unwrap();
    site.submit_evaluation(document()).await.unwrap();
    let round_id = RoundId { task_id: task(), number: RoundNumber(1) };
    let documents = site.masking_documents(&round_id, MaskingStage::Sum).await.unwrap();
    assert_eq!(documents, vec![document(); 3]);
    site.agree(document()).await.unwrap();
    assert_eq!(site.sealed_shares(&round_id).await.unwrap(), vec![sealed_share()]);
    site.reveal(document()).await.unwrap();
    site.show_ledger(document()).await.unwrap();
    site.cosign(document()).await.unwrap();
    assert_eq!(site.round_record(&round_id).await.unwrap(), document());
    let named = site.release(&ReleaseId::new("r-1").unwrap()).await.unwrap();
    assert_eq!(named, ReleaseBundle { promotion: None, ..latest() });
    assert_eq!(site.latest_release(None).await.unwrap(), Some(latest()));
    assert_eq!(site.latest_release(Some(Digest([1; 32]))).await.unwrap(), Some(latest()));
    assert_eq!(site.latest_release(Some(KNOWN)).await.unwrap(), None, "nothing new");
    drop(site);
    world.stop().await;
}

#[tokio::test]
async fn an_update_arrives_in_chunks_and_its_receipt_comes_back() {
    let mut world = World::start(Uploads::From(0), None).await;
    world.line.notify_one();
    let mut progress = Vec::new();
    let total = u64::try_from(params().len()).unwrap();
    let site = world.client("site").await;
    let receipt = site.submit_update(opening(), params(), |durable, of| progress.push((durable, of))).await.unwrap();
    assert_eq!(receipt, document());
    assert_eq!(progress.first(), Some(&(0, total)));
    assert!(progress.is_sorted());
    assert_eq!(world.saw().await, Seen::Opened(opening()));
    for (offset, len) in [(0, CHUNK_BYTES), (CHUNK_BYTES, CHUNK_BYTES), (CHUNK_BYTES * 2, 5)] {
        assert_eq!(world.saw().await, Seen::Piece { offset: u64::try_from(offset).unwrap(), len });
    }
    assert_eq!(world.saw().await, Seen::UploadOver);
}

#[tokio::test]
async fn an_update_goes_on_where_the_coordinator_wants_it() {
    let resume = u64::try_from(CHUNK_BYTES * 2).unwrap();
    let mut world = World::start(Uploads::From(resume), None).await;
    world.line.notify_one();
    world.client("site").await.submit_update(opening(), params(), |_, _| {}).await.unwrap();
    assert_eq!(world.saw().await, Seen::Opened(opening()));
    assert_eq!(world.saw().await, Seen::Piece { offset: resume, len: 5 });
    assert_eq!(world.saw().await, Seen::UploadOver);
}

#[tokio::test]
async fn a_sender_sends_nothing_before_it_has_a_place() {
    let mut world = World::start(Uploads::From(0), None).await;
    let site = world.client("site").await;
    let sending = tokio::spawn(async move { site.submit_update(opening(), params(), |_, _| {}).await });
    assert_eq!(world.saw().await, Seen::Opened(opening()));
    // It hears more than once that it has to wait, and waits.
    tokio::time::timeout(2 * shared_wire::HEARTBEAT, world.seen.recv()).await.unwrap_err();
    world.line.notify_one();
    assert!(matches!(world.saw().await, Seen::Piece { offset: 0, .. }));
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_place_beyond_the_update_is_refused() {
    let world = World::start(Uploads::From(u64::MAX), None).await;
    world.line.notify_one();
    let refused = world.client("site").await.submit_update(opening(), params(), |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, WireError::Malformed { field: "durable_bytes", .. }), "{refused}");
}

#[tokio::test]
async fn a_broken_download_keeps_what_came_and_goes_on_from_there() {
    let world = World::start(Uploads::From(0), Some(CHUNK_BYTES + 9)).await;
    let site = world.client("site").await;
    let mut fetched = Vec::new();
    let broken = site.fetch(Digest([2; 32]), params().len(), &mut fetched).await.unwrap_err();
    assert!(broken.is_transient(), "{broken}");
    assert_eq!(fetched, params()[..CHUNK_BYTES + 9]);
    site.fetch(Digest([2; 32]), params().len(), &mut fetched).await.unwrap();
    assert_eq!(fetched, params());
}

#[tokio::test]
async fn parameters_that_are_longer_or_shorter_than_expected_are_refused() {
    let world = World::start(Uploads::From(0), None).await;
    let site = world.client("site").await;
    for wrong in [params().len() - 1, params().len() + 1] {
        let refused = site.fetch(Digest([2; 32]), wrong, &mut Vec::new()).await.unwrap_err();
        assert!(matches!(refused, WireError::Malformed { .. }), "{refused}");
    }
}

#[tokio::test]
async fn heartbeats_say_what_the_site_does_now() {
    let mut world = World::start(Uploads::From(0), None).await;
    let (clock, presence) = presence();
    let site = world.client("site").await;
    let mut views = site.watch(&task(), &presence).await.unwrap();
    assert_eq!(views.next().await.unwrap(), Some(view()));
    let Seen::Heartbeat(first) = world.saw().await else { panic!("no heartbeat") };
    assert_eq!((first.activity, first.percent, first.sent_at), (Activity::Idle, 0, clock.now()));
    presence.set(Activity::Training, 40);
    let Seen::Heartbeat(second) = world.saw().await else { panic!("no heartbeat") };
    assert_eq!((second.activity, second.percent), (Activity::Training, 40));
}

#[tokio::test]
async fn a_watcher_that_freezes_is_noticed() {
    let mut world = World::start(Uploads::From(0), None).await;
    let (url, ca) = (world.url(), world.authority.certificate_pem().to_owned());
    let credentials = world.credentials("site");
    let (over, wait) = std::sync::mpsc::channel::<()>();
    let frozen = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let watching = async {
            let site = shared_wire::client::Client::connect(&url, &ca, Some(credentials.pem())).await.unwrap();
            let mut views = site.watch(&task(), &presence().1).await.unwrap();
            views.next().await.unwrap();
            (site, views)
        };
        let _held = runtime.block_on(watching);
        // Nothing runs here any more, and nothing is closed.
        let _ = wait.recv();
    });
    let dead = loop {
        match world.saw().await {
            Seen::Heartbeat(_) => {}
            Seen::Dead(reason) => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(dead, "the other side said nothing for 3 s");
    drop(over);
    frozen.join().unwrap();
}
