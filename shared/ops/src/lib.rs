//! What the binaries need: config layers, tracing, metrics, health, problem+json, shutdown.
