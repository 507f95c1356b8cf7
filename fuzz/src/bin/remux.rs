//! A subscriber that merges any tracks.

#![no_main]

moqtail_fuzz::parser!(64, moqtail_media::fuzzing::remux);
