//! The evidence as Markdown, which a terminal shows as well as a page does, and as JSON.

use std::fmt::{self, Formatter};

use serde::Serialize;

use crate::guess::Evidence;
use crate::inversion::{Inversion, View};
use crate::masks::{Distance, Masks};
use crate::membership::{Membership, Success};
use crate::training::Defect;

/// Lower bounds on ε beside a claim.
#[derive(Debug, Serialize)]
pub(crate) struct Audit {
    /// What the accountant claims.
    pub(crate) claim: f64,
    pub(crate) noise_multiplier: f64,
    pub(crate) defect: Defect,
    /// By who sees the updates of a model without hidden layers, where a canary's gradient is one coordinate.
    pub(crate) white_box: Evidence,
    /// By who may ask a model with a hidden layer after its training.
    pub(crate) black_box: Evidence,
    /// The bound that scores without anything but noise would prove on average.
    pub(crate) ideal: f64,
}

impl Audit {
    /// Whether a bound refutes the claim.
    fn is_refuted(&self) -> bool {
        self.white_box.epsilon.max(self.black_box.epsilon) > self.claim
    }
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) delta: f64,
    /// The largest bound that the canaries could prove.
    pub(crate) most_provable: f64,
    pub(crate) audit: Vec<Audit>,
    pub(crate) membership: Vec<Membership>,
    pub(crate) inversion: Vec<Inversion>,
    pub(crate) masks: Masks,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "Lower bounds on ε at 95 % confidence and δ = {:e}, each from one training run;", self.delta)?;
        writeln!(f, "no bound above {:.2} could be proved with as many canaries:\n", self.most_provable)?;
        writeln!(f, "| claimed ε | noise multiplier | noise drawn | white-box | black-box | ideal scores | claim |")?;
        writeln!(f, "|---:|---:|---|---:|---:|---:|---|")?;
        self.audit.iter().try_for_each(|row| audit(f, row))?;
        writeln!(f, "\nMembership inference (AUC · TPR at FPR 1 % · at 0.1 %):\n")?;
        writeln!(f, "| training | accuracy | loss threshold | LiRA | LiRA, mislabelled records |")?;
        writeln!(f, "|---|---:|---|---|---|")?;
        self.membership.iter().try_for_each(|row| membership(f, row))?;
        writeln!(f, "\nGradient inversion of one update (medians; best of 17 guesses):\n")?;
        writeln!(f, "| attacker sees | records in the step | relative error | cosine |")?;
        writeln!(f, "|---|---:|---:|---:|")?;
        self.inversion.iter().try_for_each(|row| inversion(f, row))?;
        masks(f, &self.masks)
    }
}

fn audit(f: &mut Formatter<'_>, row: &Audit) -> fmt::Result {
    let drawn = match row.defect {
        Defect::None => "all",
        Defect::TenthOfNoise => "a tenth",
        Defect::NoNoise => "none",
    };
    let claim = if row.is_refuted() { "refuted" } else { "not refuted" };
    write!(f, "| {} | {:.3} | {drawn} ", row.claim, row.noise_multiplier)?;
    let Audit { white_box, black_box, ideal, .. } = row;
    writeln!(f, "| {:.2} | {:.2} | {ideal:.2} | {claim} |", white_box.epsilon, black_box.epsilon)
}

fn membership(f: &mut Formatter<'_>, row: &Membership) -> fmt::Result {
    let training = row.epsilon.map_or("without noise".to_owned(), |epsilon| format!("ε = {epsilon}"));
    let [loss, lira, mislabelled] = [row.loss, row.lira, row.lira_mislabelled].map(success);
    writeln!(f, "| {training} | {:.3} | {loss} | {lira} | {mislabelled} |", row.accuracy)
}

fn success(of: Success) -> String {
    format!("{:.3} · {:.3} · {:.4}", of.auc, of.tpr_at_fpr_1e2, of.tpr_at_fpr_1e3)
}

