//! An object of a catalog track.

#![no_main]

// A track of 12 bytes is 550 in memory, and for a while it is there three times: read, written, and read again.
moqtail_fuzz::parser!(384, moqtail_media::fuzzing::catalog);
