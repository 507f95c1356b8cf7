//! End-to-end tests of the `moqtail` command.
