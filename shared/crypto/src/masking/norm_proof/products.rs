//! Inner products of numbers in limbs, which are nearly all of a proof's work: small limbs, whose products add up without
//! a carry, so that the compiler can take several at once. The time depends on how many there are and on nothing else.

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use crate::masking::projection::Wide;

/// Columns taken together: so few that a sum of their products stays below 2^64, and that all rows of them fit a cache.
const COLUMNS: usize = 256;
const LOW: u64 = 0xffff_ffff;
/// With 29 bits of a [`Wide`]'s limb and 256 columns, 63 bits.
const SCALAR_LIMB_BITS: u32 = 26;
const SCALAR_LIMBS: usize = 10;

type Block = [u64; COLUMNS];

/// The inner product of every row with every form, in the order of rows, then forms. All rows and forms have `width`
/// columns, and `forms` follow each other; a row's numbers are below 2^26.
pub(super) fn products(rows: &[Zeroizing<Vec<u32>>], forms: &[Wide], width: usize) -> Zeroizing<Vec<Vec<Scalar>>> {
    let width = width.max(1);
    let none = vec![[0_u128; Wide::LIMBS]; forms.len().div_ceil(width)];
    let mut sums = Zeroizing::new(vec![none; rows.len()]);
    for first in (0..width).step_by(COLUMNS) {
        let rows: Vec<Zeroizing<Block>> = rows.iter().map(|row| block(row.iter().skip(first).copied())).collect();
        for (place, form) in forms.chunks(width).enumerate() {
            let limbs: [Block; Wide::LIMBS] = std::array::from_fn(|limb| {
                *block(form.iter().skip(first).map(|Wide(limbs)| limbs.get(limb).copied().unwrap_or_default()))
            });
            for (sums, row) in sums.iter_mut().zip(&rows) {
                for (sum, limbs) in sums.iter_mut().skip(place).take(1).flatten().zip(&limbs) {
                    *sum += u128::from(inner(row, limbs));
                }
            }
        }
    }
    Zeroizing::new(sums.iter().map(|sums| sums.iter().map(|sum| joined(sum, Wide::LIMB_BITS)).collect()).collect())
}

fn block(numbers: impl Iterator<Item = u32>) -> Zeroizing<Block> {
    let mut block = Zeroizing::new([0; COLUMNS]);
    block.iter_mut().zip(numbers).for_each(|(place, number)| *place = u64::from(number));
    block
}

/// The masks change nothing, but show the compiler that a product of two halves is enough.
fn inner(one: &Block, other: &Block) -> u64 {
    one.iter().zip(other).map(|(one, other)| (one & LOW).wrapping_mul(other & LOW)).fold(0, u64::wrapping_add)
}

/// The rows that the numbers' limbs are, from the lowest on; [`joined_rows`] puts products with them together.
pub(super) fn limb_rows(numbers: &[Scalar]) -> Vec<Zeroizing<Vec<u32>>> {
    let mut rows = vec![Zeroizing::new(Vec::with_capacity(numbers.len())); SCALAR_LIMBS];
    for number in numbers {
        rows.iter_mut().zip(limbs(number)).for_each(|(row, limb)| row.push(limb));
    }
    rows
}

/// The products with numbers, of the products with their limbs' rows.
pub(super) fn joined_rows(rows: &[Vec<Scalar>]) -> Zeroizing<Vec<Scalar>> {
    let base = Scalar::from(1_u64 << SCALAR_LIMB_BITS);
    let mut sums = Zeroizing::new(vec![Scalar::ZERO; rows.first().map_or(0, Vec::len)]);
    for row in rows.iter().rev() {
        sums.iter_mut().zip(row).for_each(|(sum, product)| *sum = *sum * base + product);
    }
    sums
}

