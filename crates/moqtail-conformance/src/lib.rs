//! Black-box conformance suite.
