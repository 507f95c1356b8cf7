//! Request IDs of both sides: order, limits, credit, and what an ID stands for (draft-14 §9.1, §9.5, §9.6).
//!
//! Own requests wait in a queue until the peer's MAX_REQUEST_ID lets them out. Requests of the peer are counted; as
//! they finish, the peer is given the same credit again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    error::{CallError, SessionError},
    event::RequestHandle,
};
use crate::model::{MAX_VARINT, RequestId};

/// The requests of draft-14 §9.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    Subscribe,
    SubscribeUpdate,
    Publish,
    PublishNamespace,
    Fetch,
    TrackStatus,
    SubscribeNamespace,
}

impl RequestKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "SUBSCRIBE",
            Self::SubscribeUpdate => "SUBSCRIBE_UPDATE",
            Self::Publish => "PUBLISH",
            Self::PublishNamespace => "PUBLISH_NAMESPACE",
            Self::Fetch => "FETCH",
            Self::TrackStatus => "TRACK_STATUS",
            Self::SubscribeNamespace => "SUBSCRIBE_NAMESPACE",
        }
    }
}

#[derive(Debug)]
struct Own {
    kind: RequestKind,
    /// `None`: finished, kept to tell a late answer from a second one.
    handle: Option<RequestHandle>,
    answered: bool,
}

#[derive(Debug)]
struct OfPeer {
    kind: RequestKind,
    handle: RequestHandle,
}

/// What a message of the peer about a request refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Referred {
    /// A request in progress.
    Active(RequestHandle),
    /// A request that has ended here: the message crossed its end.
    Ended,
}

/// Request IDs of both sides.
#[derive(Debug)]
pub(super) struct Requests {
    own_parity: u64,
    /// Requests sent.
    issued: u64,
    /// Exclusive limit that the peer gave.
    limit: u64,
    /// REQUESTS_BLOCKED was sent for this limit.
    blocked_at: Option<u64>,
    queue: VecDeque<(RequestKind, RequestHandle)>,
    max_queued: usize,
    own: BTreeMap<RequestId, Own>,
    finished_own: VecDeque<RequestId>,
    max_finished: usize,
    /// The peer has made all requests with lower numbers.
    peer_next: u64,
    /// Numbers above of requests that it made. [`Requests::grant`] bounds it by `max_peer`.
    peer_early: BTreeSet<u64>,
    /// There may be such.
    any_order: bool,
    /// Exclusive limit that the peer has.
    peer_limit: u64,
    peer: BTreeMap<RequestId, OfPeer>,
    max_peer: u64,
}

impl Requests {
    pub(super) fn new(
        client: bool,
        max_peer: u32,
        max_queued: usize,
        max_finished: usize,
        any_order: bool,
    ) -> Self {
        let max_peer = u64::from(max_peer);
        Self {
            own_parity: u64::from(!client),
            issued: 0,
            limit: 0,
            blocked_at: None,
            queue: VecDeque::new(),
            max_queued,
            own: BTreeMap::new(),
            finished_own: VecDeque::new(),
            max_finished,
            peer_next: 0,
            peer_early: BTreeSet::new(),
            any_order,
            peer_limit: 2 * max_peer,
            peer: BTreeMap::new(),
            max_peer,
        }
    }

    fn own_id(&self, number: u64) -> RequestId {
        RequestId(number.saturating_mul(2).saturating_add(self.own_parity))
    }

    fn peer_id(&self, number: u64) -> RequestId {
        RequestId(number.saturating_mul(2).saturating_add(1 - self.own_parity))
    }

    fn is_own(&self, id: RequestId) -> bool {
        id.0 % 2 == self.own_parity
    }

    // ---- own requests ----

    /// MAX_REQUEST_ID of the peer's SETUP.
    pub(super) fn set_initial_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// MAX_REQUEST_ID.
    pub(super) fn raise_limit(&mut self, limit: u64) -> Result<(), SessionError> {
        // draft-14 §9.5
        if limit <= self.limit {
            return Err(SessionError::LimitNotRaised {
                new: limit,
                current: self.limit,
            });
        }
        self.limit = limit;
        Ok(())
    }

