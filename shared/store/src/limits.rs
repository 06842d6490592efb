//! What every engine checks before it touches anything: the sizes of keys and values.

use shared::store::{Batch, Key, MAX_KEY, MAX_VALUE, StoreError};

/// Refuses a batch with a key or value beyond [`MAX_KEY`] and [`MAX_VALUE`].
pub(crate) fn check(batch: &Batch) -> Result<(), StoreError> {
    let expected = batch.expectations.iter().map(|(key, _)| key);
    let written = batch.writes.iter().map(|(key, _)| key);
    expected.chain(written).try_for_each(check_key)?;
    batch.writes.iter().try_for_each(|(key, value)| {
        let size = value.as_ref().map_or(0, Vec::len);
        within("value", key.tree, size, MAX_VALUE)
    })
}

fn check_key(key: &Key) -> Result<(), StoreError> {
    within("key", key.tree, key.key.len(), MAX_KEY)
}

fn within(what: &'static str, tree: &'static str, size: usize, limit: usize) -> Result<(), StoreError> {
    if size <= limit { Ok(()) } else { Err(StoreError::TooLarge { what, tree, size, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_at_its_limit_passes_and_one_byte_more_does_not() {
        assert!(within("value", "t", MAX_VALUE, MAX_VALUE).is_ok());
        let error = within("value", "t", MAX_VALUE + 1, MAX_VALUE).unwrap_err();
        assert_eq!(error.to_string(), "a value of 536870913 bytes for `t` exceeds the limit of 536870912");
    }
}
