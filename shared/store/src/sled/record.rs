//! How entries lie in sled: keys, and values cut into chunks. Does no I/O.
//!
//! sled keeps a page's values inside the page, rewrites the page on every tenth change, and moves pages past a quarter
//! of a segment into files that it never syncs. Chunks keep every page small enough to stay in the log, which is.
//!
//! | sled key                         | sled value                                             |
//! |----------------------------------|--------------------------------------------------------|
//! | tree NUL key                     | `0` and the value, or `1` and the number of chunks     |
//! | NUL tree NUL key chunk-number    | one chunk                                              |
//!
//! Numbers are 32 bits, big-endian. Tree names are constants of the code: not empty, and without NUL.

use shared::store::Key;

/// The longest piece of a value, in bytes. A leaf of sled has at most 17 entries, so that a page has at most
/// 17 · (8 KiB + 1 KiB of key), well below the quarter of [`SEGMENT_BYTES`] at which sled would move it out of the log.
pub(super) const CHUNK_BYTES: usize = 8 * 1024;
/// The size of sled's log segments, in bytes.
pub(super) const SEGMENT_BYTES: usize = 1024 * 1024;

const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

/// What stands at an entry's key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// The value itself.
    Inline(&'a [u8]),
    /// So many chunks, each at its [`chunk_key`].
    Chunked(u32),
}

impl<'a> Head<'a> {
    /// Reads a head; `None` when the bytes are none.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&INLINE, value) => Some(Self::Inline(value)),
            (&CHUNKED, count) => Some(Self::Chunked(u32::from_be_bytes(count.try_into().ok()?))),
            _ => None,
        }
    }

    /// The bytes that [`Head::decode`] reads.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Inline(value) => [&[INLINE], *value].concat(),
            Self::Chunked(count) => [&[CHUNKED], count.to_be_bytes().as_slice()].concat(),
        }
    }

    /// How many chunks belong to this head.
    pub(super) fn chunks(&self) -> u32 {
        match self {
            Self::Inline(_) => 0,
            Self::Chunked(count) => *count,
        }
    }
}

/// The sled key of an entry, or of a prefix of entries.
pub(super) fn entry_key(tree: &str, key: &[u8]) -> Vec<u8> {
    [tree.as_bytes(), &[0], key].concat()
}

/// The sled key of an entry's chunk. The number has a fixed length, so that no two entries share one.
pub(super) fn chunk_key(key: &Key, number: u32) -> Vec<u8> {
    [&[0], key.tree.as_bytes(), &[0], key.key.as_slice(), number.to_be_bytes().as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_its_bytes_and_nothing_else_is_one() {
        for head in [Head::Inline(b""), Head::Inline(b"value"), Head::Chunked(7)] {
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
        for bytes in [b"".as_slice(), b"\x01\x00", b"\x02value"] {
            assert_eq!(Head::decode(bytes), None);
        }
    }

    #[test]
    fn keys_that_are_prefixes_of_each_other_share_no_chunk() {
        let (short, long) = (Key::new("t", b"a".as_slice()), Key::new("t", b"a\0\0\0\0".as_slice()));
        assert_ne!(chunk_key(&short, 0), chunk_key(&long, 0));
        assert!(!chunk_key(&long, 0).starts_with(&entry_key("t", b"a")));
    }
}
