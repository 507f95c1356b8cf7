//! One object datagram from arbitrary bytes.

#![no_main]

moqtail_fuzz::parser!(64, moqtail::fuzzing::datagram);
