//! The head of a data stream, cut at every byte.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail::fuzzing::stream_head(data));
