//! A spent budget stays spent, nothing is charged that is not durable, and a ledger that is not the newest is found out.

use proptest::prelude::*;
use shared::RoundNumber;
use shared::store::StoreError;
use shared_privacy::PrivacyError;
use shared_store::MemoryStore;

use super::chain::TREE;
use super::*;
use crate::testing::{FailingStore, keeping};

const BUDGET: Budget = Budget { epsilon: 1.0, delta: Some(1e-5) };
const COST: Mechanism = Mechanism::ZeroConcentrated { rho: 0.005 };
const RECORD: PrivacyUnit = PrivacyUnit::Record;

/// A store in memory, and the folder of the counter.
struct Bench {
    store: Arc<dyn Store>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::default()), folder: tempfile::tempdir().unwrap() }
    }

    fn keeping(&self) -> Keeping {
        keeping(&self.store, self.folder.path())
    }

    fn open(&self) -> Result<PrivacyLedger, SiteError> {
        PrivacyLedger::open(self.keeping(), &BUDGET)
    }

    /// Makes debits for these rounds.
    fn debit(&self, rounds: std::ops::Range<u32>) {
        let ledger = self.open().unwrap();
        for number in rounds {
            ledger.debit(COST, RECORD, Purpose::Training(&round("guard", number))).unwrap();
        }
    }

    /// Everything in the store.
    fn backup(&self) -> Vec<(Key, Vec<u8>)> {
        const TREES: [&str; 6] = [TREE, DELTA, "privacy-ledger-audited", "audit-entry", "audit-hash", "audit-head"];
        let entries = |tree| {
            self.store.scan(tree, &[], usize::MAX).unwrap().into_iter().map(move |(k, v)| (Key::new(tree, k), v))
        };
        TREES.into_iter().flat_map(entries).collect()
    }

    /// Takes the store, or one tree of it, back to a backup; the counter's file stays.
    fn restore(&self, backup: &[(Key, Vec<u8>)], only: Option<&str>) {
        let wanted = |key: &Key| only.is_none_or(|tree| key.tree == tree);
        let now = self.backup().into_iter().map(|(key, _)| key).filter(wanted);
        let emptied = now.fold(Batch::new(), Batch::delete);
        let kept = backup.iter().filter(|(key, _)| wanted(key));
        let restored = kept.fold(emptied, |batch, (key, value)| batch.put(key.clone(), value.clone()));
        self.store.apply(restored).unwrap();
    }

    fn refused(&self) -> &'static str {
        use shared::Explain;
        self.open().err().map_or("opened", |error| error.code())
    }
}

fn round(task: &str, number: u32) -> RoundId {
    RoundId { task_id: TaskId::new(task).unwrap(), number: RoundNumber(number) }
}

fn is_over_budget(refused: &Result<Debit, SiteError>) -> bool {
    matches!(refused, Err(SiteError::Privacy(PrivacyError::BudgetExceeded { .. })))
}

#[test]
fn what_exceeds_the_budget_is_refused_and_stays_refused_after_a_restart() {
    let bench = Bench::new();
    let ledger = bench.open().unwrap();
    let fitting = ledger.forecast(&COST).unwrap();
    bench.debit(1..u32::try_from(fitting + 1).unwrap());
    let ledger = bench.open().unwrap();
    let spent = ledger.spent().unwrap();
    assert!((1..40).contains(&fitting) && spent.epsilon <= BUDGET.epsilon, "{fitting} debits cost {spent:?}");
    for ledger in [&ledger, &bench.open().unwrap()] {
        assert!(is_over_budget(&ledger.debit(COST, RECORD, Purpose::Training(&round("other", 1)))));
        assert_eq!((ledger.spent().unwrap(), ledger.debits().len()), (spent, usize::try_from(fitting).unwrap()));
    }
}

#[test]
fn a_debit_that_was_tampered_with_is_refused_at_open() {
    let bench = Bench::new();
    bench.debit(1..2);
    let (key, bytes) = bench.store.scan(TREE, &[], 1).unwrap().remove(0);
    let cheaper = String::from_utf8(bytes).unwrap().replace("0.005", "0.001");
    bench.store.apply(Batch::new().put(Key::new(TREE, key), cheaper)).unwrap();
    assert_eq!(bench.refused(), "crypto-signature");
}

