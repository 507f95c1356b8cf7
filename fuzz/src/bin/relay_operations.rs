//! What several sessions do to the control plane of a relay.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail::fuzzing::relay_operations(data));
