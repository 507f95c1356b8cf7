//! Several publishers and readers of one track.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail::fuzzing::track_operations(data));
