//! One session of ours and a peer that sends any messages.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail::fuzzing::session_messages(data));
