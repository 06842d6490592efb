//! Each reason to stay away from a task, and that a task within the conditions is admitted.

use std::sync::Arc;

use policy_as_code::PolicyError;
use policy_as_code::repository::Repository;
use shared::store::Store;
use shared::{Digest, RoundId, RoundNumber, TaskId};
use shared_crypto::SigningKey;
use shared_store::MemoryStore;

use super::*;
use crate::config::Budget;
use crate::ledger::Purpose;
use crate::testing::{keeping, shared_noise_task, shipped_policies, task};

/// A ledger with this budget, and the folder of its counter.
struct Books {
    ledger: PrivacyLedger,
    _folder: tempfile::TempDir,
}

fn ledger(epsilon: f64) -> Books {
    let (store, folder): (Arc<dyn Store>, _) = (Arc::new(MemoryStore::default()), tempfile::tempdir().unwrap());
    let budget = Budget { epsilon, delta: Some(1e-5) };
    let ledger = PrivacyLedger::open(keeping(&store, folder.path()), &budget).unwrap();
    Books { ledger, _folder: folder }
}

fn conditions() -> AdmissionConfig {
    AdmissionConfig { max_epsilon: 8.0, ..AdmissionConfig::default() }
}

fn ask(task: &Task, limits: &AdmissionConfig, books: &Books) -> Result<Permission, SiteError> {
    let sources = BTreeSet::from(["postgres".to_owned()]);
    let (ledger, privacy) = (&books.ledger, &PrivacyConfig::default());
    let terms = Terms { limits, policies: None, encodings: &EncodingKind::ALL, ledger, privacy, sources: &sources };
    admit(task, &operator(), &terms)
}

fn operator() -> PublicKey {
    SigningKey::from_seed(&[2; 32]).public()
}

