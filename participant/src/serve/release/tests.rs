//! Every link of a release's chain is checked, the operator's word included, and nothing is written when one does not
//! hold.

use shared::Explain;
use shared::masking::{Assurance, Element, RosterKeys, SecureAggregation};
use shared::store::StoreError;
use shared_crypto::{SigningKey, digest};
use shared_store::MemoryStore;

use super::*;
use crate::testing::{Published, accepted, operator, participant_id, round};

/// Spoils one link of a release.
type Tampering = fn(&mut Published);

fn releases(store: &Arc<MemoryStore>) -> Releases {
    Releases::new(store.clone(), Published::new(1).coordinator.public(), operator().public())
}

/// Installs on the operator's word with the number of the release's round.
fn install(releases: &Releases, published: &Published) -> Result<Installed, SiteError> {
    install_bundle(releases, published, &published.bundle())
}

fn install_bundle(releases: &Releases, published: &Published, bundle: &ReleaseBundle) -> Result<Installed, SiteError> {
    let word = releases.hear(published.promotion(published.release.round_id.number.0.into(), None))?.unwrap();
    releases.install(bundle, &word, &published.expected(&participant_id()), unlogged)
}

/// Obeys the operator's word on a release: what serves afterwards, or the code of the refusal.
fn obey(releases: &Releases, published: &Published, promotion: SignedDocument) -> Result<String, &'static str> {
    let heard = releases.hear(promotion).map_err(|error| error.code())?;
    if let Some(word) = heard {
        let installed = releases.install(&published.bundle(), &word, &published.expected(&participant_id()), unlogged);
        installed.map_err(|error| error.code())?;
    }
    Ok(serving(releases).unwrap())
}

fn unlogged(_: &Installed) -> Result<(), SiteError> {
    Ok(())
}

fn full_log(_: &Installed) -> Result<(), SiteError> {
    Err(StoreError::Engine { location: "the log".to_owned(), reason: "no storage space".to_owned() }.into())
}

fn serving(releases: &Releases) -> Option<String> {
    releases.current().unwrap().map(|installed| installed.release.release_id.to_string())
}

fn is_untouched(store: &MemoryStore) -> bool {
    [DOCUMENTS, PARAMS, promotion::OBEYED].iter().all(|tree| store.scan(tree, &[], 9).unwrap().is_empty())
}

#[test]
fn a_release_whose_chain_holds_is_installed_and_found_again() {
    let store = Arc::new(MemoryStore::default());
    assert_eq!(serving(&releases(&store)), None);
    install(&releases(&store), &Published::new(1)).unwrap();
    assert_eq!(serving(&releases(&store)).as_deref(), Some("guard-1"));
}

#[test]
fn every_broken_link_is_refused_and_nothing_is_written() {
    let tamperings: [(&str, Tampering); 11] = [
        ("signed by another key", |one| one.coordinator = SigningKey::from_seed(&[7; 32])),
        ("another task in the record", |one| one.record.task_digest = digest(b"other")),
        ("another task in the release", |one| one.release.task_digest = digest(b"other")),
        ("another task in both", |one| {
            one.record.task_digest = digest(b"other");
            one.release.task_digest = digest(b"other");
        }),
        ("another round", |one| one.release.round_id = round(9)),
        ("another candidate", |one| one.record.candidate = digest(b"other")),
        ("other parameters", |one| one.params[0] ^= 1),
        ("another feature view", |one| one.release.feature_view.digest = digest(b"other")),
        ("another model", |one| one.release.model.hidden = vec![1]),
        ("the site's update replaced", |one| {
            one.record.accepted.insert(participant_id(), accepted(digest(b"other")));
        }),
        ("the site's update left out", |one| one.record.accepted.clear()),
    ];
    for (what, tamper) in tamperings {
        let store = Arc::new(MemoryStore::default());
        let mut published = Published::new(1);
        tamper(&mut published);
        assert!(install(&releases(&store), &published).is_err(), "{what}");
        assert!(is_untouched(&store), "{what}");
    }
}

