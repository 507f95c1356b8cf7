//! One control message from arbitrary bytes.

#![no_main]

// Two lists of messages are compared, each of which takes fifty times the shortest one on the wire.
moqtail_fuzz::parser!(256, moqtail::fuzzing::control_message);
