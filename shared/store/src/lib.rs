//! Durable ordered key-value stores behind the Store trait.