#[test]
fn a_debit_of_somebody_else_is_refused_at_open() {
    let bench = Bench::new();
    bench.debit(1..2);
    let debit = bench.open().unwrap().debits().remove(0);
    let forged = SigningKey::from_seed(&[2; 32]).sign(&debit).unwrap();
    let key = Key::new(TREE, debit.sequence.to_be_bytes());
    bench.store.apply(Batch::new().put(key, canonical::encode(&forged).unwrap())).unwrap();
    assert_eq!(bench.refused(), "crypto-wrong-signer");
}

#[test]
fn a_gap_or_another_debit_in_the_middle_breaks_the_chain_even_if_this_site_signed_it() {
    let bench = Bench::new();
    bench.debit(1..4);
    let key = Key::new(TREE, 2_u64.to_be_bytes());
    let second = bench.open().unwrap().debits().remove(1);
    let cheaper = Debit { mechanism: Some(Mechanism::ZeroConcentrated { rho: 1e-6 }), ..second };
    let signed = SigningKey::from_seed(&[1; 32]).sign(&cheaper).unwrap();
    bench.store.apply(Batch::new().put(key.clone(), canonical::encode(&signed).unwrap())).unwrap();
    assert_eq!(bench.refused(), "ledger-broken");
    bench.store.apply(Batch::new().delete(key)).unwrap();
    assert_eq!(bench.refused(), "ledger-broken");
}

#[test]
fn p1_a_ledger_that_was_rolled_back_without_its_counter_or_its_audit_log_is_refused_at_open() {
    let bench = Bench::new();
    bench.debit(1..3);
    let (backup, counter) = (bench.backup(), std::fs::read(bench.keeping().counter_file).unwrap());
    bench.debit(3..5);
    bench.restore(&backup, None);
    assert_eq!(bench.refused(), "ledger-rolled-back", "the counter tells");
    std::fs::remove_file(bench.keeping().counter_file).unwrap();
    assert_eq!(bench.refused(), "ledger-counter-missing");
    std::fs::write(bench.keeping().counter_file, b"{}").unwrap();
    assert_eq!(bench.refused(), "ledger-counter-damaged");
    std::fs::write(bench.keeping().counter_file, &counter).unwrap();
    assert_eq!(bench.refused(), "opened", "all of it together was rolled back: only the coordinator can tell");

    bench.debit(3..5);
    bench.restore(&backup, Some(TREE));
    std::fs::write(bench.keeping().counter_file, counter).unwrap();
    assert_eq!(bench.refused(), "ledger-rolled-back", "the audit log tells");
}

#[test]
fn p1_a_ledger_that_went_another_way_since_its_backup_is_refused_as_forked() {
    let bench = Bench::new();
    bench.debit(1..3);
    let (backup, before) = (bench.backup(), std::fs::read(bench.keeping().counter_file).unwrap());
    bench.debit(3..5);
    let later = std::fs::read(bench.keeping().counter_file).unwrap();
    bench.restore(&backup, None);
    std::fs::write(bench.keeping().counter_file, before).unwrap();
    bench.debit(7..10);
    std::fs::write(bench.keeping().counter_file, later).unwrap();
    assert_eq!(bench.refused(), "ledger-forked");
}

