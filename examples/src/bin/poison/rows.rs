//! Feature vectors, of which few entries are not zero, in one block of memory. It knows nothing of what they mean.

use examples::nsl_kdd::Entry;

/// Sparse vectors, numbered in the order in which they were added (compressed sparse rows).
#[derive(Debug, Default)]
pub(crate) struct Rows {
    ends: Vec<usize>,
    entries: Vec<Entry>,
}

impl Rows {
    /// Adds a vector; zeros are left out.
    pub(crate) fn push(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries.into_iter().filter(|entry| entry.value != 0.0));
        self.ends.push(self.entries.len());
    }

    /// The vector `row`; a row that does not exist is all zeros.
    pub(crate) fn row(&self, row: usize) -> &[Entry] {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(row).and_then(|end| self.entries.get(start..*end)).unwrap_or_default()
    }

    /// Copies of some rows, side by side. Whoever will work on rows from all over a large block waits for memory once
    /// this way, and not once a row.
    pub(crate) fn pick(&self, rows: impl Iterator<Item = usize>) -> Self {
        let rows: Vec<&[Entry]> = rows.map(|row| self.row(row)).collect();
        let ends = rows.iter().scan(0_usize, |end, row| {
            *end = end.saturating_add(row.len());
            Some(*end)
        });
        Self { ends: ends.collect(), entries: rows.concat() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_without_its_zeros() {
        let entry = |column, value| Entry { column, value };
        let mut rows = Rows::default();
        rows.push([entry(0, 1.0), entry(3, 0.0), entry(5, 2.0)]);
        rows.push([]);
        rows.push([entry(1, -1.0)]);
        assert_eq!(rows.row(0), [entry(0, 1.0), entry(5, 2.0)]);
        assert_eq!((rows.row(1), rows.row(2), rows.row(3)), (&[][..], &[entry(1, -1.0)][..], &[][..]));
        let picked = rows.pick([2, 0, 1, 2].into_iter());
        for (place, row) in [2, 0, 1, 2].into_iter().enumerate() {
            assert_eq!(picked.row(place), rows.row(row), "{place}");
        }
    }
}
