//! Values made of arbitrary bytes, encoded and decoded.

#![no_main]

// The longest names and payloads that are made of a few bytes, several times over.
moqtail_fuzz::stateful!(256 << 10, moqtail::fuzzing::value);
