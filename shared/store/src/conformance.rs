//! What every engine must do, as one suite. An engine's own tests hold only what is particular to it.

#![expect(clippy::expect_used, reason = "a test suite; it is a library so that every engine can run it")]

use std::thread;

use shared::store::{Batch, Key, MAX_KEY, Store, StoreError};

const THREADS: u32 = 8;
const ROUNDS: u32 = 25;

/// Runs the suite against a store that is empty.
///
/// # Panics
/// When the store breaks the contract of [`Store`].
pub fn check(store: &dyn Store) {
    what_is_written_is_read_until_it_is_deleted(store);
    trees_do_not_see_each_other(store);
    a_scan_is_ordered_bounded_and_keeps_to_its_prefix(store);
    a_batch_whose_expectation_fails_changes_nothing(store);
    of_several_writes_to_one_key_the_last_counts(store);
    megabytes_fit_in_a_value_and_leave_with_it(store);
    keys_beyond_the_limit_are_refused(store);
    of_concurrent_claims_exactly_one_wins(store);
    no_concurrent_increment_is_lost(store);
    a_reader_never_sees_half_a_batch(store);
}

fn get(store: &dyn Store, key: &Key) -> Option<Vec<u8>> {
    store.get(key).expect("the store reads")
}

fn apply(store: &dyn Store, batch: Batch) {
    store.apply(batch).expect("the batch applies");
}

fn keys(store: &dyn Store, tree: &'static str, prefix: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let entries = store.scan(tree, prefix, limit).expect("the store scans");
    entries.into_iter().map(|(key, _)| key).collect()
}

fn what_is_written_is_read_until_it_is_deleted(store: &dyn Store) {
    let key = Key::new("life", "k");
    assert_eq!(get(store, &key), None);
    for value in [b"".as_slice(), b"value", b"\0\x01\xff"] {
        apply(store, Batch::new().put(key.clone(), value));
        assert_eq!(get(store, &key).as_deref(), Some(value));
    }
    apply(store, Batch::new().delete(key.clone()));
    assert_eq!(get(store, &key), None);
    apply(store, Batch::new().delete(key));
}

fn trees_do_not_see_each_other(store: &dyn Store) {
    let (one, two) = (Key::new("apart", "k"), Key::new("apart-two", "k"));
    apply(store, Batch::new().put(one.clone(), "1").put(two.clone(), "2"));
    assert_eq!(get(store, &one).as_deref(), Some(b"1".as_slice()));
    assert_eq!(get(store, &two).as_deref(), Some(b"2".as_slice()));
    assert_eq!(keys(store, "apart", b"", 9), [b"k"]);
}

fn a_scan_is_ordered_bounded_and_keeps_to_its_prefix(store: &dyn Store) {
    let written = [b"b".as_slice(), b"a\xff\xff", b"a", b"a\0", b"a\xff", b"", b"ab"];
    let batch = written.iter().fold(Batch::new(), |batch, key| batch.put(Key::new("scan", *key), *key));
    apply(store, batch);
    assert_eq!(keys(store, "scan", b"", 99), [b"".as_slice(), b"a", b"a\0", b"ab", b"a\xff", b"a\xff\xff", b"b"]);
    assert_eq!(keys(store, "scan", b"a\xff", 99), [b"a\xff".as_slice(), b"a\xff\xff"]);
    assert_eq!(keys(store, "scan", b"a", 2), [b"a".as_slice(), b"a\0"]);
    assert!(keys(store, "scan", b"a", 0).is_empty());
    let entries = store.scan("scan", b"", 99).expect("the store scans");
    assert!(entries.iter().all(|(key, value)| key == value));
}

fn a_batch_whose_expectation_fails_changes_nothing(store: &dyn Store) {
    let (held, written) = (Key::new("expect", "held"), Key::new("expect-written", "k"));
    apply(store, Batch::new().expect_absent(held.clone()).put(held.clone(), "1"));
    let failing = [
        Batch::new().expect_absent(held.clone()),
        Batch::new().expect(held.clone(), "2"),
        Batch::new().expect(held.clone(), "1").expect(Key::new("expect", "absent"), ""),
    ];
    for batch in failing {
        let refused = store.apply(batch.put(written.clone(), "x").delete(held.clone()));
        assert!(matches!(refused, Err(StoreError::Conflict { tree: "expect" })), "{refused:?}");
        assert_eq!(get(store, &written), None);
        assert_eq!(get(store, &held).as_deref(), Some(b"1".as_slice()));
    }
    apply(store, Batch::new().expect(held.clone(), "1").delete(held.clone()));
    assert_eq!(get(store, &held), None);
}