#[test]
fn a_record_that_the_release_does_not_name_is_refused() {
    let store = Arc::new(MemoryStore::default());
    let mut published = Published::new(1);
    let release = published.bundle().release;
    published.record.committed_at = shared::Timestamp::EPOCH;
    let bundle = ReleaseBundle { release, ..published.bundle() };
    let refused = install_bundle(&releases(&store), &published, &bundle);
    assert!(matches!(refused, Err(SiteError::Release(ReleaseFault::Differs { what: "the round record", .. }))));
    assert!(is_untouched(&store));
}

#[test]
fn a_body_that_was_changed_after_signing_is_refused() {
    let (store, published) = (Arc::new(MemoryStore::default()), Published::new(1));
    let changes: [fn(&mut ReleaseBundle) -> &mut SignedDocument; 2] =
        [|bundle| &mut bundle.release, |bundle| &mut bundle.record];
    for part in changes {
        let mut bundle = published.bundle();
        let document = part(&mut bundle);
        document.body = document.body.replace("2026-03-20", "2026-03-21");
        let refused = install_bundle(&releases(&store), &published, &bundle);
        assert!(matches!(refused, Err(SiteError::Crypto(_))));
        assert!(is_untouched(&store));
    }
}

#[test]
fn a_site_that_sent_nothing_takes_a_release_without_its_update() {
    let mut published = Published::new(1);
    published.record.accepted.clear();
    published.own_update = None;
    install(&releases(&Arc::new(MemoryStore::default())), &published).unwrap();
}

#[test]
fn r4_an_update_may_be_left_out_only_of_a_round_that_says_so() {
    let mut published = Published::new(1);
    published.record.accepted.clear();
    let left_out = |name: &str| {
        let left_out = [shared::ParticipantId::new(name).unwrap()].into();
        Some(Recomputation { replaces: digest(b"the round as it was committed"), left_out })
    };
    published.record.recomputed = left_out("site-9");
    let refused = install(&releases(&Arc::new(MemoryStore::default())), &published);
    assert!(matches!(refused, Err(SiteError::Release(ReleaseFault::OwnUpdateMissing))));
    published.record.recomputed = left_out(participant_id().as_str());
    install(&releases(&Arc::new(MemoryStore::default())), &published).unwrap();
}

const COHORT: [&str; 5] = ["b", "c", "d", "e", "site-1"];

fn cosigner(name: &str) -> SigningKey {
    SigningKey::from_seed(&[name.as_bytes()[0]; 32])
}

/// A release of a masked task, to serve which takes four of five sites.
fn masked() -> Published {
    let element = |key: &SigningKey| Element::from(*key.public().as_bytes());
    let keys = |name| RosterKeys { identity: element(&cosigner(name)), agreement: Element::from([1; 32]) };
    let id = |name: &str| ParticipantId::new(name).unwrap();
    let roster = COHORT.map(|name| (id(name), keys(name))).into();
    let mut published = Published::new(1);
    published.task.cohort = COHORT.map(id).into();
    published.task.secure_aggregation =
        Some(SecureAggregation { clip_norm: 1.0, value_bits: 16, assurance: Assurance::None, roster });
    published
}

/// A release with what `signers` say of the release with this digest.
fn cosigned(published: &Published, signers: &[(&str, SigningKey)], release: Option<Digest>) -> ReleaseBundle {
    let bundle = published.bundle();
    let release = release.unwrap_or_else(|| document_digest(&bundle.release));
    let sign = |(name, key): &(&str, SigningKey)| {
        let (release_id, participant_id) = (published.release.release_id.clone(), ParticipantId::new(*name).unwrap());
        key.sign(&Cosignature { release_id, release, participant_id }).unwrap()
    };
    ReleaseBundle { cosignatures: signers.iter().map(sign).collect(), ..bundle }
}

