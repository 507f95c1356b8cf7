//! The session itself: what it is made of, how it is drained and how it ends.

use std::time::Instant;

use super::{
    blame::Blame,
    config::{Carrier, Role, SessionConfig},
    context::Context,
    error::{CallError, SessionError},
    event::{Event, Output, PeerSetup},
    goaway::Goaway,
    namespace::Namespaces,
    publish::Publications,
    request::RequestKind,
    setup::own_setup,
    subscribe::Subscriptions,
    timer::Timer,
};
use crate::model::{ControlDecoder, ControlMessage, MaxRequestId, RequestsBlocked};

/// How far the session is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The peer's SETUP is awaited.
    AwaitSetup,
    /// Server: CLIENT_SETUP is here, the application has not answered.
    AwaitAnswer(Box<PeerSetup>),
    Open,
    Closed,
}

/// One peer of one MOQT session.
///
/// After every input and every call: [`poll_output`](Self::poll_output) until `None`, then
/// [`deadline`](Self::deadline). After [`Output::Close`] all inputs are ignored and all calls fail with
/// [`CallError::Closed`].
#[derive(Debug)]
pub struct Session {
    pub(super) client: bool,
    pub(super) carrier: Carrier,
    pub(super) phase: Phase,
    /// SERVER_SETUP, until it is sent.
    pub(super) own_setup: Option<ControlMessage>,
    pub(super) decoder: ControlDecoder,
    pub(super) cx: Context,
    pub(super) subscriptions: Subscriptions,
    pub(super) publications: Publications,
    pub(super) namespaces: Namespaces,
    pub(super) goaway: Goaway,
    /// Whose doing its close was.
    pub(super) blame: Option<Blame>,
}

/// How much a session holds, for gauges and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionLoad {
    /// Subscriptions in which this side is the subscriber, in any state.
    pub subscriptions: usize,
    /// Subscriptions in which this side is the publisher, in any state.
    pub publications: usize,
    /// Namespaces announced by this side.
    pub announced: usize,
    /// Namespaces announced by the peer.
    pub announced_by_peer: usize,
    /// Unfinished requests of the peer.
    pub peer_requests: usize,
    /// Own requests that wait for the peer's MAX_REQUEST_ID.
    pub queued_requests: usize,
    /// Finished own requests that are remembered.
    pub finished_requests: usize,
    /// Inbound streams.
    pub streams: usize,
    /// Inbound streams that wait for their Track Alias.
    pub parked_streams: usize,
    /// Track Aliases of ended subscriptions that are remembered.
    pub retired_aliases: usize,
    /// Deadlines that are set.
    pub timers: usize,
    /// Control bytes given out or queued, and not written.
    pub control_backlog: usize,
}

impl Session {
    /// A session over a new connection. A client's CLIENT_SETUP is its first output.
    ///
    /// # Errors
    /// The configuration cannot be written: PATH or AUTHORITY break URI syntax, or tokens are too long.
    pub fn new(config: SessionConfig, now: Instant) -> Result<Self, CallError> {
        let mut cx = Context::new(&config);
        let setup = own_setup(&config, cx.requests.peer_limit())?;
        super::context::check_encodable(&setup)?;
        cx.timers
            .set_after(Timer::Setup, now, cx.limits.setup_timeout);
        let client = matches!(config.role, Role::Client { .. });
        let own_setup = if client {
            cx.out.send(&setup)?;
            None
        } else {
            Some(setup)
        };
        Ok(Self {
            client,
            carrier: config.carrier,
            phase: Phase::AwaitSetup,
            own_setup,
            decoder: ControlDecoder::new(config.tolerances.decode),
            cx,
            subscriptions: Subscriptions::default(),
            publications: Publications::default(),
            namespaces: Namespaces::default(),
            goaway: Goaway::default(),
            blame: None,
        })
    }

