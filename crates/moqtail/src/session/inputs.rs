//! What the shell tells the session.

use std::time::Instant;

use super::{
    event::{RequestHandle, StreamKey, StreamVerdict},
    machine::Session,
};
use crate::model::{DecodeError, StreamHeader, TrackAlias};

impl Session {
    /// Bytes were read from the control stream.
    pub fn control_bytes(&mut self, _bytes: &[u8], _now: Instant) {
        unimplemented!()
    }

    /// `len` bytes of [`Output::Control`](super::Output::Control) were written to the transport.
    pub fn control_written(&mut self, _len: usize) {
        unimplemented!()
    }

    /// The peer finished, reset or stopped the control stream (draft-14 §3.3).
    pub fn control_ended(&mut self) {
        unimplemented!()
    }

    /// The peer opened a bidirectional stream beside the control stream (draft-14 §3.3).
    pub fn unexpected_stream(&mut self) {
        unimplemented!()
    }

    /// The peer opened a unidirectional stream; its header is awaited from now on. `false`: over
    /// [`max_inbound_streams`](super::SessionLimits::max_inbound_streams), stop it with CANCELLED and forget it.
    pub fn inbound_stream_opened(&mut self, _stream: StreamKey, _now: Instant) -> bool {
        unimplemented!()
    }

    /// The header of an inbound stream was read. A stream that gets [`StreamVerdict::Refuse`] is forgotten.
    pub fn stream_header(
        &mut self,
        _stream: StreamKey,
        _header: &StreamHeader,
        _now: Instant,
    ) -> StreamVerdict {
        unimplemented!()
    }

    /// All of an inbound stream was read (FIN), or it was reset, or the shell stopped it.
    pub fn inbound_stream_ended(&mut self, _stream: StreamKey, _now: Instant) {
        unimplemented!()
    }

    /// The subscription to deliver a datagram to; `None`: drop it (draft-14 §10.3).
    pub fn datagram_alias(&self, _alias: TrackAlias) -> Option<RequestHandle> {
        unimplemented!()
    }

    /// A data stream or datagram is not draft 14: closes the session with the right code.
    pub fn data_error(&mut self, _error: &DecodeError) {
        unimplemented!()
    }

    /// A data stream stalled inside a header: closes the session with DATA_STREAM_TIMEOUT (draft-14 §3.4).
    /// Headers of streams themselves are timed by the session.
    pub fn data_stalled(&mut self) {
        unimplemented!()
    }

    /// The time is `now`; harmless at any time.
    pub fn timeout(&mut self, _now: Instant) {
        unimplemented!()
    }
}
