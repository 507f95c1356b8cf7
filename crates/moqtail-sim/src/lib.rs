//! Simulated peers, links and time.
