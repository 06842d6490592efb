//! What secure aggregation costs a site, beside the bare primitives underneath in the same run.
//! Run with `cargo bench -p shared-crypto --bench masking`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use shared::masking::Layout;
use shared_crypto::CryptoError;
use shared_crypto::masking::{
    AgreementKey, AgreementPublic, Commitment, CommitmentKey, Interpolation, MASK_BLOCK_WORDS, NormChallenge,
    NormProof, PairSecret, RoundKey, SealedDealing, SecretScalar, Seed, add_masks, open_share, seal_share, share,
};

const SITES: usize = 100;
const THRESHOLD: usize = 67;

fn secret() -> SecretScalar {
    must(SecretScalar::random())
}

#[expect(clippy::expect_used, reason = "a benchmark that cannot do its work has nothing to measure")]
fn must<T>(result: Result<T, CryptoError>) -> T {
    result.expect("it works")
}

/// Values of `bits` bits and both signs.
fn values(count: usize, bits: u32) -> Vec<i32> {
    let words =
        std::iter::successors(Some(1_u32), |word| Some(word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
    words.take(count).map(|word| word.cast_signed() >> 32_u32.saturating_sub(bits)).collect()
}

fn agreement(criterion: &mut Criterion) {
    let key = must(RoundKey::generate());
    let peers: Vec<AgreementPublic> = (0..SITES).map(|_| must(RoundKey::generate()).public()).collect();
    let scalar = Scalar::from_bytes_mod_order([0x77; 32]);
    let points = vec![RistrettoPoint::mul_base(&scalar); SITES];
    let kept: Vec<PairSecret> = peers.iter().map(|peer| must(AgreementKey::generate()).agree(peer)).collect();
    let mut group = criterion.benchmark_group("agreement with 100 sites");
    group.bench_function("dalek, products alone", |b| {
        b.iter(|| points.iter().map(|point| point * scalar).collect::<Vec<_>>());
    });
    group.bench_function("pair seeds", |b| {
        b.iter(|| peers.iter().map(|peer| key.pair_seed(peer, b"round 1")).collect::<Vec<_>>());
    });
    group.bench_function("seeds of kept pairs", |b| {
        b.iter(|| kept.iter().map(|pair| pair.seed(b"round 1")).collect::<Vec<_>>());
    });
    group.bench_function("reading the public keys", |b| {
        b.iter(|| peers.iter().map(|peer| AgreementPublic::from_bytes(*peer.as_bytes())).collect::<Vec<_>>());
    });
    group.finish();
}

#[expect(clippy::expect_used, reason = "a benchmark that cannot do its work has nothing to measure")]
fn raw_cipher(bytes: &mut [u8]) {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("a key of 32 bytes"));
    for block in bytes.chunks_mut(MASK_BLOCK_WORDS.saturating_mul(4)) {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let _tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), black_box(block)).expect("a block");
    }
}

fn masks(criterion: &mut Criterion) {
    let seeds: Vec<Seed> = (0..SITES).map(|_| Seed::of_scalar(&secret(), b"mask")).collect();
    let mut group = criterion.benchmark_group("masks");
    group.sample_size(10);
    let mut bytes = vec![0; MASK_BLOCK_WORDS.saturating_mul(4)];
    group.throughput(Throughput::BytesDecimal(16_384));
    group.bench_function("ring AES-256-GCM, one block over and over", |b| b.iter(|| raw_cipher(&mut bytes)));
    for (words, count, of) in [(100_000, 400_000, SITES), (1_000_000, 4_000_000, 10), (1_000_000, 4_000_000, SITES)] {
        let (plus, minus) = seeds.split_at(of / 2);
        let (minus, _) = minus.split_at(of / 2);
        let mut vector = vec![0; words];
        group.throughput(Throughput::BytesDecimal(count * u64::try_from(of).unwrap_or(0)));
        group.bench_function(format!("{of} masks on {words} words"), |b| {
            b.iter(|| add_masks(plus, minus, 0, &mut vector));
        });
    }
    group.finish();
}

fn sharing(criterion: &mut Criterion) {
    let shared = secret();
    let dealing = must(share(&shared, THRESHOLD, SITES));
    let indices: Vec<u32> = (34..=100).collect();
    let shares: Vec<SecretScalar> = dealing.shares.iter().skip(33).cloned().collect();
    let weights = must(Interpolation::at(&indices, THRESHOLD));
    let first = shares.first().cloned().unwrap_or_else(secret);
    let (dealer, receiver) = (must(AgreementKey::generate()), must(AgreementKey::generate()));
    let seed = dealer.pair_seed(&receiver.public(), b"round 1");
    let sealed = seal_share(&seed, &first);
    let mut group = criterion.benchmark_group("sharing, 67 of 100");
    group.bench_function("share, with commitments", |b| b.iter(|| share(black_box(&shared), THRESHOLD, SITES)));
    group.bench_function("weights", |b| b.iter(|| Interpolation::at(black_box(&indices), THRESHOLD)));
    group.bench_function("secret, weights known", |b| b.iter(|| weights.secret(black_box(&shares))));
    let key = RoundKey::from_scalar(shared.clone());
    let holders: Vec<_> = (0..SITES).map(|_| (must(AgreementKey::generate()).public(), b"round 1".to_vec())).collect();
    group.bench_function("a whole dealing", |b| b.iter(|| SealedDealing::deal(black_box(&key), THRESHOLD, &holders)));
    group.bench_function("check of a share", |b| b.iter(|| dealing.commitments.verify(34, black_box(&first))));
    group.bench_function("seal", |b| b.iter(|| seal_share(&seed, black_box(&first))));
    group.bench_function("open", |b| b.iter(|| open_share(&seed, black_box(&sealed))));
    group.finish();
}

