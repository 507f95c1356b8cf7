//! What the shell tells the session.

use std::time::Instant;

use super::{
    error::SessionError,
    event::{Event, RequestHandle, StreamKey, StreamVerdict},
    machine::Session,
    request::RequestKind,
    timer::Timer,
};
use crate::model::{DecodeError, StreamCode, StreamHeader, TrackAlias};

const SESSION_CLOSED: StreamVerdict = StreamVerdict::Refuse(StreamCode::SESSION_CLOSED);

/// The control stream and the time.
impl Session {
    /// Bytes were read from the control stream.
    pub fn control_bytes(&mut self, bytes: &[u8], now: Instant) {
        if self.is_closed() {
            return;
        }
        self.decoder.push(bytes);
        let result = self.messages(now);
        self.settle(result);
    }

    fn messages(&mut self, now: Instant) -> Result<(), SessionError> {
        while let Some(message) = self.decoder.next()? {
            self.message(message, now)?;
        }
        Ok(())
    }

    /// `len` bytes of [`Output::Control`](super::Output::Control) were written to the transport.
    pub fn control_written(&mut self, len: usize) {
        self.cx.out.written(len);
    }

    /// The peer finished, reset or stopped the control stream (draft-14 §3.3).
    pub fn control_ended(&mut self) {
        self.end(&SessionError::ControlStreamEnded);
    }

    /// The peer opened a bidirectional stream beside the control stream (draft-14 §3.3).
    pub fn unexpected_stream(&mut self) {
        self.end(&SessionError::SecondBidirectionalStream);
    }

    /// The time is `now`; harmless at any time.
    pub fn timeout(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        let mut result = Ok(());
        while result.is_ok()
            && let Some(timer) = self.cx.timers.pop_due(now)
        {
            result = self.expired(timer, now);
        }
        self.settle(result);
    }

    fn expired(&mut self, timer: Timer, now: Instant) -> Result<(), SessionError> {
        let cx = &mut self.cx;
        match timer {
            Timer::Setup => return Err(SessionError::SetupTimeout),
            Timer::Goaway => {
                // draft-14 §3.5
                return Err(if self.subscriptions.len() + self.publications.len() > 0 {
                    SessionError::GoawayTimeout
                } else {
                    SessionError::Gone
                });
            }
            // draft-14 §3.4, §12.1: not the session, since streams that come first may leave this one no room.
            Timer::Header(stream) => {
                cx.streams.ended(stream, &mut cx.timers, now);
                cx.out.stop(stream);
            }
            Timer::Answer(handle) => {
                self.subscriptions.unanswered(cx, handle)?;
                self.publications.unanswered(cx, handle)?;
                self.namespaces.unanswered(cx, handle)?;
            }
            Timer::Expires(handle) => cx.out.event(Event::SubscriptionExpired { handle }),
            Timer::Parked(stream) => {
                cx.streams.remove(stream, &mut cx.timers);
                cx.out.stop(stream);
            }
            Timer::Linger(handle) => self.subscriptions.lingered(cx, handle, now),
            Timer::Drain(handle) => self.subscriptions.close(cx, handle),
        }
        Ok(())
    }
}

/// Data streams and datagrams of the peer.
impl Session {
    /// The peer opened a unidirectional stream. `false`: over
    /// [`max_inbound_streams`](super::SessionLimits::max_inbound_streams), stop it with CANCELLED and forget it.
    pub fn inbound_stream_opened(&mut self, stream: StreamKey, now: Instant) -> bool {
        !self.is_closed() && self.cx.streams.open(stream, now)
    }

    /// The first bytes of a stream came, and not all of its header: the rest has
    /// [`header_timeout`](super::SessionLimits::header_timeout) from now on.
    pub fn inbound_stream_begun(&mut self, stream: StreamKey, now: Instant) {
        if self.is_closed() || !self.cx.streams.awaits_header(stream) {
            return;
        }
        self.cx
            .timers
            .set_after(Timer::Header(stream), now, self.cx.limits.header_timeout);
    }

    /// The header of a stream was read, which [`inbound_stream_opened`](Self::inbound_stream_opened) had taken in.
    /// A stream that gets [`StreamVerdict::Refuse`] is forgotten.
    pub fn stream_header(
        &mut self,
        stream: StreamKey,
        header: &StreamHeader,
        now: Instant,
    ) -> StreamVerdict {
        if self.is_closed() {
            return SESSION_CLOSED;
        }
        if !self.cx.streams.awaits_header(stream) {
            return StreamVerdict::Refuse(StreamCode::CANCELLED);
        }
        self.cx.timers.cancel(Timer::Header(stream));
        let verdict = match header {
            StreamHeader::Subgroup(header) => {
                self.subscriptions
                    .stream(&mut self.cx, stream, header.track_alias, now)
            }
            StreamHeader::Fetch(header) => {
                // No FETCH is made here, so none can be answered.
                let (id, kind) = (header.request_id, RequestKind::Fetch);
                if let Err(error) = self.cx.requests.check_own(id, "FETCH_HEADER", kind) {
                    self.end(&error);
                    return SESSION_CLOSED;
                }
                StreamVerdict::Refuse(StreamCode::CANCELLED)
            }
        };
        if matches!(verdict, StreamVerdict::Refuse(_)) {
            self.cx.streams.remove(stream, &mut self.cx.timers);
        }
        verdict
    }

    /// All of an inbound stream was read (FIN), or it was reset, or the shell stopped it.
    pub fn inbound_stream_ended(&mut self, stream: StreamKey, now: Instant) {
        if self.is_closed() {
            return;
        }
        if let Some(handle) = self.cx.streams.ended(stream, &mut self.cx.timers, now) {
            self.subscriptions
                .stream_ended(&mut self.cx, handle, stream);
            self.settle(Ok(()));
        }
    }

    /// The subscription to deliver a datagram to; `None`: drop it (draft-14 §10.3).
    pub fn datagram_alias(&self, alias: TrackAlias) -> Option<RequestHandle> {
        self.subscriptions.datagram(&self.cx, alias)
    }

    /// A data stream or datagram is not draft 14: closes the session with the right code.
    pub fn data_error(&mut self, error: &DecodeError) {
        self.end(&SessionError::Decode(error.clone()));
    }
}
