//! The generated code, as it comes.
#![expect(
    clippy::allow_attributes,
    clippy::as_conversions,
    clippy::all,
    unreachable_pub,
    reason = "generated from `proto/federation.proto`"
)]

tonic::include_proto!("ringfence.federation.v1");
