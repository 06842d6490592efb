//! Hashes and proof checks of RFC 6962 and RFC 9162, section 2.1, by their numbered algorithms. Pure functions.

use shared::Digest;
use shared_crypto::DigestWriter;

/// MTH of the empty list: the digest of nothing.
pub(crate) fn empty_root() -> Digest {
    shared_crypto::digest(b"")
}

/// MTH of one entry: SHA-256(0x00 || entry).
pub(crate) fn leaf_hash(entry: &[u8]) -> Digest {
    let mut writer = DigestWriter::new();
    writer.update(&[0]);
    writer.update(entry);
    writer.finish()
}

/// MTH of two subtrees: SHA-256(0x01 || left || right).
pub(crate) fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut writer = DigestWriter::new();
    writer.update(&[1]);
    writer.update(left.as_bytes());
    writer.update(right.as_bytes());
    writer.finish()
}

/// Whether `path` proves that `leaf` stands at `index` of the tree of `size` leaves with this root
/// (RFC 9162, section 2.1.3.2).
pub(crate) fn is_included(leaf: Digest, index: u64, size: u64, path: &[Digest], root: &Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            skip_left_edge(&mut node, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether `path` proves that the tree of `old_size` leaves is a prefix of the tree of `new_size` leaves
/// (RFC 9162, section 2.1.4.2). The empty tree is a prefix of every tree, and each tree of itself, by the empty path.
pub(crate) fn is_consistent(old: (u64, &Digest), new: (u64, &Digest), path: &[Digest]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == 0 || old_size == new_size {
        let roots_agree = if old_size == 0 { *old_root == empty_root() } else { old_root == new_root };
        return path.is_empty() && roots_agree;
    }
    let (first, rest) = match path {
        [] => return false,
        path if old_size.is_power_of_two() => (old_root, path),
        [first, rest @ ..] => (first, rest),
    };
    if old_size > new_size {
        return false;
    }
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            skip_left_edge(&mut node, &mut last);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// Climbs while the node is a left child without a sibling.
fn skip_left_edge(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        (*node, *last) = (*node >> 1, *last >> 1);
    }
}
