//! That containment of an embedded account really contains.

use std::time::Duration;

use shared::Timestamp;
use shared::time::ManualClock;
use shared_store::{MemoryStore, SledStore};

use super::*;
use crate::testing::{asset_id, run_id};

const PASSWORD: &str = "correct horse";

fn accounts_in(store: Arc<dyn Store>, clock: &Arc<ManualClock>) -> EmbeddedAccounts {
    EmbeddedAccounts::new(store, clock.clone(), TokenKey::from_bytes(&[3; 32]), ThrottleLimits::default())
}

fn accounts() -> (EmbeddedAccounts, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let accounts = accounts_in(Arc::new(MemoryStore::default()), &clock);
    accounts.create(&reader(), PASSWORD, 3).unwrap();
    (accounts, clock)
}

fn reader() -> AssetId {
    asset_id("reader")
}

fn effect(step: u32, action: ContainmentAction) -> Effect {
    Effect { run_id: run_id("run"), step, action, target: reader() }
}

#[tokio::test]
async fn a_throttle_limits_sessions_and_queries_and_lets_go_again() {
    let (accounts, clock) = accounts();
    let session = accounts.login(&reader(), PASSWORD).unwrap();
    let throttle = effect(1, ContainmentAction::Throttle);
    let undo = accounts.capture(&throttle).await.unwrap();
    accounts.apply(&throttle).await.unwrap();
    assert!(matches!(accounts.login(&reader(), PASSWORD), Err(AccessRefused::TooManyConnections { limit: 1 })));
    assert!(accounts.query(&session).is_ok());
    assert!(matches!(accounts.query(&session), Err(AccessRefused::RateLimited { per_minute: 6 })));
    accounts.probe(&throttle, Postcondition::AccessLimited, &undo).await.unwrap();
    clock.advance(Duration::from_secs(10));
    assert!(accounts.query(&session).is_ok());
    accounts.restore(&throttle, &undo).await.unwrap();
    assert!((0..100).all(|_| accounts.query(&session).is_ok()));
    assert!(accounts.login(&reader(), PASSWORD).is_ok());
}

#[tokio::test]
async fn ended_sessions_answer_nobody_and_new_ones_can_be_opened() {
    let (accounts, _) = accounts();
    let sessions = [(); 3].map(|()| accounts.login(&reader(), PASSWORD).unwrap());
    let terminate = effect(1, ContainmentAction::TerminateSessions);
    let undo = accounts.capture(&terminate).await.unwrap();
    assert!(accounts.probe(&terminate, Postcondition::SessionsEnded, &undo).await.is_err(), "nothing ended yet");
    accounts.apply(&terminate).await.unwrap();
    accounts.probe(&terminate, Postcondition::SessionsEnded, &undo).await.unwrap();
    assert!(sessions.iter().all(|session| matches!(accounts.query(session), Err(AccessRefused::SessionEnded))));
    let fresh = accounts.login(&reader(), PASSWORD).unwrap();
    accounts.apply(&terminate).await.unwrap();
    assert!(accounts.query(&fresh).is_ok(), "a second call for the same step does nothing more");
}

#[tokio::test]
async fn a_disabled_credential_opens_nothing_and_ends_what_it_opened() {
    let (accounts, _) = accounts();
    let session = accounts.login(&reader(), PASSWORD).unwrap();
    let disable = effect(1, ContainmentAction::DisableCredential);
    let undo = accounts.capture(&disable).await.unwrap();
    assert!(accounts.probe(&disable, Postcondition::LoginRefused, &undo).await.is_err(), "not disabled yet");
    accounts.apply(&disable).await.unwrap();
    accounts.probe(&disable, Postcondition::LoginRefused, &undo).await.unwrap();
    assert!(matches!(accounts.login(&reader(), PASSWORD), Err(AccessRefused::Disabled)));
    assert!(matches!(accounts.login(&reader(), "wrong"), Err(AccessRefused::Credential)));
    assert!(matches!(accounts.query(&session), Err(AccessRefused::SessionEnded)));
    accounts.restore(&disable, &undo).await.unwrap();
    assert!(accounts.login(&reader(), PASSWORD).is_ok());
}

#[tokio::test]
async fn what_was_undone_is_not_done_again_by_somebody_with_an_old_plan() {
    let (accounts, _) = accounts();
    let disable = effect(1, ContainmentAction::DisableCredential);
    let undo = accounts.capture(&disable).await.unwrap();
    accounts.restore(&disable, &undo).await.unwrap();
    accounts.restore(&disable, &undo).await.unwrap();
    assert!(matches!(accounts.apply(&disable).await, Err(ActuatorError::Undone { .. })));
    assert!(accounts.login(&reader(), PASSWORD).is_ok());
    accounts.apply(&effect(2, ContainmentAction::DisableCredential)).await.unwrap();
    assert!(accounts.login(&reader(), PASSWORD).is_err());
}

#[tokio::test]
async fn containment_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let disable = effect(1, ContainmentAction::DisableCredential);
    let undo = {
        let accounts = accounts_in(Arc::new(SledStore::open(folder.path()).unwrap()), &clock);
        accounts.create(&reader(), PASSWORD, 3).unwrap();
        let undo = accounts.capture(&disable).await.unwrap();
        accounts.apply(&disable).await.unwrap();
        undo
    };
    let accounts = accounts_in(Arc::new(SledStore::open(folder.path()).unwrap()), &clock);
    assert!(matches!(accounts.login(&reader(), PASSWORD), Err(AccessRefused::Disabled)));
    accounts.restore(&disable, &undo).await.unwrap();
    assert!(accounts.login(&reader(), PASSWORD).is_ok());
}

#[tokio::test]
async fn what_an_account_store_cannot_do_is_said() {
    let (accounts, _) = accounts();
    let isolate = accounts.capture(&effect(1, ContainmentAction::Isolate)).await;
    assert!(matches!(isolate, Err(ActuatorError::Unsupported { action: ContainmentAction::Isolate })));
    let nobody = Effect { target: asset_id("nobody"), ..effect(1, ContainmentAction::Throttle) };
    assert!(matches!(accounts.capture(&nobody).await, Err(ActuatorError::UnknownTarget { .. })));
    let garbled = accounts.restore(&effect(1, ContainmentAction::Throttle), &Undo(json!("?"))).await;
    assert!(matches!(garbled, Err(ActuatorError::BadUndo { .. })));
}
