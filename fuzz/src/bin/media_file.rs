//! An MP4 file, played more than once.

#![no_main]

moqtail_fuzz::parser!(64, moqtail_media::fuzzing::media_file);
