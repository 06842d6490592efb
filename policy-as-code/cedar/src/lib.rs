//! Cedar policies, schema and evaluation behind Ringfence's own types.