#[test]
fn a_release_from_masked_rounds_serves_once_more_than_two_thirds_have_cosigned_it() {
    let published = masked();
    let by = |names: &[&'static str]| names.iter().map(|name| (*name, cosigner(name))).collect::<Vec<_>>();
    let stolen = [by(&["b", "c", "d"]), vec![("e", cosigner("b"))]].concat();
    let other = Some(digest(b"another release"));
    let too_few = [
        ("none", cosigned(&published, &[], None)),
        ("three", cosigned(&published, &by(&["b", "c", "d"]), None)),
        ("one of them twice", cosigned(&published, &by(&["b", "c", "d", "d"]), None)),
        ("one of a stranger", cosigned(&published, &by(&["b", "c", "d", "stranger"]), None)),
        ("one with another's key", cosigned(&published, &stolen, None)),
        ("of another release", cosigned(&published, &by(&["b", "c", "d", "e"]), other)),
    ];
    for (what, bundle) in too_few {
        let store = Arc::new(MemoryStore::default());
        let refused = install_bundle(&releases(&store), &published, &bundle).unwrap_err();
        assert_eq!(refused.code(), "release-too-few-cosignatures", "{what}");
        assert!(is_untouched(&store), "{what}");
    }
    let store = Arc::new(MemoryStore::default());
    let enough = cosigned(&published, &by(&["b", "c", "d", "e"]), None);
    install_bundle(&releases(&store), &published, &enough).unwrap();
    assert_eq!(serving(&releases(&store)).as_deref(), Some("guard-1"));
}

#[test]
fn nothing_serves_that_could_not_be_logged() {
    let store = Arc::new(MemoryStore::default());
    let releases = releases(&store);
    let published = [1, 2].map(Published::new);
    let try_installing = |published: &Published, word: u64| {
        let word = releases.hear(published.promotion(word, None)).unwrap().unwrap();
        releases.install(&published.bundle(), &word, &published.expected(&participant_id()), full_log)
    };
    assert!(try_installing(&published[0], 1).is_err());
    assert!(is_untouched(&store));
    for (number, published) in (1..).zip(&published) {
        obey(&releases, published, published.promotion(number, None)).unwrap();
    }
    assert!(releases.roll_back(full_log).is_err());
    assert_eq!(serving(&releases).as_deref(), Some("guard-2"));
}

#[test]
fn rolling_back_goes_one_step_and_no_further() {
    let store = Arc::new(MemoryStore::default());
    let releases = releases(&store);
    for number in 1..=3 {
        install(&releases, &Published::new(number)).unwrap();
    }
    assert_eq!(releases.roll_back(unlogged).unwrap().release.release_id.as_str(), "guard-2");
    assert_eq!(serving(&releases).as_deref(), Some("guard-2"));
    let refused = releases.roll_back(unlogged);
    assert!(matches!(refused, Err(SiteError::Release(ReleaseFault::NothingBefore))));
}

#[test]
fn installing_the_same_release_again_keeps_the_one_before_it() {
    let releases = releases(&Arc::new(MemoryStore::default()));
    let [first, second] = [1, 2].map(Published::new);
    for (number, published) in [(1, &first), (2, &second), (3, &second)] {
        obey(&releases, published, published.promotion(number, None)).unwrap();
    }
    assert_eq!(releases.roll_back(unlogged).unwrap().release.release_id.as_str(), "guard-1");
}

#[test]
fn only_a_newer_word_of_the_operator_moves_a_site() {
    let store = Arc::new(MemoryStore::default());
    let releases = releases(&store);
    let [first, second] = [1, 2].map(Published::new);
    let forged = |promotion: SignedDocument| {
        let word: shared::release::Promotion = canonical::decode(promotion.body.as_bytes()).unwrap();
        SigningKey::from_seed(&[9; 32]).sign(&word).unwrap()
    };
    let wrong_key = obey(&releases, &first, forged(first.promotion(1, None)));
    assert_eq!(wrong_key, Err("crypto-wrong-signer"));
    assert_eq!(obey(&releases, &first, second.promotion(1, None)), Err("release-differs"));
    assert!(is_untouched(&store));
    assert_eq!(obey(&releases, &second, second.promotion(5, None)).unwrap(), "guard-2");
    for number in [1, 4, 5] {
        let back = Some(second.release.release_id.clone());
        assert_eq!(obey(&releases, &first, first.promotion(number, back)), Err("release-promotion-replayed"));
    }
    assert_eq!(obey(&releases, &second, second.promotion(5, None)).unwrap(), "guard-2", "nothing new");
    assert_eq!(serving(&releases).as_deref(), Some("guard-2"));
    assert_eq!(obey(&releases, &first, first.promotion(6, None)).unwrap(), "guard-1");
}

#[test]
fn a_site_goes_back_on_the_operators_word_and_not_forward_again_by_itself() {
    let releases = releases(&Arc::new(MemoryStore::default()));
    let [first, second] = [1, 2].map(Published::new);
    obey(&releases, &first, first.promotion(1, None)).unwrap();
    obey(&releases, &second, second.promotion(2, None)).unwrap();
    let back = first.promotion(3, Some(second.release.release_id.clone()));
    assert_eq!(obey(&releases, &first, back).unwrap(), "guard-1");
    assert!(matches!(releases.roll_back(unlogged), Err(SiteError::Release(ReleaseFault::NothingBefore))));
}

#[test]
fn a_site_that_went_back_by_itself_stays_there_until_the_next_word() {
    let releases = releases(&Arc::new(MemoryStore::default()));
    let [first, second, third] = [1, 2, 3].map(Published::new);
    obey(&releases, &first, first.promotion(1, None)).unwrap();
    obey(&releases, &second, second.promotion(2, None)).unwrap();
    releases.roll_back(unlogged).unwrap();
    assert_eq!(obey(&releases, &second, second.promotion(2, None)).unwrap(), "guard-1");
    assert_eq!(obey(&releases, &third, third.promotion(3, None)).unwrap(), "guard-3");
}

#[test]
fn another_operator_counts_its_words_anew() {
    let store = Arc::new(MemoryStore::default());
    let published = Published::new(1);
    obey(&releases(&store), &published, published.promotion(9, None)).unwrap();
    let other = SigningKey::from_seed(&[8; 32]);
    let elsewhere = Releases::new(store.clone(), published.coordinator.public(), other.public());
    let word: shared::release::Promotion = canonical::decode(published.promotion(1, None).body.as_bytes()).unwrap();
    assert!(elsewhere.hear(other.sign(&word).unwrap()).unwrap().is_some());
}

#[test]
fn of_two_words_obeyed_at_once_one_is_refused() {
    let releases = releases(&Arc::new(MemoryStore::default()));
    let [first, second] = [1, 2].map(Published::new);
    let [older, newer] = [(&first, 1), (&second, 2)]
        .map(|(published, number)| releases.hear(published.promotion(number, None)).unwrap().unwrap());
    releases.install(&second.bundle(), &newer, &second.expected(&participant_id()), unlogged).unwrap();
    let late = releases.install(&first.bundle(), &older, &first.expected(&participant_id()), unlogged);
    assert!(matches!(late, Err(SiteError::Store(_))));
    assert_eq!(serving(&releases).as_deref(), Some("guard-2"));
}

#[test]
fn parameters_that_were_damaged_on_disk_do_not_serve() {
    let store = Arc::new(MemoryStore::default());
    install(&releases(&store), &Published::new(1)).unwrap();
    let mut params = Published::new(1).params;
    params[5] ^= 1;
    store.apply(Batch::new().put(Key::new(PARAMS, CURRENT), params)).unwrap();
    assert!(matches!(releases(&store).current(), Err(SiteError::Release(ReleaseFault::Differs { .. }))));
    store.apply(Batch::new().delete(Key::new(PARAMS, CURRENT))).unwrap();
    assert!(releases(&store).current().is_err());
}