fn blindings(key: &CommitmentKey) -> Vec<SecretScalar> {
    (0..key.rows()).map(|_| secret()).collect()
}

/// What a site commits to, and what it checks of all: the others' commitments are read first.
fn commitments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commitment");
    group.sample_size(10);
    let key = |dimensions| CommitmentKey::new(dimensions, Layout::Packed24);
    group.bench_function("key for 100000 coordinates", |b| b.iter(|| key(100_000)));
    for dimensions in [100_000, 1_000_000] {
        let key = key(dimensions);
        let blindings = blindings(&key);
        // An update of 1e5 coordinates that is as long as its clip of 2^15 steps has 9 bits.
        for bits in [9, 16, 24] {
            let update = values(dimensions, bits);
            group.bench_function(format!("commit to {dimensions} values of {bits} bits"), |b| {
                b.iter(|| key.commit(black_box(&update), &blindings));
            });
        }
        let sum = values(dimensions, 22);
        let committed = must(key.commit(&vec![0; dimensions], &blindings));
        let mut commitments = vec![committed; SITES.saturating_sub(1)];
        let zeros = vec![must(SecretScalar::from_bytes(&[0; 32])); key.rows()];
        commitments.push(must(key.commit(&sum, &zeros)));
        let sites = |blinding: &SecretScalar| {
            let blinding = Scalar::from_bytes_mod_order(*blinding.to_bytes());
            must(SecretScalar::from_bytes(&(1..SITES).map(|_| blinding).sum::<Scalar>().to_bytes()))
        };
        let blindings: Vec<SecretScalar> = blindings.iter().map(sites).collect();
        let read = |rows: &Vec<Commitment>| -> Vec<Commitment> {
            rows.iter().map(|row| must(Commitment::from_bytes(*row.as_bytes()))).collect()
        };
        group.bench_function(format!("check of a sum of {SITES} over {dimensions} coordinates"), |b| {
            b.iter(|| {
                let commitments: Vec<_> = black_box(&commitments).iter().map(read).collect();
                must(key.verify_sum(&commitments, &sum, &blindings));
            });
        });
    }
    group.finish();
}

/// Proofs with a direction, and what they take.
fn proofs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("norm proof");
    group.sample_size(10);
    for dimensions in [100_000, 1_000_000] {
        let key = CommitmentKey::new(dimensions, Layout::Provable);
        let (update, direction) = (values(dimensions, 16), values(dimensions, 12));
        let blindings = blindings(&key);
        let commitments = must(key.commit(&update, &blindings));
        let challenge = NormChallenge { seed: [7; 32], direction: Some(&direction) };
        let prove = || NormProof::prove(&key, &challenge, black_box(&update), &blindings, &commitments, b"context");
        let proof = must(prove());
        eprintln!("{dimensions} coordinates in {} rows: {} bytes", key.rows(), proof.to_bytes().len());
        group.bench_function(format!("commit to {dimensions} values of 16 bits in rows"), |b| {
            b.iter(|| key.commit(black_box(&update), &blindings));
        });
        group.bench_function(format!("check of a sum over {dimensions} coordinates in rows"), |b| {
            b.iter(|| must(key.verify_sum(&[&commitments], black_box(&update), &blindings)));
        });
        group.bench_function(format!("prove, {dimensions} coordinates"), |b| b.iter(prove));
        group.bench_function(format!("verify, {dimensions} coordinates"), |b| {
            b.iter(|| must(proof.verify(&key, &challenge, black_box(&commitments), b"context")));
        });
    }
    group.finish();
}

/// dalek's own product, a point for each of 1e5 coordinates of 16 bits, as it is without packing.
fn peer(criterion: &mut Criterion) {
    let base = RistrettoPoint::mul_base(&Scalar::from_bytes_mod_order([0x77; 32]));
    let points: Vec<_> = std::iter::successors(Some(base), |point| Some(point + base)).take(100_000).collect();
    let scalars: Vec<_> = values(100_000, 16).into_iter().map(|value| Scalar::from(value.unsigned_abs())).collect();
    let mut group = criterion.benchmark_group("commitment");
    group.sample_size(10);
    group.bench_function("dalek, 100000 coordinates of 16 bits without sign", |b| {
        b.iter(|| RistrettoPoint::vartime_multiscalar_mul(&scalars, black_box(&points)));
    });
    group.finish();
}

criterion_group!(benches, agreement, masks, sharing, peer, commitments, proofs);
criterion_main!(benches);
