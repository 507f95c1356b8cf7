//! A fragmented MP4 stream, and what a publisher and a subscriber make of it.

#![no_main]

moqtail_fuzz::parser!(64, moqtail_media::fuzzing::media_stream);
