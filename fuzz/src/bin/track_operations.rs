//! Several publishers and readers of one track.

#![no_main]

// Four times the most that was seen: its limits bound what it holds, not its input.
moqtail_fuzz::stateful!(1 << 20, moqtail::fuzzing::track_operations);
