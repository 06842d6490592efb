//! Generates the messages and services from `proto/` with a pure-Rust protobuf compiler.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["federation.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".ringfence.federation.v1.Chunk")
        .bytes(".ringfence.federation.v1.JoinRequest.dealing")
        .bytes(".ringfence.federation.v1.ProofRequest.proof")
        .bytes(".ringfence.federation.v1.UpdateOpen.dealing")
        .codec_path("crate::codec::LeanCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