fn refusal(task: &Task, conditions: &AdmissionConfig) -> Refusal {
    match ask(task, conditions, &ledger(8.0)) {
        Err(SiteError::Admission(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn cost(task: &Task) -> f64 {
    accountant::epsilon(&task.cost().unwrap(), 1e-5).unwrap()
}

#[test]
fn a_task_within_all_limits_is_admitted() {
    ask(&task(), &conditions(), &ledger(8.0)).unwrap();
}

#[test]
fn a_task_that_nobody_can_run_is_refused() {
    let mut senseless = task();
    senseless.rounds = 0;
    assert!(matches!(ask(&senseless, &conditions(), &ledger(8.0)), Err(SiteError::Task(_))));
}

#[test]
fn a_task_without_noise_is_refused() {
    let mut noiseless = task();
    noiseless.recipe.noise_multiplier = None;
    assert_eq!(refusal(&noiseless, &conditions()), Refusal::NoNoise);
}

#[test]
fn a_task_above_its_own_ceiling_or_the_sites_is_refused() {
    let (mut above_own, cost) = (task(), cost(&task()));
    above_own.privacy.ceiling.epsilon = cost * 0.99;
    let refused = refusal(&above_own, &conditions());
    assert!(matches!(refused, Refusal::TooExpensive { whose: "the task", .. }), "{refused}");
    for max_epsilon in [cost * 0.99, 0.0, f64::NAN] {
        let refused = refusal(&task(), &AdmissionConfig { max_epsilon, ..conditions() });
        assert!(matches!(refused, Refusal::TooExpensive { whose: "this site", .. }), "{refused}");
    }
    ask(&task(), &AdmissionConfig { max_epsilon: cost, ..conditions() }, &ledger(8.0)).unwrap();
}

#[test]
fn a_lax_delta_does_not_make_a_task_cheaper_for_the_site() {
    let mut lax = task();
    lax.privacy.ceiling.delta = 0.5;
    let conditions = AdmissionConfig { max_epsilon: cost(&lax) * 0.99, ..conditions() };
    assert!(matches!(refusal(&lax, &conditions), Refusal::TooExpensive { whose: "this site", .. }));
}

#[test]
fn a_task_that_the_rest_of_the_budget_does_not_hold_is_refused_evaluations_included() {
    let ledger = ledger(cost(&task()) * 1.01);
    ask(&task(), &conditions(), &ledger).unwrap();
    let mut chatty = task();
    chatty.privacy.evaluation_rho = 0.05;
    let refused = ask(&chatty, &conditions(), &ledger);
    assert!(matches!(refused, Err(SiteError::Admission(Refusal::BudgetTooSmall { .. }))), "{refused:?}");
    let round_id = RoundId { task_id: TaskId::new("other").unwrap(), number: RoundNumber(1) };
    let counts = Mechanism::ZeroConcentrated { rho: 0.01 };
    ledger.ledger.debit(counts, PrivacyUnit::Record, Purpose::Training(&round_id)).unwrap();
    let refused = ask(&task(), &conditions(), &ledger);
    assert!(matches!(refused, Err(SiteError::Admission(Refusal::BudgetTooSmall { .. }))), "{refused:?}");
}

#[test]
fn a_task_for_other_features_or_another_width_is_refused() {
    let mut other = task();
    other.feature_view.digest = Digest([0; 32]);
    assert!(matches!(refusal(&other, &conditions()), Refusal::OtherFeatures { .. }));
    let mut narrow = task();
    narrow.model.inputs -= 1;
    assert!(matches!(refusal(&narrow, &conditions()), Refusal::OtherWidth { .. }));
}

#[test]
fn a_model_that_is_too_large_is_refused() {
    let found = task().model.param_count();
    let refused = refusal(&task(), &AdmissionConfig { max_params: found - 1, ..conditions() });
    assert_eq!(refused, Refusal::ModelTooLarge { found, limit: found - 1 });
}

#[test]
fn the_shipped_policy_admits_and_says_by_what() {
    let permission = ask(&task(), &conditions(), &ledger(8.0)).unwrap();
    assert_eq!(permission.policies, ["admit.private-task"]);
}

#[test]
fn a_task_whose_encodings_the_site_does_not_take_is_refused() {
    let (books, sources, limits) = (ledger(8.0), BTreeSet::new(), conditions());
    let (ledger, privacy) = (&books.ledger, &PrivacyConfig::default());
    let encodings = &[EncodingKind::Int4];
    let terms = Terms { limits: &limits, policies: None, encodings, ledger, privacy, sources: &sources };
    let refused = admit(&task(), &operator(), &terms);
    assert!(matches!(refused, Err(SiteError::Admission(Refusal::NoEncoding))), "{refused:?}");
}

#[test]
fn a_site_that_protects_principals_stays_away_from_tasks_that_protect_single_records() {
    let (books, sources, limits) = (ledger(8.0), BTreeSet::from(["postgres".to_owned()]), conditions());
    let privacy = PrivacyConfig { unit: Protected::Entity, ..PrivacyConfig::default() };
    let (ledger, privacy) = (&books.ledger, &privacy);
    let encodings = &EncodingKind::ALL;
    let terms = Terms { limits: &limits, policies: None, encodings, ledger, privacy, sources: &sources };
    let refused = admit(&task(), &operator(), &terms);
    assert!(matches!(refused, Err(SiteError::Admission(Refusal::WeakerUnit))), "{refused:?}");
    let mut by_entity = task();
    by_entity.privacy.unit = PrivacyUnit::Entity { max_records: 4 };
    admit(&by_entity, &operator(), &terms).unwrap();
    by_entity.privacy.unit = PrivacyUnit::Entity { max_records: 0 };
    assert!(matches!(admit(&by_entity, &operator(), &terms), Err(SiteError::Task(_))));
}

#[test]
fn a_site_takes_part_in_a_task_whose_noise_is_shared_only_where_it_said_so() {
    let (books, sources, limits) = (ledger(8.0), BTreeSet::from(["postgres".to_owned()]), conditions());
    let asked = |shared_noise| {
        let privacy = PrivacyConfig { shared_noise, ..PrivacyConfig::default() };
        let (ledger, privacy) = (&books.ledger, &privacy);
        let encodings = &EncodingKind::ALL;
        let terms = Terms { limits: &limits, policies: None, encodings, ledger, privacy, sources: &sources };
        admit(&shared_noise_task(&["site-1", "b", "c"]), &operator(), &terms)
    };
    assert!(!PrivacyConfig::default().shared_noise);
    let refused = asked(false).unwrap_err();
    assert!(matches!(refused, SiteError::Admission(Refusal::SharedNoise)), "{refused:?}");
    assert_eq!(refused.code(), "admission-shared-noise");
    asked(true).unwrap();
}

/// The shipped policies, but with these in place of those that admit.
fn with_policy(policies: &str) -> Result<Engine, PolicyError> {
    let shipped = shipped_policies();
    let others = shipped.files().filter(|(path, _)| *path != "governance/10-tasks.cedar");
    let files = others.map(|(path, text)| (path.to_owned(), text.clone()));
    let own = ("governance/site.cedar".to_owned(), policies.to_owned());
    Engine::new(&Repository::from_files(files.chain([own])), None)
}

/// What the site answers by these policies of its own.
fn ask_with(policies: &str, limits: &AdmissionConfig) -> Result<Permission, SiteError> {
    let (engine, books, sources) = (with_policy(policies)?, ledger(8.0), BTreeSet::from(["postgres".to_owned()]));
    let (ledger, privacy) = (&books.ledger, &PrivacyConfig::default());
    let encodings = &EncodingKind::ALL;
    let terms = Terms { limits, policies: Some(&engine), encodings, ledger, privacy, sources: &sources };
    admit(&task(), &operator(), &terms)
}

#[test]
fn the_sites_own_policy_refuses_by_name_and_reason() {
    let permit = r#"@id("yes") permit(principal, action, resource);"#;
    let cases = [
        (
            format!(
                r#"{permit} @id("site.no-postgres") @reason("customer data stays out of training")
                forbid(principal, action == Ringfence::Action::"admit", resource) when {{ resource.sources.contains("postgres") }};"#
            ),
            "`site.no-postgres`, since customer data stays out of training",
        ),
        (format!(r#"{permit} @id("no") forbid(principal, action, resource);"#), "`no`"),
        (String::new(), "no policy permits it"),
        (
            r#"@id("one") permit(principal == Ringfence::Operator::"ab", action, resource);"#.to_owned(),
            "no policy permits it",
        ),
        (
            format!(
                r#"{permit} @id("sum") forbid(principal, action == Ringfence::Action::"admit", resource)
                when {{ resource.rounds * 9223372036854775807 * 2 > 0 }};"#
            ),
            "it cannot be evaluated",
        ),
    ];
    for (policies, expected) in cases {
        match ask_with(&policies, &conditions()) {
            Err(SiteError::Admission(Refusal::Policy { by })) => assert!(by.starts_with(expected), "{by}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn policies_that_do_not_load_admit_nothing() {
    assert!(matches!(ask_with("permit(", &conditions()), Err(SiteError::Policy(_))));
}

#[test]
fn no_policy_lifts_a_limit() {
    let lax = r#"@id("yes") permit(principal, action, resource);"#;
    assert_eq!(ask_with(lax, &conditions()).unwrap().policies, ["yes"]);
    let strict = AdmissionConfig { max_epsilon: 0.0, ..conditions() };
    let refused = ask_with(lax, &strict);
    assert!(matches!(refused, Err(SiteError::Admission(Refusal::TooExpensive { .. }))), "{refused:?}");
}
