//! Serving: a release is verified before it scores, and every score comes with its reasons.

mod calibration;
mod release;
mod scorer;

pub use calibration::Calibration;
pub use release::{Expected, Installed, ReleaseBundle, Releases};
pub use scorer::{Scored, Scorer};
