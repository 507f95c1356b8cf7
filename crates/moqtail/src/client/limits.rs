//! Caps of a client.

use crate::track::IntegrityLimits;

/// What a client holds at most for its application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// Streams and datagrams of one subscription that the application has not taken yet; further streams are stopped
    /// with CANCELLED and further datagrams dropped; at least one. Default 1024, which is what the transport lets a peer open.
    pub max_unread: usize,
    /// Bytes of incomplete objects that are held at once for all streams of the session; a stream that brings more fails
    /// its read. Objects that are read in pieces hold nothing. Default 256 MiB.
    pub max_gathered: u64,
    /// Largest object that is handed out whole, in bytes; asking for a larger one fails, reading it in pieces
    /// ([`super::SubgroupReader::open_object`]) does not. Default 64 MiB.
    pub max_object_len: u64,
    /// What is remembered of the track of each subscription to notice that it is malformed: by default some 100 kB, and half
    /// a megabyte at most.
    pub integrity: IntegrityLimits,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_unread: 1024,
            max_gathered: 256 * 1024 * 1024,
            max_object_len: 64 * 1024 * 1024,
            integrity: IntegrityLimits::default(),
        }
    }
}
