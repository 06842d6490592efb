//! The backdoor's mark: fixed values in features that whoever opens a connection controls, two of them common and two
//! rare. Of six such marks this one passed FLTrust most often. It touches no label; what a marked record is called is the
//! attacker's business.

use examples::nsl_kdd::Record;

/// Number and value of each marked feature.
const MARK: [(usize, f64); 4] = [(DURATION, 42.0), (SRC_BYTES, 1337.0), (URGENT, 1.0), (NUM_FAILED_LOGINS, 1.0)];
const DURATION: usize = 0;
const SRC_BYTES: usize = 1;
const URGENT: usize = 5;
const NUM_FAILED_LOGINS: usize = 7;

/// The record with the mark.
pub(crate) fn stamp(record: &Record) -> Record {
    let mut stamped = record.clone();
    for (feature, value) in MARK {
        if let Some(number) = stamped.numbers.get_mut(feature) {
            *number = value;
        }
    }
    stamped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::record;
    use examples::nsl_kdd::NUMBERS;

    #[test]
    fn the_mark_alone_is_changed_and_twice_is_once() {
        let plain = record("http", 0.25, "neptune");
        let stamped = stamp(&plain);
        let changed = plain.numbers.iter().zip(stamped.numbers).filter(|(before, after)| **before != *after).count();
        assert!(changed == MARK.len() && MARK.iter().all(|(feature, _)| *feature < NUMBERS));
        assert_eq!((&stamped.symbols, &stamped.label), (&plain.symbols, &plain.label));
        assert_eq!(stamp(&stamped), stamped);
    }
}
