//! Runnable tours of Ringfence.