    /// Requests that can still be sent with what the peer gave, beside those that wait.
    pub(super) fn credit(&self) -> u64 {
        let left = self.limit.saturating_sub(self.own_id(self.issued).0);
        let waiting = u64::try_from(self.queue.len()).unwrap_or(u64::MAX);
        left.div_ceil(2).saturating_sub(waiting)
    }

    /// Puts a request into the queue if there is room.
    pub(super) fn enqueue(
        &mut self,
        kind: RequestKind,
        handle: RequestHandle,
    ) -> Result<(), CallError> {
        if self.queue.len() >= self.max_queued {
            return Err(CallError::QueueFull);
        }
        self.queue.push_back((kind, handle));
        Ok(())
    }

    /// Puts an update of a subscription into the queue, at most one for each.
    pub(super) fn enqueue_update(&mut self, handle: RequestHandle) {
        let update = (RequestKind::SubscribeUpdate, handle);
        if !self.queue.contains(&update) {
            self.queue.push_back(update);
        }
    }

    /// Takes everything of `handle` out of the queue.
    pub(super) fn dequeue(&mut self, handle: RequestHandle) {
        self.queue.retain(|(_, queued)| *queued != handle);
    }

    /// Takes all new requests out of the queue; updates stay.
    pub(super) fn dequeue_new(&mut self) -> Vec<(RequestKind, RequestHandle)> {
        let (updates, new) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(kind, _)| *kind == RequestKind::SubscribeUpdate);
        self.queue = updates;
        new.into()
    }

    /// The next request that has credit, with the Request ID it is sent with.
    pub(super) fn next_sendable(&mut self) -> Option<(RequestKind, RequestHandle, RequestId)> {
        let id = self.own_id(self.issued);
        // draft-14 §9.5
        if id.0 >= self.limit {
            return None;
        }
        let (kind, handle) = self.queue.pop_front()?;
        self.issued += 1;
        let update = kind == RequestKind::SubscribeUpdate;
        self.own.insert(
            id,
            Own {
                kind,
                handle: (!update).then_some(handle),
                answered: update,
            },
        );
        if update {
            self.remember_finished(id);
        }
        Some((kind, handle, id))
    }

    /// The limit to name in REQUESTS_BLOCKED, once for each limit.
    pub(super) fn newly_blocked(&mut self) -> Option<u64> {
        // draft-14 §9.6
        if self.queue.is_empty() || self.blocked_at == Some(self.limit) {
            return None;
        }
        self.blocked_at = Some(self.limit);
        Some(self.limit)
    }

    pub(super) fn finish_own(&mut self, id: RequestId) {
        if let Some(own) = self.own.get_mut(&id)
            && own.handle.take().is_some()
        {
            self.remember_finished(id);
        }
    }

    fn remember_finished(&mut self, id: RequestId) {
        self.finished_own.push_back(id);
        if self.finished_own.len() > self.max_finished
            && let Some(oldest) = self.finished_own.pop_front()
        {
            self.own.remove(&oldest);
        }
    }

    /// The own request of `kind` that `message` answers.
    pub(super) fn answered(
        &mut self,
        id: RequestId,
        message: &'static str,
        kind: RequestKind,
    ) -> Result<Referred, SessionError> {
        // draft-14 §9.1
        if !self.is_own(id) || id >= self.own_id(self.issued) {
            return Err(SessionError::UnknownRequestId { message, id });
        }
        let Some(own) = self.own.get_mut(&id) else {
            return Ok(Referred::Ended);
        };
        if own.kind != kind {
            return Err(SessionError::WrongRequestKind {
                message,
                id,
                request: own.kind.name(),
            });
        }
        // draft-14 §5.1, §6.2
        if own.answered {
            return Err(SessionError::SecondAnswer { message, id });
        }
        own.answered = true;
        Ok(own.handle.map_or(Referred::Ended, Referred::Active))
    }

    /// Checks that `message` is about an own request of `kind`, as far as it is remembered.
    pub(super) fn check_own(
        &self,
        id: RequestId,
        message: &'static str,
        kind: RequestKind,
    ) -> Result<(), SessionError> {
        // draft-14 §9.1
        if !self.is_own(id) || id >= self.own_id(self.issued) {
            return Err(SessionError::UnknownRequestId { message, id });
        }
        match self.own.get(&id) {
            Some(own) if own.kind != kind => Err(SessionError::WrongRequestKind {
                message,
                id,
                request: own.kind.name(),
            }),
            _ => Ok(()),
        }
    }

    // ---- requests of the peer ----

    /// Exclusive limit that the peer has, as told in SETUP.
    pub(super) fn peer_limit(&self) -> u64 {
        self.peer_limit
    }

    /// Takes in a new request of the peer.
    pub(super) fn received(
        &mut self,
        id: RequestId,
        kind: RequestKind,
        handle: RequestHandle,
    ) -> Result<(), SessionError> {
        let message = kind.name();
        let expected = self.peer_id(self.peer_next);
        // draft-14 §9.5, checked before the order
        if !self.is_own(id) && id.0 >= self.peer_limit {
            return Err(SessionError::TooManyRequests {
                message,
                id,
                limit: self.peer_limit,
            });
        }
        // draft-14 §9.1
        if id != expected && (self.is_own(id) || !self.any_order) {
            return Err(SessionError::RequestIdOrder {
                message,
                got: id,
                expected,
            });
        }
        if self.was_made(id) {
            return Err(SessionError::RequestIdReused { message, id });
        }
        if id == expected {
            self.peer_next += 1;
            while self.peer_early.remove(&self.peer_next) {
                self.peer_next += 1;
            }
        } else {
            self.peer_early.insert(id.0 / 2);
        }
        self.peer.insert(id, OfPeer { kind, handle });
        Ok(())
    }

    /// Whether the peer has made the request.
    fn was_made(&self, id: RequestId) -> bool {
        !self.is_own(id) && (id.0 / 2 < self.peer_next || self.peer_early.contains(&(id.0 / 2)))
    }

    pub(super) fn finish_peer(&mut self, id: RequestId) {
        self.peer.remove(&id);
    }

    /// The limit to tell with MAX_REQUEST_ID, if it is worth a message: a quarter of the window has become free, or
    /// no less than what the peer has left.
    pub(super) fn grant(&mut self) -> Option<u64> {
        let finished = self.peer_next.saturating_sub(self.peer.len() as u64);
        let target = finished
            .saturating_add(self.max_peer)
            .saturating_mul(2)
            .min(MAX_VARINT);
        let free = target.saturating_sub(self.peer_limit) / 2;
        let made = self.peer_next + self.peer_early.len() as u64;
        let left = (self.peer_limit / 2).saturating_sub(made);
        if free == 0 || free < left.min(self.max_peer / 4) {
            return None;
        }
        self.peer_limit = target;
        Some(target)
    }

    /// The subscription that `message` is about: an own request of `own` kind or one of the peer of `peer` kind.
    pub(super) fn subscription(
        &self,
        id: RequestId,
        message: &'static str,
        own: RequestKind,
        peer: RequestKind,
    ) -> Result<Referred, SessionError> {
        let made = match self.is_own(id) {
            true => id < self.own_id(self.issued),
            false => self.was_made(id),
        };
        // draft-14 §9.1
        if !made {
            return Err(SessionError::UnknownRequestId { message, id });
        }
        let (kind, handle, expected) = if self.is_own(id) {
            let Some(request) = self.own.get(&id) else {
                return Ok(Referred::Ended);
            };
            (request.kind, request.handle, own)
        } else {
            let Some(request) = self.peer.get(&id) else {
                return Ok(Referred::Ended);
            };
            (request.kind, Some(request.handle), peer)
        };
        if kind != expected {
            return Err(SessionError::WrongRequestKind {
                message,
                id,
                request: kind.name(),
            });
        }
        Ok(handle.map_or(Referred::Ended, Referred::Active))
    }

    /// Checks that `message` is about a request that the peer has made; it need not be in progress.
    pub(super) fn made_by_peer(
        &self,
        id: RequestId,
        message: &'static str,
    ) -> Result<(), SessionError> {
        // draft-14 §9.1
        if !self.was_made(id) {
            return Err(SessionError::UnknownRequestId { message, id });
        }
        Ok(())
    }

    pub(super) fn queued_len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn peer_len(&self) -> usize {
        self.peer.len()
    }

    pub(super) fn finished_len(&self) -> usize {
        self.finished_own.len()
    }
}
