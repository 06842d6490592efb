//! Checking a proof. Nothing here is secret, and who checks twice comes to the same answer.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;

use super::products::{joined_rows, limb_rows, products};
use super::statement::{Relation, Statement, Subsets, may_be_shown, product_generator, projection_generators};
use super::{Measured, NormChallenge, NormProof, inner_product, powers, without_constant};
use crate::CryptoError;
use crate::masking::commitment::{Commitment, CommitmentKey};
use crate::masking::element::Element;
use crate::masking::multiscalar::product;
use crate::masking::projection::PROJECTIONS;

impl NormProof {
    /// What the proof shows of the vector under `commitments`, once it is found to prove that.
    pub fn verify(
        &self,
        key: &CommitmentKey,
        challenge: &NormChallenge<'_>,
        commitments: &[Commitment],
        context: &[u8],
    ) -> Result<Measured, CryptoError> {
        let statement = Statement { key, challenge, commitments, context };
        statement.check()?;
        self.check_shape(&statement)?;
        let mut transcript = statement.transcript(&self.measured);
        let subsets = Subsets::draw(&mut transcript, &self.projected);
        let relation = Relation::draw(&mut transcript, &statement, &self.measured, &subsets, &self.shown);
        let point = self.masks.evaluation_point(&mut transcript);
        self.responses.scalars().for_each(|scalar| transcript.absorb("response", scalar.as_bytes()));
        let weight = transcript.challenge("equations").scalar();
        let left = self.difference(&statement, &relation, &point, &weight);
        let holds = left == RistrettoPoint::default();
        holds.then_some(self.measured).ok_or(CryptoError::NormProof { part: "equations" })
    }

    /// Whether the parts are as many as the statement asks for, and what is shown is in its range.
    fn check_shape(&self, statement: &Statement<'_>) -> Result<(), CryptoError> {
        let terms = statement.key.rows().saturating_mul(2).saturating_sub(1);
        let part = if self.measured.inner.is_some() != statement.challenge.direction.is_some() {
            "inner product"
        } else if !self.shown.iter().copied().all(may_be_shown) {
            "sums over subsets"
        } else if self.masks.cross.len() != terms || self.responses.row.len() != statement.key.width() {
            "length"
        } else {
            return Ok(());
        };
        Err(CryptoError::NormProof { part })
    }

    /// The four equations, each times a power of `weight`; nothing is left if they hold:
    ///
    /// 1. ⟨z, G⟩ + ζ B = X_0 + Σ e^i C_i for the rows,
    /// 2. ⟨z_u, H⟩ + ζ_u B = W + e U for the projections,
    /// 3. (⟨z, Σ e^-j a_j⟩ + e^-1 ⟨b, z_u⟩ - c) B' + τ B = Σ e^p T_p for the linear relation,
    /// 4. (⟨z_v, z_v⟩ - e² S) B' + σ B = Q_0 + e Q_1 for the squares.
    fn difference(
        &self,
        statement: &Statement<'_>,
        relation: &Relation,
        point: &Scalar,
        weight: &Scalar,
    ) -> RistrettoPoint {
        let powers = powers(point, statement.key.rows());
        let (second, third, fourth) = (weight, weight * weight, weight * weight * weight);
        let linear = self.linear_form(relation, &powers) - relation.value;
        let projections: Vec<Scalar> = self.responses.projected.iter().take(PROJECTIONS).copied().collect();
        let squares = inner_product(&projections, &projections) - point * point * Scalar::from(self.measured.squares);
        let blinding = self.responses.row_blinding
            + second * self.responses.projected_blinding
            + third * self.responses.cross_blinding
            + fourth * self.responses.squares_blinding;

        let mut scalars = vec![blinding, third * linear + fourth * squares, -Scalar::ONE, -*second, -(second * point)];
        let mut points = vec![
            RISTRETTO_BASEPOINT_POINT,
            *product_generator(),
            *self.masks.row.point(),
            *self.masks.projected.point(),
            *self.projected.point(),
        ];
        let row_powers = std::iter::successors(Some(-point), |power| Some(power * point));
        scalars.extend(row_powers.take(statement.commitments.len()));
        points.extend(statement.commitments.iter().map(Commitment::point));
        scalars.extend(without_constant(&powers).iter().map(|power| -(third * power)));
        points.extend(self.masks.cross.iter().map(Element::point));
        scalars.extend([-fourth, -(fourth * point)]);
        points.extend(self.masks.squares.iter().map(Element::point));
        scalars.extend(self.responses.projected.iter().map(|response| second * response));
        points.extend(projection_generators());
        product(&scalars, &points) + product(&self.responses.row, statement.key.generators())
    }

    /// ⟨z, Σ e^-j a_j⟩ + e^-1 ⟨b, z_u⟩.
    fn linear_form(&self, relation: &Relation, powers: &[Scalar]) -> Scalar {
        let row = &self.responses.row;
        let offset = relation.offset * row.iter().sum::<Scalar>();
        let found = joined_rows(&products(&limb_rows(row), &relation.form, row.len()));
        let negative = powers.iter().take(found.len());
        let rows: Scalar = found.iter().rev().zip(negative).map(|(found, power)| (found - offset) * power).sum();
        let inverse = powers.get(found.len().saturating_sub(1)).copied().unwrap_or_default();
        rows + inverse * inner_product(&relation.on_projected, &self.responses.projected)
    }
}
