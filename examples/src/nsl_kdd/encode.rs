//! Records as feature vectors: words as one column each, numbers on a logarithmic scale from 0 to 1. What it learns of
//! the scale it learns from training records; a word or a size that those lack adds nothing new.

use std::collections::BTreeMap;

use crate::number::narrow;

use super::record::{NUMBERS, Record, SYMBOLS};

/// One entry of a vector that is not zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Which feature.
    pub column: u32,
    /// Its value.
    pub value: f32,
}

impl Entry {
    /// Place of the feature's column.
    pub fn place(&self) -> usize {
        usize::try_from(self.column).unwrap_or(usize::MAX)
    }
}

/// How records become vectors.
#[derive(Debug)]
pub struct Encoder {
    /// Column of each word, per feature.
    words: [BTreeMap<String, u32>; SYMBOLS],
    /// Largest logarithm of each number.
    tops: [f64; NUMBERS],
}

impl Encoder {
    /// Learns words and scales.
    pub fn fit<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut encoder = Self { words: Default::default(), tops: [0.0; NUMBERS] };
        for record in records {
            for (words, symbol) in encoder.words.iter_mut().zip(&record.symbols) {
                if !words.contains_key(symbol) {
                    words.insert(symbol.clone(), 0);
                }
            }
            for (top, number) in encoder.tops.iter_mut().zip(record.numbers) {
                *top = top.max(number.ln_1p());
            }
        }
        let columns = u32::try_from(NUMBERS).unwrap_or(u32::MAX)..;
        encoder.words.iter_mut().flat_map(BTreeMap::values_mut).zip(columns).for_each(|(word, column)| *word = column);
        encoder
    }

    /// How many columns a vector has.
    pub fn width(&self) -> usize {
        self.words.iter().map(BTreeMap::len).fold(NUMBERS, usize::saturating_add)
    }

    /// The entries of the record's vector that are not zero by their meaning; a zero may be among them.
    pub fn encode<'a>(&'a self, record: &'a Record) -> impl Iterator<Item = Entry> + 'a {
        let numbers = (0..).zip(record.numbers.iter().zip(self.tops)).filter(|(_, (_, top))| *top > 0.0);
        let numbers = numbers.map(|(column, (number, top))| {
            let value = narrow((number.ln_1p() / top).min(1.0));
            Entry { column, value }
        });
        let words = self.words.iter().zip(&record.symbols).filter_map(|(words, symbol)| words.get(symbol));
        numbers.chain(words.map(|column| Entry { column: *column, value: 1.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(service: &str, number: f64) -> Record {
        let symbols = ["tcp".to_owned(), service.to_owned(), "SF".to_owned()];
        Record { symbols, numbers: [number; NUMBERS], label: "normal".to_owned() }
    }

    #[test]
    fn each_word_has_a_column_of_its_own_and_each_number_lies_between_0_and_1() {
        let records = [record("http", 3.0), record("ftp", 0.0)];
        let encoder = Encoder::fit(&records);
        assert_eq!(encoder.width(), NUMBERS + 4);
        let columns = |record| -> Vec<u32> { encoder.encode(record).skip(NUMBERS).map(|entry| entry.column).collect() };
        let (http, ftp) = (columns(&records[0]), columns(&records[1]));
        assert_eq!((http.len(), http[0], http[2]), (3, ftp[0], ftp[2]));
        assert_ne!(http[1], ftp[1]);
        let beyond = record("gopher", 99.0);
        assert_eq!(columns(&beyond).len(), 2, "an unknown word has no column");
        assert!(encoder.encode(&beyond).all(|entry| (0.0..=1.0).contains(&entry.value)));
    }
}
