//! A dealing as it travels: its own key, a share of the secret for each holder under that key, and the commitments to the
//! polynomial. Its bytes are what the dealer signs for.
//!
//! All of it follows from the secret and from whom it is dealt to. While the secret is one, nobody can tell; once it has
//! been put together again, anybody can deal it anew and see whether the dealer dealt as it should have: no holder has to
//! prove that it was given garbage, and none can be blamed for it.

use shared::masking::SEALED_SHARE_BYTES;

use super::{AgreementKey, AgreementPublic, Dealing, RoundKey, SEALED_SHARE_LEN, Seed, ShareCommitments};
use super::{seal_share, share};
use crate::CryptoError;

const KEY_LEN: usize = 32;
/// What a dealing's own key is derived for.
const SEALING: &[u8] = b"ringfence/v1/sealing-key";

/// Sealed shares with what anybody can check of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDealing {
    key: AgreementPublic,
    ciphertexts: Vec<[u8; SEALED_SHARE_LEN]>,
    commitments: ShareCommitments,
}

impl SealedDealing {
    /// Deals `secret`, any `threshold` shares of which give it back: the share with each holder's key and what it is
    /// sealed for, in order. The same secret is always dealt alike.
    pub fn deal(
        secret: &RoundKey,
        threshold: usize,
        holders: &[(AgreementPublic, Vec<u8>)],
    ) -> Result<Self, CryptoError> {
        let secret = secret.to_scalar();
        let key = AgreementKey::following_from(&Seed::of_scalar(&secret, SEALING));
        let Dealing { shares, commitments } = share(&secret, threshold, holders.len())?;
        let pairs = key.agree_all(holders.iter().map(|(holder, _)| holder));
        let holders = pairs.iter().zip(holders).map(|(pair, (_, info))| pair.seed(info));
        let ciphertexts = holders.zip(&shares).map(|(seed, share)| seal_share(&seed, share)).collect();
        Ok(Self { key: key.public(), ciphertexts, commitments })
    }

    /// Reads a dealing for this many holders and this threshold; refuses any other length.
    pub fn parse(bytes: &[u8], holders: usize, threshold: usize) -> Result<Self, CryptoError> {
        let commitments_len = threshold.saturating_mul(KEY_LEN);
        let expected = KEY_LEN.saturating_add(holders.saturating_mul(SEALED_SHARE_LEN)).saturating_add(commitments_len);
        let refused = || CryptoError::Dealing { expected, found: bytes.len() };
        let (key, rest) =
            bytes.split_first_chunk::<KEY_LEN>().filter(|_| bytes.len() == expected).ok_or_else(refused)?;
        let split = rest.len().saturating_sub(commitments_len);
        let (ciphertexts, commitments) = rest.split_at_checked(split).ok_or_else(refused)?;
        Ok(Self {
            key: AgreementPublic::from_bytes(*key)?,
            ciphertexts: ciphertexts.as_chunks().0.to_vec(),
            commitments: ShareCommitments::from_bytes(commitments)?,
        })
    }

    /// The dealing's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.key.as_bytes().as_slice(), self.ciphertexts.as_flattened(), &self.commitments.to_bytes()].concat()
    }

    /// The key that the shares are sealed under, together with each holder's.
    pub fn key(&self) -> &AgreementPublic {
        &self.key
    }

    /// What every share can be checked against.
    pub fn commitments(&self) -> &ShareCommitments {
        &self.commitments
    }

    /// The ciphertext of share `number`, counted from 1.
    pub fn ciphertext(&self, number: u32) -> Option<&[u8; SEALED_SHARE_LEN]> {
        self.ciphertexts.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// What the holder of share `number` needs to open it.
    pub fn sealed(&self, number: u32) -> Option<[u8; SEALED_SHARE_BYTES]> {
        let mut sealed = [0; SEALED_SHARE_BYTES];
        let (key, ciphertext) = sealed.split_at_mut(KEY_LEN);
        key.copy_from_slice(self.key.as_bytes());
        ciphertext.copy_from_slice(self.ciphertext(number)?);
        Some(sealed)
    }

    /// The key and the ciphertext of what [`Self::sealed`] gave.
    pub fn split(sealed: &[u8; SEALED_SHARE_BYTES]) -> Result<(AgreementPublic, [u8; SEALED_SHARE_LEN]), CryptoError> {
        let refused = || CryptoError::Dealing { expected: SEALED_SHARE_BYTES, found: sealed.len() };
        let (key, ciphertext) = sealed.split_first_chunk::<KEY_LEN>().ok_or_else(refused)?;
        Ok((AgreementPublic::from_bytes(*key)?, ciphertext.try_into().map_err(|_| refused())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::open_share;

    fn dealing(holders: usize, threshold: usize) -> (SealedDealing, AgreementKey) {
        let (secret, holder) = (RoundKey::generate().unwrap(), AgreementKey::generate().unwrap());
        let holders = vec![(holder.public(), b"a share".to_vec()); holders];
        (SealedDealing::deal(&secret, threshold, &holders).unwrap(), holder)
    }

    #[test]
    fn who_learns_the_secret_can_deal_it_again() {
        let (secret, holder) = (RoundKey::generate().unwrap(), AgreementKey::generate().unwrap());
        let holders = [1, 2, 3].map(|number| (holder.public(), vec![number]));
        let dealt = SealedDealing::deal(&secret, 2, &holders).unwrap();
        assert_eq!(SealedDealing::deal(&RoundKey::from_scalar(secret.to_scalar()), 2, &holders).unwrap(), dealt);
        assert_ne!(SealedDealing::deal(&RoundKey::generate().unwrap(), 2, &holders).unwrap(), dealt);
    }

    #[test]
    fn a_dealing_survives_its_bytes_and_each_holder_opens_its_share() {
        let (dealt, holder) = dealing(4, 3);
        let read = SealedDealing::parse(&dealt.to_bytes(), 4, 3).unwrap();
        assert_eq!(read.to_bytes(), dealt.to_bytes());
        for number in 1..=4 {
            let (key, ciphertext) = SealedDealing::split(&read.sealed(number).unwrap()).unwrap();
            let share = open_share(&holder.pair_seed(&key, b"a share"), &ciphertext).unwrap();
            read.commitments().verify(number, &share).unwrap();
        }
        assert!(read.sealed(0).is_none() && read.sealed(5).is_none());
    }

    #[test]
    fn a_dealing_of_another_length_or_without_a_key_is_refused() {
        let bytes = dealing(4, 3).0.to_bytes();
        for (holders, threshold) in [(3, 3), (4, 4), (5, 3)] {
            assert!(matches!(SealedDealing::parse(&bytes, holders, threshold), Err(CryptoError::Dealing { .. })));
        }
        assert!(SealedDealing::parse(&[], 4, 3).is_err() && SealedDealing::parse(&bytes[1..], 4, 3).is_err());
        let keyless = [&[0; 32], &bytes[32..]].concat();
        assert!(SealedDealing::parse(&keyless, 4, 3).is_err());
    }
}
