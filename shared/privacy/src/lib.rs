//! Exact noise, privacy accountants and the privacy ledger's arithmetic.
