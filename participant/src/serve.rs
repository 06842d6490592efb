//! Serving: a release is verified, and was promoted by the operator, before it scores; every score comes with its reasons.

mod calibration;
mod promotion;
mod release;
mod scorer;

pub use calibration::Calibration;
pub use promotion::Word;
pub use release::{Expected, Installed, ReleaseBundle, Releases};
pub use scorer::{Scored, Scorer};
