//! Differential tests against an independent codec.
