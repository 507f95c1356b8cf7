//! An object of a catalog track.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail_media::fuzzing::catalog(data));