#[test]
fn p1_adopting_what_was_lost_spends_everything_and_every_witness_agrees_again() {
    let bench = Bench::new();
    bench.debit(1..3);
    let backup = bench.backup();
    bench.debit(3..6);
    for only in [None, Some(TREE)] {
        bench.restore(&backup, only);
        assert_eq!(bench.refused(), "ledger-rolled-back");
        let told = adopt(&bench.keeping(), 0, true).unwrap();
        assert_eq!(bench.refused(), "ledger-rolled-back", "a dry run changes nothing");
        let adopted = adopt(&bench.keeping(), 0, false).unwrap();
        assert_eq!((adopted.sequence, adopted.mechanism, adopted), (6, None, told));
        let ledger = bench.open().unwrap();
        assert_eq!((ledger.verify().unwrap().debits, ledger.spent().unwrap().epsilon), (6, f64::INFINITY));
        assert!(is_over_budget(&ledger.debit(COST, RECORD, Purpose::Training(&round("guard", 9)))));
        std::fs::remove_file(bench.keeping().counter_file).unwrap();
        bench.restore(&[], None);
        bench.debit(1..3);
        bench.debit(3..6);
    }
    assert_eq!(adopt(&bench.keeping(), 70, false).unwrap().sequence, 71, "the coordinator knows of 70");
    bench.open().unwrap().verify().unwrap();
}

#[test]
fn p1_whatever_a_crash_leaves_behind_is_brought_up_at_the_next_open() {
    let bench = Bench::new();
    bench.debit(1..3);
    let counter = std::fs::read(bench.keeping().counter_file).unwrap();
    let (entries, keeping) = (bench.keeping().journal.log().size(), bench.keeping());
    let mut chain = keeping.chain().unwrap();
    let lost = Debit { sequence: 3, previous: chain.head.head, ..chain.debits[1].clone() };
    chain.append(lost, keeping.store.as_ref(), &keeping.identity).unwrap();
    let ledger = bench.open().unwrap();
    assert_eq!((ledger.verify().unwrap().debits, bench.keeping().journal.log().size()), (3, entries + 1));
    assert_ne!(std::fs::read(bench.keeping().counter_file).unwrap(), counter);
}

#[test]
fn a_write_that_fails_charges_nothing() {
    let bench = Bench::new();
    let store = Arc::new(FailingStore::new(Arc::clone(&bench.store)));
    let ledger = PrivacyLedger::open(Keeping { store: store.clone(), ..bench.keeping() }, &BUDGET).unwrap();
    store.fail(true);
    let (first, second) = (round("guard", 1), round("guard", 2));
    let refused = ledger.debit(COST, RECORD, Purpose::Training(&first));
    assert!(matches!(refused, Err(SiteError::Store(StoreError::Engine { .. }))));
    assert_eq!(ledger.spent().unwrap().epsilon, 0.0);
    store.fail(false);
    assert_eq!(ledger.debit(COST, RECORD, Purpose::Training(&second)).unwrap().sequence, 1);
}

#[test]
fn p1_a_counter_that_cannot_be_written_stops_the_noise_and_leaves_the_debit() {
    let bench = Bench::new();
    let ledger = bench.open().unwrap();
    let path = bench.keeping().counter_file;
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let refused = ledger.debit(COST, RECORD, Purpose::Training(&round("guard", 1)));
    assert!(matches!(refused, Err(SiteError::Io { doing: "write", .. })), "{refused:?}");
    assert_eq!((ledger.debits().len(), ledger.head().debits), (1, 1), "what may have been seen is charged");
    std::fs::remove_dir(&path).unwrap();
    ledger.debit(COST, RECORD, Purpose::Training(&round("guard", 2))).unwrap();
    assert_eq!(ledger.verify().unwrap().debits, 2);
}

#[test]
fn a_disowned_ledger_spends_nothing() {
    let bench = Bench::new();
    let ledger = bench.open().unwrap();
    ledger.disown("it has shown debit 7 before".to_owned());
    let refused = ledger.debit(COST, RECORD, Purpose::Training(&round("guard", 1)));
    assert!(matches!(refused, Err(SiteError::Ledger(LedgerFault::Disowned(_)))));
    assert!(ledger.admit(&COST).is_err() && ledger.debits().is_empty());
}

#[test]
fn a_second_ledger_on_the_same_store_is_refused_instead_of_hiding_a_debit() {
    let bench = Bench::new();
    let (first, second) = (bench.open().unwrap(), bench.open().unwrap());
    first.debit(COST, RECORD, Purpose::Training(&round("guard", 1))).unwrap();
    let refused = second.debit(COST, RECORD, Purpose::Training(&round("guard", 1)));
    assert!(matches!(refused, Err(SiteError::Store(StoreError::Conflict { .. }))));
    assert_eq!(bench.open().unwrap().debits().len(), 1);
}

