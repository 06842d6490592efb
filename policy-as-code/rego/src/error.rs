//! Why Rego policies do not serve, or did not answer.

use shared::Explain;

/// Why Rego policies do not serve, or did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegoError {
    /// A module does not parse.
    #[error("`{path}` does not parse: {reason}")]
    Syntax {
        /// Where.
        path: String,
        /// What the parser says.
        reason: String,
    },
    /// A module draws random numbers.
    #[error("`{path}` uses `rand.intn`, and a veto must give the same answer twice")]
    Random {
        /// Where.
        path: String,
    },
    /// No module vetoes.
    #[error("no Rego module is `package ringfence` with a rule `deny`")]
    NoRule,
    /// The modules do not fit together.
    #[error("the Rego modules cannot be evaluated: {reason}")]
    Unusable {
        /// What the engine says.
        reason: String,
    },
    /// A question was not answered.
    #[error("the Rego veto failed: {reason}")]
    Evaluation {
        /// What the engine says.
        reason: String,
    },
}

impl Explain for RegoError {
    fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "rego-syntax",
            Self::Random { .. } => "rego-random",
            Self::NoRule => "rego-no-rule",
            Self::Unusable { .. } => "rego-unusable",
            Self::Evaluation { .. } => "rego-evaluation",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "mend the file there; `opa check --strict` reads the same language",
            Self::Random { .. } => "write the rule without it; a decision has to be repeatable from its record",
            Self::NoRule => "start a file with `package ringfence` and give it `deny contains message if { … }`",
            Self::Unusable { .. } => {
                "mend what it names; a veto has none of OPA's functions for time, networks, tokens and the runtime"
            }
            Self::Evaluation { .. } => "the action is vetoed at this tier; mend the rule that the message names",
        }
    }
}
