//! One session of ours and a peer that keeps draft 14.

#![no_main]

// Four times the most that was seen: its limits bound what it holds, not its input.
moqtail_fuzz::stateful!(512 << 10, moqtail::fuzzing::session_legal);