#[test]
fn the_costs_of_a_task_are_its_own_trainings_and_evaluations_alone() {
    let bench = Bench::new();
    let ledger = bench.open().unwrap();
    let counts = Mechanism::ZeroConcentrated { rho: 0.001 };
    let by_entity = PrivacyUnit::Entity { max_records: 3 };
    ledger.debit(COST, RECORD, Purpose::Training(&round("guard", 1))).unwrap();
    ledger.debit(counts, RECORD, Purpose::Evaluation(&round("guard", 1))).unwrap();
    ledger.debit(COST, by_entity, Purpose::Training(&round("guard-2", 1))).unwrap();
    ledger.debit(COST, RECORD, Purpose::Training(&round("rd", 1))).unwrap();
    let costs = |task: &str| ledger.costs_of(&TaskId::new(task).unwrap());
    assert_eq!((costs("guard"), costs("rd"), costs("round")), (vec![COST, counts], vec![COST], vec![]));
    let (spent, all) = (ledger.spent().unwrap().epsilon, ledger.after(&[COST]).unwrap().epsilon);
    assert!(all > spent);
    let statement = ledger.statement().unwrap();
    let parts: Vec<_> = statement.parts.iter().map(|part| (part.unit, part.debits)).collect();
    assert_eq!(parts, [("entity", 1), ("record", 3)]);
    assert!(statement.parts.iter().all(|part| part.epsilon > 0.0 && part.epsilon < spent));
    assert!((statement.left - (1.0 - spent)).abs() < 1e-12);
}

#[test]
fn a_derived_delta_only_ever_shrinks_and_an_explicit_one_stays() {
    let bench = Bench::new();
    let derived = Budget { epsilon: 1.0, delta: None };
    let ledger = PrivacyLedger::open(bench.keeping(), &derived).unwrap();
    for (records, delta) in [(10, 1e-6), (1_000_000, 1e-7), (10, 1e-7), (2_000_000, 5e-8), (0, 5e-8)] {
        ledger.fit_delta(records).unwrap();
        assert!((ledger.budget().delta / delta - 1.0).abs() < 1e-12, "{records}: {}", ledger.budget().delta);
    }
    let reopened = PrivacyLedger::open(bench.keeping(), &derived).unwrap();
    assert_eq!(reopened.budget(), ledger.budget());
    let explicit = bench.open().unwrap();
    explicit.fit_delta(1_000_000).unwrap();
    assert_eq!(explicit.budget().delta, 1e-5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Debits, crashes and backups in any order: what opens knows every debit that was made since the state it has.
    #[test]
    fn no_schedule_of_debits_and_restored_stores_opens_a_ledger_that_forgot(
        schedule in prop::collection::vec((0_u8..3, any::<prop::sample::Index>()), 1..12)
    ) {
        let bench = Bench::new();
        let (mut backups, mut made) = (vec![(0, bench.backup())], 0);
        for (step, (what, which)) in (1..).zip(schedule) {
            match what {
                0 => backups.push((made, bench.backup())),
                1 => if let Ok(ledger) = bench.open() {
                    let cheap = Mechanism::ZeroConcentrated { rho: 1e-5 };
                    ledger.debit(cheap, RECORD, Purpose::Training(&round("guard", step))).unwrap();
                    made += 1;
                }
                _ => {
                    let (held, backup) = &backups[which.index(backups.len())];
                    bench.restore(backup, None);
                    prop_assert_eq!(bench.open().is_ok(), *held == made);
                    let newest = backups.iter().rev().find(|(held, _)| *held == made).map(|(_, backup)| backup);
                    match newest {
                        Some(newest) => bench.restore(newest, None),
                        None => { adopt(&bench.keeping(), 0, false).unwrap(); break; }
                    }
                }
            }
        }
        let ledger = bench.open().unwrap();
        prop_assert!(ledger.head().debits >= made);
        ledger.verify().unwrap();
    }
}
