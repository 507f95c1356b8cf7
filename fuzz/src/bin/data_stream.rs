//! A data stream's head and objects under arbitrary chunking.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail::fuzzing::data_stream(data));
