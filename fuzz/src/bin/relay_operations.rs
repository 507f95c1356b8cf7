//! What several sessions do to the control plane of a relay.

#![no_main]

// Four times the most that was seen: its limits bound what it holds, not its input.
moqtail_fuzz::stateful!(256 << 10, moqtail::fuzzing::relay_operations);
