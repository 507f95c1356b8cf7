//! The head of a data stream, cut at every byte.

#![no_main]

moqtail_fuzz::parser!(64, moqtail::fuzzing::stream_head);
