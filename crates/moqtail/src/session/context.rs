//! What the state machines of a session share.

use std::time::Instant;

use super::{
    alias::{AliasState, Aliases},
    config::{Role, SessionConfig},
    error::{CallError, SessionError},
    event::{Output, RequestHandle, StreamKey},
    limits::SessionLimits,
    outbox::Outbox,
    request::{RequestKind, Requests},
    stream::Streams,
    timer::{Timer, Timers},
};
use crate::model::{ControlMessage, MAX_VARINT, RequestId, TrackAlias, encode_control};

/// Stands for a Request ID that is not given yet, when sizes are checked.
pub(super) const NO_ID: RequestId = RequestId(MAX_VARINT);

/// Tables and queues that subscriptions, publications and namespaces work on.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) limits: SessionLimits,
    pub(super) out: Outbox,
    pub(super) requests: Requests,
    pub(super) timers: Timers,
    pub(super) aliases: Aliases,
    pub(super) streams: Streams,
    next_handle: u64,
}

impl Context {
    pub(super) fn new(config: &SessionConfig) -> Self {
        let limits = config.limits.clone();
        Self {
            out: Outbox::default(),
            requests: Requests::new(
                matches!(config.role, Role::Client { .. }),
                limits.max_peer_requests,
                limits.max_queued_requests,
                limits.max_finished_requests,
                config.tolerances.allow_any_request_id_order,
            ),
            timers: Timers::default(),
            aliases: Aliases::new(limits.max_retired_aliases),
            streams: Streams::new(limits.max_inbound_streams, limits.max_parked_streams),
            limits,
            next_handle: 0,
        }
    }

    pub(super) fn new_handle(&mut self) -> RequestHandle {
        self.next_handle += 1;
        RequestHandle(self.next_handle)
    }

    /// Queues a new own request. Its answer is due from now on, so that a peer that gives no Request ID is not waited for
    /// without end.
    pub(super) fn enqueue(
        &mut self,
        kind: RequestKind,
        handle: RequestHandle,
        now: Instant,
    ) -> Result<(), CallError> {
        self.requests.enqueue(kind, handle)?;
        self.timers
            .set_after(Timer::Answer(handle), now, self.limits.answer_timeout);
        Ok(())
    }

    /// Answers a request of the peer with an error, which ends it.
    pub(super) fn refuse(
        &mut self,
        id: RequestId,
        answer: &ControlMessage,
    ) -> Result<(), SessionError> {
        self.out.send(answer)?;
        self.requests.finish_peer(id);
        Ok(())
    }

    /// `alias` no longer stands for `handle`; what is parked for it is stopped.
    pub(super) fn retire_alias(&mut self, alias: TrackAlias, handle: RequestHandle) {
        self.aliases.retire(alias, handle);
        if self.aliases.get(alias) == AliasState::Retired {
            for stream in self.streams.take_parked(alias, &mut self.timers) {
                self.out.stop(stream);
            }
        }
    }

    /// Hands the streams parked for `alias` to `handle`.
    pub(super) fn resume_parked(
        &mut self,
        alias: TrackAlias,
        handle: RequestHandle,
    ) -> Vec<StreamKey> {
        let streams = self.streams.take_parked(alias, &mut self.timers);
        for stream in &streams {
            self.streams.deliver(*stream, handle);
            self.out.push(Output::ResumeStream {
                stream: *stream,
                handle,
            });
        }
        streams
    }
}

/// Whether a message can be written at all, before anything changes because of it.
pub(super) fn check_encodable(message: &ControlMessage) -> Result<(), CallError> {
    encode_control(message, &mut bytes::BytesMut::new())?;
    Ok(())
}
