//! Values made of arbitrary bytes, encoded and decoded.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail::fuzzing::value(data));
