//! What keeps a participant's local training near the others'. Terms only; training itself is `shared-model`'s work.

use serde::{Deserialize, Serialize};

use crate::aggregate::ServerStep;

/// What is added to each local step. All of it depends only on parameters, not on records, so that it costs no privacy.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LocalTraining {
    /// Nothing.
    #[default]
    Plain,
    /// A pull μ (w − w₀) back to the checkpoint (Li et al. 2020, "Federated Optimization in Heterogeneous Networks",
    /// Algorithm 2).
    FedProx {
        /// μ, above 0.
        mu: f64,
    },
    /// A pull α (w − w₀) and a linear term (Acar et al. 2021, "Federated Learning Based on Dynamic Regularization",
    /// Algorithm 1). α is the server step's.
    FedDyn {
        /// α, above 0. The pull holds the model after some 1 / (α · learning rate) steps: more of them only add noise.
        alpha: f64,
    },
    /// The correction c − cᵢ (Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated
    /// Learning", Algorithm 1).
    Scaffold,
}

impl LocalTraining {
    /// How many vectors of the model's length an update has.
    pub fn vectors(self) -> usize {
        if self == Self::Scaffold { 2 } else { 1 }
    }

    /// Whether this local training and that server step belong together.
    pub fn fits(self, server: &ServerStep) -> bool {
        match (self, server) {
            (Self::Scaffold, ServerStep::Scaffold { .. }) => true,
            (Self::FedDyn { alpha }, ServerStep::FedDyn { alpha: server }) => alpha.to_bits() == server.to_bits(),
            (Self::Plain | Self::FedProx { .. }, server) => {
                !matches!(server, ServerStep::Scaffold { .. } | ServerStep::FedDyn { .. })
            }
            _ => false,
        }
    }

    /// Checks the numbers.
    pub fn validate(self) -> Result<(), String> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        match self {
            Self::FedProx { mu } if !positive(mu) => Err("mu must be above 0".to_owned()),
            Self::FedDyn { alpha } if !positive(alpha) => Err("alpha must be above 0".to_owned()),
            _ => Ok(()),
        }
    }
}
