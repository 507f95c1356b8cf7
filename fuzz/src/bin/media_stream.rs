//! A fragmented MP4 stream, and what a publisher and a subscriber make of it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail_media::fuzzing::media_stream(data));
