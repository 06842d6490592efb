//! Which subtree hashes the log keeps, and how a tree head and its proofs follow from them (RFC 6962, section 2.1).
//!
//! Kept are the hashes of all complete subtrees, as in Crosby and Wallach 2009, "Efficient Data Structures for
//! Tamper-Evident Logging": they never change, so that proofs for any earlier size stay possible. An append adds 2
//! hashes on average, a proof reads O(log n) of them.

use shared::Digest;

use crate::merkle::{empty_root, node_hash};

/// A complete subtree: the leaves from `index · 2^level` to before `(index + 1) · 2^level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subtree {
    pub(crate) level: u32,
    pub(crate) index: u64,
}

impl Subtree {
    /// The subtree's first leaf.
    pub(crate) fn first_leaf(self) -> u64 {
        self.index << self.level
    }

    /// The subtree's last leaf.
    pub(crate) fn last_leaf(self) -> u64 {
        self.first_leaf() + ((1 << self.level) - 1)
    }
}

/// The right edge of a tree: all that an append needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frontier {
    size: u64,
    /// Hashes of the largest complete subtrees, from left to right: one for each bit set in `size`.
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of the tree without leaves.
    pub(crate) fn empty() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// The frontier of the tree of `size` leaves, from its kept hashes.
    pub(crate) fn load<E>(size: u64, read: impl FnMut(Subtree) -> Result<Digest, E>) -> Result<Self, E> {
        let levels = (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1);
        let peaks = levels.map(|level| Subtree { level, index: (size >> level) - 1 }).map(read);
        Ok(Self { size, peaks: peaks.collect::<Result<_, E>>()? })
    }

    /// How many leaves the tree has.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf; gives the subtrees that it completes, itself first.
    pub(crate) fn push(&mut self, leaf: Digest) -> Vec<(Subtree, Digest)> {
        let (mut subtree, mut hash) = (Subtree { level: 0, index: self.size }, leaf);
        let mut completed = vec![(subtree, hash)];
        while subtree.index & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = node_hash(&left, &hash);
            subtree = Subtree { level: subtree.level + 1, index: subtree.index >> 1 };
            completed.push((subtree, hash));
        }
        self.peaks.push(hash);
        self.size += 1;
        completed
    }

    /// The tree's root.
    pub(crate) fn root(&self) -> Digest {
        let from_the_right = self.peaks.iter().rev().copied();
        from_the_right.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

/// PATH(index, D[size]): the hashes that lead from a leaf to the root. Needs `index < size`.
pub(crate) fn inclusion_path<E>(
    index: u64,
    size: u64,
    read: &impl Fn(Subtree) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + left_size(end - start);
        if index < middle {
            path.push(hash_of(middle, end, read)?);
            end = middle;
        } else {
            path.push(hash_of(start, middle, read)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// PROOF(old_size, D[size]): the hashes that lead from the old root to the new. Needs `old_size <= size`.
pub(crate) fn consistency_path<E>(
    old_size: u64,
    size: u64,
    read: &impl Fn(Subtree) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if old_size == 0 {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while old_size < end {
        let middle = start + left_size(end - start);
        if old_size <= middle {
            path.push(hash_of(middle, end, read)?);
            end = middle;
        } else {
            path.push(hash_of(start, middle, read)?);
            start = middle;
        }
    }
    if start > 0 {
        path.push(hash_of(start, end, read)?);
    }
    path.reverse();
    Ok(path)
}

/// MTH(D[start:end]) for the ranges that occur in proofs: `start` is a multiple of a power of two not below the length.
fn hash_of<E>(start: u64, end: u64, read: &impl Fn(Subtree) -> Result<Digest, E>) -> Result<Digest, E> {
    let len = end - start;
    if len.is_power_of_two() {
        let level = len.trailing_zeros();
        return read(Subtree { level, index: start >> level });
    }
    let middle = start + left_size(len);
    Ok(node_hash(&hash_of(start, middle, read)?, &hash_of(middle, end, read)?))
}

/// The largest power of two below `len`, which is at least 2.
fn left_size(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::merkle::{is_consistent, is_included, leaf_hash};

    struct Tree {
        hashes: BTreeMap<Subtree, Digest>,
        frontier: Frontier,
        leaves: Vec<Digest>,
        roots: Vec<Digest>,
    }

    impl Tree {
        fn of(entries: impl IntoIterator<Item = Vec<u8>>) -> Self {
            let frontier = Frontier::empty();
            let roots = vec![frontier.root()];
            let mut tree = Self { hashes: BTreeMap::new(), frontier, leaves: Vec::new(), roots };
            for entry in entries {
                tree.leaves.push(leaf_hash(&entry));
                tree.hashes.extend(tree.frontier.push(leaf_hash(&entry)));
                tree.roots.push(tree.frontier.root());
            }
            tree
        }

        fn numbered(size: u64) -> Self {
            Self::of((0..size).map(|index| index.to_be_bytes().to_vec()))
        }

        fn read(&self, subtree: Subtree) -> Result<Digest, Subtree> {
            self.hashes.get(&subtree).copied().ok_or(subtree)
        }

        fn inclusion(&self, index: u64, size: u64) -> Vec<Digest> {
            inclusion_path(index, size, &|subtree| self.read(subtree)).unwrap()
        }

        fn consistency(&self, old_size: u64, size: u64) -> Vec<Digest> {
            consistency_path(old_size, size, &|subtree| self.read(subtree)).unwrap()
        }
    }

    /// MTH by its definition (RFC 6962, section 2.1).
    fn definition(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            leaves => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&definition(left), &definition(right))
            }
        }
    }

    fn at(index: usize) -> u64 {
        u64::try_from(index).unwrap()
    }

    /// The leaves and roots of the test data of Certificate Transparency's reference implementation
    /// (google/certificate-transparency, `merkletree/merkle_tree_test.cc`).
    #[test]
    fn the_reference_roots_come_out() {
        let leaves =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let tree = Tree::of(leaves.map(|leaf| hex::decode(leaf).unwrap()));
        assert_eq!(tree.roots.iter().map(ToString::to_string).collect::<Vec<_>>(), roots);
    }

    #[test]
    fn every_root_and_inclusion_path_holds_up_to_300_leaves() {
        let tree = Tree::numbered(300);
        for size in 0..=300 {
            assert_eq!(tree.roots[size], definition(&tree.leaves[..size]), "size {size}");
            for index in 0..size {
                let path = tree.inclusion(at(index), at(size));
                assert!(path.len() <= 9);
                assert!(is_included(tree.leaves[index], at(index), at(size), &path, &tree.roots[size]));
            }
        }
    }

    #[test]
    fn every_pair_of_sizes_up_to_80_is_consistent() {
        let tree = Tree::numbered(80);
        for new in 0..=80 {
            for old in 0..=new {
                let path = tree.consistency(at(old), at(new));
                assert!(is_consistent((at(old), &tree.roots[old]), (at(new), &tree.roots[new]), &path), "{old} {new}");
            }
        }
    }

    #[test]
    fn no_path_proves_another_place_size_or_root() {
        let tree = Tree::numbered(40);
        for size in 1..=40 {
            for index in 0..size {
                let path = tree.inclusion(at(index), at(size));
                let (leaf, root) = (tree.leaves[index], &tree.roots[size]);
                for other in (0..=41).filter(|other| *other != index) {
                    assert!(!is_included(leaf, at(other), at(size), &path, root), "{index} as {other} of {size}");
                }
                assert!(!is_included(leaf, at(index), at(size), &path, &tree.roots[size - 1]));
                let longer = [path.as_slice(), &[leaf]].concat();
                assert!(!is_included(leaf, at(index), at(size), &longer, root));
                assert!(path.is_empty() || !is_included(leaf, at(index), at(size), &path[1..], root));
            }
        }
    }

    #[test]
    fn a_rewritten_tree_is_inconsistent() {
        let honest = Tree::numbered(40);
        let rewritten = Tree::of((0..40).map(|index: u64| match index {
            3 => b"forged".to_vec(),
            index => index.to_be_bytes().to_vec(),
        }));
        for new in 5..=40 {
            for old in 4..new {
                let path = rewritten.consistency(at(old), at(new));
                let (old, new) = ((at(old), &honest.roots[old]), (at(new), &rewritten.roots[new]));
                assert!(!is_consistent(old, new, &path), "{} {}", old.0, new.0);
            }
        }
    }

    #[test]
    fn a_consistency_path_holds_for_its_sizes_only() {
        let tree = Tree::numbered(24);
        for new in 1..=24 {
            for old in 1..new {
                let path = tree.consistency(at(old), at(new));
                let check = |old: usize, new: usize, path: &[Digest]| {
                    is_consistent((at(old), &tree.roots[old]), (at(new), &tree.roots[new]), path)
                };
                assert!(!check(new, old, &path), "shrunk {old} {new}");
                assert!(!check(old, new, &path[1..]) && !check(old, new, &[path.as_slice(), &path].concat()));
                assert!((1..new).filter(|other| *other != old).all(|other| !check(other, new, &path)));
            }
        }
    }

    #[test]
    fn a_loaded_frontier_equals_the_grown_one() {
        let mut tree = Tree::numbered(0);
        for size in 0..200_u64 {
            let loaded = Frontier::load(size, |subtree| tree.read(subtree)).unwrap();
            assert_eq!(loaded, tree.frontier);
            tree.hashes.extend(tree.frontier.push(leaf_hash(&size.to_be_bytes())));
        }
    }
}
