//! The federation protocol's messages and services.
