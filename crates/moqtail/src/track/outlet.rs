//! What the delivery engine needs of the world: a log to read and streams to write.

use bytes::Bytes;

use super::TrackLog;
use crate::model::StreamCode;

/// A log that a subscription follows.
pub trait Source {
    /// Reads the log. Whoever drives the engine is to be told of the first change after this call.
    fn read<R>(&self, f: impl FnOnce(&TrackLog) -> R) -> R;
}

/// Name of an outbound stream, given by the [`Outlet`]: a small number, as it indexes a table. It may be used again after
/// the stream was released or reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub usize);

/// Outcome of [`Outlet::open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The new stream.
    Stream(StreamKey),
    /// No stream credit; [`Delivery::credit`](super::Delivery::credit) is called when there may be some.
    NoCredit,
    /// The connection is gone.
    Gone,
}

/// Outcome of [`Outlet::write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// So many bytes were taken, at least one.
    Taken(usize),
    /// Nothing now; [`Delivery::woken`](super::Delivery::woken) is called when it may be tried again.
    Blocked,
    /// The peer stopped the stream.
    Stopped,
    /// The connection is gone.
    Gone,
}

/// Outcome of [`Outlet::watch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Open, or finished and not all received; [`Delivery::woken`](super::Delivery::woken) is called on a change.
    Pending,
    /// The peer has all of the stream.
    Received,
    /// The peer stopped the stream, or the connection is gone.
    Stopped,
}

/// Outcome of [`Outlet::datagram`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramSent {
    /// Handed to the transport.
    Sent,
    /// Not taken, as others wait for the path; [`Delivery::datagrams`](super::Delivery::datagrams) is called when it may
    /// be tried again.
    Blocked,
    /// This session cannot take it: too large, or no datagrams at all.
    Refused,
}

/// The sending side of one connection. No call waits.
pub trait Outlet {
    /// Opens a stream; larger priorities go first.
    fn open(&mut self, priority: i32) -> Opened;
    /// Writes from the front of `chunks`; what was taken is split off.
    fn write(&mut self, stream: StreamKey, chunks: &mut [Bytes]) -> Written;
    /// Looks whether the peer stopped the stream or has received all of it, and keeps looking.
    fn watch(&mut self, stream: StreamKey) -> Watched;
    /// Marks the end of the stream. It stays until it is released or reset.
    fn finish(&mut self, stream: StreamKey);
    /// Resets the stream, finished or not, and forgets it.
    fn reset(&mut self, stream: StreamKey, code: StreamCode);
    /// Forgets a stream that is over.
    fn release(&mut self, stream: StreamKey);
    /// Changes a priority.
    fn set_priority(&mut self, stream: StreamKey, priority: i32);
    /// Sends a datagram, if the path takes another one now.
    fn datagram(&mut self, wire: Bytes) -> DatagramSent;
}
