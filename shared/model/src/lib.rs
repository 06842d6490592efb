//! Architectures, the DP training step, inference and attribution.
