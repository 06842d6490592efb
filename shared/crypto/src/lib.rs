//! Sign, verify, digest, seal, tokenise, and the federation's certificates.
