//! Two sessions of ours, operated by bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail::fuzzing::session_operations(data));