/// The sum of the rows, each times its weight; a row's numbers are below 2^26.
pub(super) fn weighted_sum(rows: &[Zeroizing<Vec<u32>>], weights: &[Scalar], width: usize) -> Zeroizing<Vec<Scalar>> {
    let mut result = Zeroizing::new(Vec::with_capacity(width));
    let weights: Vec<[u32; SCALAR_LIMBS]> = weights.iter().map(limbs).collect();
    for first in (0..width).step_by(COLUMNS) {
        let mut sums = Zeroizing::new([[0; COLUMNS]; SCALAR_LIMBS]);
        for (row, weight) in rows.iter().zip(&weights) {
            let row = block(row.iter().skip(first).copied());
            for (sums, limb) in sums.iter_mut().zip(weight) {
                let limb = u64::from(*limb);
                for (sum, number) in sums.iter_mut().zip(row.iter()) {
                    *sum += (number & LOW).wrapping_mul(limb & LOW);
                }
            }
        }
        for column in 0..COLUMNS.min(width.saturating_sub(first)) {
            let column = sums.each_ref().map(|sums| u128::from(sums.get(column).copied().unwrap_or_default()));
            result.push(joined(&column, SCALAR_LIMB_BITS));
        }
    }
    result
}

fn joined<const N: usize>(limbs: &[u128; N], bits: u32) -> Scalar {
    let base = Scalar::from(1_u64 << bits);
    limbs.iter().rfold(Scalar::ZERO, |sum, limb| sum * base + Scalar::from(*limb))
}

fn limbs(number: &Scalar) -> [u32; SCALAR_LIMBS] {
    let bytes = Zeroizing::new(number.to_bytes());
    let mut limbs = [0; SCALAR_LIMBS];
    let (mut pending, mut held) = (0_u64, 0);
    let mut bytes = bytes.iter();
    for limb in &mut limbs {
        while held < SCALAR_LIMB_BITS {
            pending |= u64::from(bytes.next().copied().unwrap_or_default()) << held;
            held += 8;
        }
        let [a, b, c, d, ..] = (pending & ((1 << SCALAR_LIMB_BITS) - 1)).to_le_bytes();
        *limb = u32::from_le_bytes([a, b, c, d]);
        pending >>= SCALAR_LIMB_BITS;
        held -= SCALAR_LIMB_BITS;
    }
    limbs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::SecretScalar;

    fn scalars(count: usize) -> Vec<Scalar> {
        (0..count).map(|_| SecretScalar::random().unwrap().0).collect()
    }

    fn wide(number: &Wide) -> Scalar {
        joined(&number.0.map(u128::from), Wide::LIMB_BITS)
    }

    fn forms(count: usize) -> Vec<Wide> {
        let largest = (1 << Wide::LIMB_BITS) - 1;
        let limb = |seed: u32| seed.wrapping_mul(0x9e37_79b9) >> 3;
        let form =
            |seed: u32| if seed.is_multiple_of(3) { [largest; 5] } else { [1, 2, 3, 4, 5].map(|n| limb(n * seed)) };
        (0..u32::try_from(count).unwrap()).map(|seed| Wide(form(seed))).collect()
    }

    #[test]
    fn products_equal_their_definition() {
        for (width, count) in [(1, 2), (7, 3), (256, 2), (700, 4)] {
            let forms = forms(width * count);
            let numbers = scalars(width);
            let largest = Zeroizing::new(vec![(1 << SCALAR_LIMB_BITS) - 1; width]);
            let rows: Vec<_> = limb_rows(&numbers).into_iter().chain([largest]).collect();
            let found = products(&rows, &forms, width);
            for (place, form) in forms.chunks(width).enumerate() {
                let expected: Scalar = form.iter().zip(&numbers).map(|(form, number)| wide(form) * number).sum();
                assert_eq!(joined_rows(&found[..SCALAR_LIMBS])[place], expected, "{count} forms of {width} columns");
                let sum: Scalar = form.iter().map(wide).sum();
                assert_eq!(found[SCALAR_LIMBS][place], sum * Scalar::from((1_u32 << SCALAR_LIMB_BITS) - 1));
            }
        }
    }

    #[test]
    fn a_weighted_sum_equals_its_definition() {
        for (width, count) in [(1, 2), (256, 3), (300, 64)] {
            let rows: Vec<_> = (0..count)
                .map(|row| Zeroizing::new((0..width).map(|column| (row * 977 + column * 31) % 65_537).collect()))
                .collect();
            let weights = scalars(rows.len());
            let sum = weighted_sum(&rows, &weights, usize::try_from(width).unwrap());
            let expected = |column: usize| -> Scalar {
                rows.iter().zip(&weights).map(|(row, weight)| Scalar::from(row[column]) * weight).sum()
            };
            assert!(sum.iter().enumerate().all(|(column, sum)| *sum == expected(column)), "{count} rows of {width}");
        }
    }
}