    /// The next thing to do; `None`: wait for input or [`deadline`](Self::deadline).
    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.out.pop()
    }

    /// Whether [`poll_output`](Self::poll_output) has something to give.
    pub fn has_output(&self) -> bool {
        !self.cx.out.is_empty()
    }

    /// When [`timeout`](Self::timeout) wants to be called; changes with every input and call.
    pub fn deadline(&self) -> Option<Instant> {
        self.cx.timers.next()
    }

    /// Whether both SETUP messages are exchanged and the session is not closed.
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether the session has closed or is about to ([`Output::Close`] is queued or was given out).
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whose doing it is that this side closes the session; `None` while it does not.
    pub fn blame(&self) -> Option<Blame> {
        self.blame
    }

    /// Whether the peer serves a subscription of this side, or did: SUBSCRIBE_OK has come, or its PUBLISH was accepted.
    pub fn has_subscribed(&self) -> bool {
        self.subscriptions.has_begun()
    }

    /// Requests that can be sent at once, SUBSCRIBE_UPDATE among them: what is left of the peer's MAX_REQUEST_ID beside
    /// requests that wait for it already (draft-14 §9.5).
    #[must_use]
    pub fn request_credit(&self) -> u64 {
        self.cx.requests.credit()
    }

    /// How much the session holds.
    pub fn load(&self) -> SessionLoad {
        SessionLoad {
            subscriptions: self.subscriptions.len(),
            publications: self.publications.len(),
            announced: self.namespaces.own_len(),
            announced_by_peer: self.namespaces.peer_len(),
            peer_requests: self.cx.requests.peer_len(),
            queued_requests: self.cx.requests.queued_len(),
            finished_requests: self.cx.requests.finished_len(),
            streams: self.cx.streams.len(),
            parked_streams: self.cx.streams.parked_len(),
            retired_aliases: self.cx.aliases.retired_len(),
            timers: self.cx.timers.len(),
            control_backlog: self.cx.out.unwritten(),
        }
    }

    /// Ends an input or call: closes on error, otherwise does what has become possible or due by it.
    pub(super) fn settle(&mut self, result: Result<(), SessionError>) {
        if self.is_closed() {
            return;
        }
        if let Err(error) = result.and_then(|()| self.flush()) {
            self.end(&error);
        }
    }

    /// Closes the session. The only place that does.
    pub(super) fn end(&mut self, error: &SessionError) {
        if self.is_closed() {
            return;
        }
        self.phase = Phase::Closed;
        self.blame = Some(error.blame());
        self.cx.timers.clear();
        self.cx.out.close(error);
    }

    /// Sends requests that have credit, gives the peer credit, and looks at limits.
    fn flush(&mut self) -> Result<(), SessionError> {
        if self.is_established() {
            while let Some((kind, handle, id)) = self.cx.requests.next_sendable() {
                match kind {
                    RequestKind::Publish => {
                        self.publications.send(&mut self.cx, handle, id)?;
                    }
                    RequestKind::PublishNamespace => {
                        self.namespaces.send(&mut self.cx, handle, id)?;
                    }
                    _ => self.subscriptions.send(&mut self.cx, kind, handle, id)?,
                }
            }
            if let Some(limit) = self.cx.requests.newly_blocked() {
                self.cx
                    .out
                    .send(&ControlMessage::RequestsBlocked(RequestsBlocked { limit }))?;
            }
            if let Some(limit) = self.cx.requests.grant() {
                self.cx
                    .out
                    .send(&ControlMessage::MaxRequestId(MaxRequestId { limit }))?;
            }
            if self
                .goaway
                .newly_drained(self.subscriptions.len() + self.publications.len())
            {
                self.cx.out.event(Event::Drained);
            }
        }
        let queued = self.cx.out.unwritten();
        let max = self.cx.limits.max_control_backlog;
        if queued > max {
            return Err(SessionError::ControlBacklog { queued, max });
        }
        Ok(())
    }
}
