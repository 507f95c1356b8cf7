//! An MP4 file, played more than once.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqtail_media::fuzzing::media_file(data));