fn inversion(f: &mut Formatter<'_>, row: &Inversion) -> fmt::Result {
    let view = match row.view {
        View::NoNoise => "the update, without noise",
        View::Noise => "the update, noise of ε = 2",
        View::RandomRecord => "nothing (random records)",
    };
    writeln!(f, "| {view} | {} | {:.2e} | {:.3} |", row.records, row.relative_error, row.cosine)
}

fn masks(f: &mut Formatter<'_>, of: &Masks) -> fmt::Result {
    let Masks { sites, colluders, words, .. } = of;
    writeln!(f, "\nOne of {sites} sites under masks, {words} words, before the coordinator and {colluders} others")?;
    writeln!(f, "(distance from uniform words, in standard deviations of uniform ones):\n")?;
    writeln!(f, "| seen | byte values | bit balance | correlation with the update |\n|---|---:|---:|---:|")?;
    for (seen, Distance { bytes, bits, correlation }) in
        [("what is left of the masked update", of.residual), ("the update itself, for comparison", of.plain)]
    {
        writeln!(f, "| {seen} | {bytes:.1} | {bits:.1} | {correlation:.1} |")?;
    }
    let sum = if of.sum_is_exact { "decodes exactly" } else { "does not decode" };
    let key = if of.key_is_found { "give its key" } else { "do not give its key" };
    writeln!(f, "\nThe sum {sum}; the colluders' shares {key}.")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bound::Guesses;

    pub(crate) fn report() -> Report {
        let evidence = |epsilon| Evidence { epsilon, guesses: Guesses { canaries: 10, made: 4, right: 3 } };
        let audit = |defect, found| Audit {
            claim: 2.0,
            noise_multiplier: 2.5,
            defect,
            white_box: evidence(found),
            black_box: evidence(0.5),
            ideal: 1.5,
        };
        let success = Success { auc: 0.75, tpr_at_fpr_1e2: 0.25, tpr_at_fpr_1e3: 0.125 };
        let membership =
            Membership { epsilon: None, accuracy: 0.9, loss: success, lira: success, lira_mislabelled: success };
        let inversion = Inversion { view: View::NoNoise, records: 1, relative_error: 1e-6, cosine: 1.0 };
        let distance = |far| Distance { bytes: far, bits: far, correlation: far };
        let masks = Masks {
            sites: 10,
            colluders: 6,
            words: 100,
            residual: distance(1.0),
            plain: distance(90.0),
            sum_is_exact: true,
            key_is_found: false,
        };
        Report {
            masks,
            delta: 1e-6,
            most_provable: 7.0,
            audit: vec![audit(Defect::None, 1.0), audit(Defect::NoNoise, 6.0)],
            membership: vec![membership],
            inversion: vec![inversion],
        }
    }

    #[test]
    fn the_tables_say_which_claims_are_refuted() {
        let text = report().to_string();
        assert!(text.contains("| 2 | 2.500 | all | 1.00 | 0.50 | 1.50 | not refuted |"), "{text}");
        assert!(text.contains("| 2 | 2.500 | none | 6.00 | 0.50 | 1.50 | refuted |"), "{text}");
        assert!(text.contains("| without noise | 0.900 | 0.750 · 0.250 · 0.1250 |"), "{text}");
        assert!(text.contains("| what is left of the masked update | 1.0 | 1.0 | 1.0 |"), "{text}");
        assert!(text.contains("The sum decodes exactly; the colluders' shares do not give its key."), "{text}");
        assert!(text.contains("| the update, without noise | 1 | 1.00e-6 | 1.000 |"), "{text}");
    }

    #[test]
    fn the_json_has_the_promised_shape() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["audit"][1]["defect"], "no-noise");
        assert_eq!(
            json["audit"][0]["white_box"],
            serde_json::json!({"epsilon": 1.0, "canaries": 10, "made": 4, "right": 3})
        );
        assert_eq!(json["membership"][0]["epsilon"], serde_json::Value::Null);
        assert_eq!(json["inversion"][0]["view"], "no-noise");
    }
}