fn of_several_writes_to_one_key_the_last_counts(store: &dyn Store) {
    let key = Key::new("last", "k");
    apply(store, Batch::new().put(key.clone(), "1").delete(key.clone()).put(key.clone(), "2"));
    assert_eq!(get(store, &key).as_deref(), Some(b"2".as_slice()));
    apply(store, Batch::new().put(key.clone(), "3").delete(key.clone()));
    assert_eq!(get(store, &key), None);
}

/// As large as the parameters of a model of a million weights, and changed as such a value is.
fn megabytes_fit_in_a_value_and_leave_with_it(store: &dyn Store) {
    let key = Key::new("large", "model");
    let pattern = |bytes: u32, factor: u32| -> Vec<u8> {
        (0..bytes / 4).flat_map(|position| position.wrapping_mul(factor).to_be_bytes()).collect()
    };
    for (bytes, factor) in [(4 << 20, 1), (5 << 20, 3), (1 << 20, 5), (16, 7), (4 << 20, 9)] {
        let value = pattern(bytes, factor);
        apply(store, Batch::new().put(key.clone(), value.clone()));
        assert!(get(store, &key).as_ref() == Some(&value), "a value of {bytes} bytes came back changed");
        assert!(store.scan("large", b"", 9).expect("the store scans") == [(key.key.clone(), value.clone())]);
        apply(store, Batch::new().expect(key.clone(), value));
    }
    apply(store, Batch::new().delete(key.clone()));
    assert_eq!(get(store, &key), None);
}

fn keys_beyond_the_limit_are_refused(store: &dyn Store) {
    let longest = Key::new("limit", vec![7; MAX_KEY]);
    apply(store, Batch::new().put(longest.clone(), "fits"));
    assert_eq!(get(store, &longest).as_deref(), Some(b"fits".as_slice()));
    let longer = Key::new("limit", vec![7; MAX_KEY + 1]);
    let batches = [Batch::new().put(longer.clone(), ""), Batch::new().expect_absent(longer)];
    for batch in batches {
        let refused = store.apply(batch.delete(longest.clone()));
        assert!(matches!(refused, Err(StoreError::TooLarge { what: "key", tree: "limit", .. })), "{refused:?}");
        assert!(get(store, &longest).is_some());
    }
}

fn of_concurrent_claims_exactly_one_wins(store: &dyn Store) {
    for round in 0..ROUNDS {
        let key = Key::new("claim", round.to_be_bytes());
        let claim = |thread: u32| {
            store.apply(Batch::new().expect_absent(key.clone()).put(key.clone(), thread.to_be_bytes())).is_ok()
        };
        let claim = &claim;
        let winners: Vec<u32> = thread::scope(|scope| {
            let claims: Vec<_> = (0..THREADS).map(|thread| (thread, scope.spawn(move || claim(thread)))).collect();
            let won = claims.into_iter().map(|(thread, handle)| (thread, handle.join().expect("no claim panics")));
            won.filter_map(|(thread, won)| won.then_some(thread)).collect()
        });
        assert_eq!(winners.len(), 1, "claims of round {round} that won");
        assert_eq!(get(store, &key), winners.first().map(|winner| winner.to_be_bytes().to_vec()));
    }
}

fn no_concurrent_increment_is_lost(store: &dyn Store) {
    let key = Key::new("count", "k");
    let count = || get(store, &key).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    let increment = || {
        loop {
            let before = count();
            let after = before.saturating_add(1);
            let batch = Batch::new().put(key.clone(), after.to_be_bytes());
            let guarded = if before == 0 {
                batch.expect_absent(key.clone())
            } else {
                batch.expect(key.clone(), before.to_be_bytes())
            };
            match store.apply(guarded) {
                Ok(()) => return,
                Err(error) => assert!(matches!(error, StoreError::Conflict { .. }), "{error}"),
            }
        }
    };
    thread::scope(|scope| {
        (0..THREADS).for_each(|_| {
            scope.spawn(|| (0..ROUNDS).for_each(|_| increment()));
        });
    });
    assert_eq!(count(), THREADS * ROUNDS);
}

fn a_reader_never_sees_half_a_batch(store: &dyn Store) {
    let half = |number: u32, value: u32| (Key::new("half", number.to_be_bytes()), value.to_be_bytes());
    let write = |value: u32| {
        let batch =
            (0..40).map(|number| half(number, value)).fold(Batch::new(), |batch, (key, value)| batch.put(key, value));
        apply(store, batch);
    };
    write(0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| (1..ROUNDS).for_each(write));
        while !writer.is_finished() {
            let mut values: Vec<_> =
                store.scan("half", b"", 99).expect("the store scans").into_iter().map(|(_, value)| value).collect();
            assert_eq!(values.len(), 40);
            values.dedup();
            assert_eq!(values.len(), 1, "one scan saw two batches");
        }
    });
}
