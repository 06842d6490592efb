//! Records for tests.

use examples::nsl_kdd::{NUMBERS, Record};

/// A record whose every number is `number`.
pub(crate) fn record(service: &str, number: f64, label: &str) -> Record {
    let symbols = ["tcp".to_owned(), service.to_owned(), "SF".to_owned()];
    Record { symbols, numbers: [number; NUMBERS], label: label.to_owned() }
}
