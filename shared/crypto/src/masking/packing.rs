//! Several coordinates of a vector as one scalar, at fixed distances of whole bytes. Packing is linear: the scalars of
//! many vectors add up to the scalars of their sum. It refuses nothing: who packs has seen to it that every coordinate,
//! and every sum that is compared, fits its place ([`Layout::largest`]).
//!
//! Two different groups of coordinates are different scalars. They differ by less than 2^24 (or 2^32) in each place, and
//! so by a number that is not zero: its lowest digit other than zero cannot be made up for by higher ones. That number is
//! below 2^241, so it is not zero modulo the group's order either, which is above 2^252. Who opens a commitment to two
//! vectors of such coordinates has thus opened a Pedersen commitment to two vectors of scalars.

use curve25519_dalek::scalar::Scalar;
use shared::masking::Layout;

use super::multiscalar::Signed;
use super::scalar::signed;

/// As many coordinates as a generator has, or fewer.
pub(super) fn pack(layout: Layout, coordinates: &[i32]) -> Signed {
    let is_negative = coordinates.iter().rev().find(|value| **value != 0).is_some_and(|value| *value < 0);
    let mut bytes = [0; 32];
    let mut carry = 0;
    for (place, value) in bytes.chunks_exact_mut(layout.slot_bytes()).zip(coordinates) {
        let value = if is_negative { -i64::from(*value) } else { i64::from(*value) };
        let sum = value.wrapping_add(carry);
        place.iter_mut().zip(sum.to_le_bytes()).for_each(|(byte, of_sum)| *byte = of_sum);
        carry = sum >> slot_bits(layout);
    }
    Signed { is_negative, magnitude: Scalar::from_bytes_mod_order(bytes) }
}

/// Numbers of any size that stand for coordinates.
pub(super) fn pack_wide(layout: Layout, numbers: &[i128]) -> Scalar {
    let distance = Scalar::from(1_u64 << slot_bits(layout));
    numbers.iter().rfold(Scalar::ZERO, |sum, number| sum * distance + signed(*number))
}

fn slot_bits(layout: Layout) -> u32 {
    u32::try_from(layout.slot_bytes()).unwrap_or_default().saturating_mul(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(layout: Layout, coordinates: &[i32]) -> Scalar {
        let Signed { is_negative, magnitude } = pack(layout, coordinates);
        let one = if is_negative { -magnitude } else { magnitude };
        let wide: Vec<i128> = coordinates.iter().map(|value| i128::from(*value)).collect();
        assert_eq!(one, pack_wide(layout, &wide), "{coordinates:?}");
        one
    }

    /// Edges of a layout's range, in all places.
    fn groups(layout: Layout) -> Vec<Vec<i32>> {
        let largest = layout.largest().cast_signed();
        let edges = [largest, -largest, 1, -1, 0, 0, largest - 1];
        let group = |number: usize| {
            (0..layout.slots())
                .map(|place| edges[(number / 7_usize.pow(u32::try_from(place % 4).unwrap())) % 7])
                .collect()
        };
        (0..7_usize.pow(4)).map(group).collect()
    }

    #[test]
    fn a_packed_group_is_the_sum_of_its_coordinates_at_their_distances() {
        for layout in [Layout::Packed24, Layout::Packed32] {
            let short = (0..layout.slots()).map(|len| vec![-3; len]);
            for group in groups(layout).into_iter().chain(short) {
                both(layout, &group);
            }
        }
        assert_eq!(both(Layout::Packed24, &[1, 2]), Scalar::from(1 + (2_u64 << 24)));
        assert_eq!(both(Layout::Packed32, &[1, 2]), Scalar::from(1 + (2_u64 << 32)));
    }

    #[test]
    fn packing_is_linear() {
        for layout in [Layout::Packed24, Layout::Packed32] {
            let groups: Vec<Vec<i32>> =
                groups(layout).iter().map(|group| group.iter().map(|value| value / 2).collect()).collect();
            for (one, other) in groups.iter().zip(groups.iter().rev()) {
                let sum: Vec<i32> = one.iter().zip(other).map(|(one, other)| one + other).collect();
                assert_eq!(both(layout, one) + both(layout, other), both(layout, &sum));
            }
        }
    }

    #[test]
    fn different_groups_are_different_scalars() {
        for layout in [Layout::Packed24, Layout::Packed32] {
            let groups: std::collections::BTreeSet<Vec<i32>> = groups(layout).into_iter().collect();
            let scalars: std::collections::BTreeSet<[u8; 32]> =
                groups.iter().map(|group| both(layout, group).to_bytes()).collect();
            assert_eq!(scalars.len(), groups.len());
        }
    }
}
