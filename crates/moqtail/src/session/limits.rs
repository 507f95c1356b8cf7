//! Every cap and time of a session, in one place.

use std::time::Duration;

/// Caps on what one peer can make a session hold, and how long it may take.
///
/// | Limit | Default | When it is reached |
/// | --- | --- | --- |
/// | `max_peer_requests` | 1024 | the peer gets no more Request IDs; using one closes with TOO_MANY_REQUESTS |
/// | `max_queued_requests` | 1024 | the call fails with [`CallError::QueueFull`](super::CallError::QueueFull) |
/// | `max_control_backlog` | 1 MiB | closes with INTERNAL_ERROR: the peer does not read its control stream |
/// | `max_inbound_streams` | 4096 | the stream is refused with CANCELLED |
/// | `max_parked_streams` | 64 | the stream is refused with CANCELLED |
/// | `max_retired_aliases` | 1024 | the oldest is forgotten; its late streams count as unknown |
/// | `max_finished_requests` | 1024 | the oldest is forgotten; a second answer to it is ignored, not refused |
/// | `max_kept_parameters` | 4096 | tokens and unknown parameters of a message that has to wait are dropped |
/// | `setup_timeout` | 10 s | closes with CONTROL_MESSAGE_TIMEOUT |
/// | `answer_timeout` | 30 s | the request fails with [`RequestFailure::TimedOut`](super::RequestFailure::TimedOut) |
/// | `header_timeout` | 30 s | the stream is stopped with CANCELLED |
/// | `park_timeout` | 2 s | the parked stream is refused with CANCELLED |
/// | `done_linger` | 5 s | after PUBLISH_DONE no further stream is taken (a longer delivery timeout wins) |
/// | `done_quiet` | 1 s | if only streams without a header can be missing then, none is waited for any longer |
/// | `done_drain` | 60 s | after that, streams still open are stopped with CANCELLED |
///
/// A time that is too long to be told apart from never, such as [`Duration::MAX`], is never over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Requests of the peer that may be unfinished at a time (draft-14 §9.5).
    pub max_peer_requests: u32,
    /// Own requests that may wait for the peer's MAX_REQUEST_ID. Updates wait beside them, at most one for each
    /// subscription.
    pub max_queued_requests: usize,
    /// Control bytes given out but not yet written, in bytes.
    pub max_control_backlog: usize,
    /// Unidirectional streams of the peer known at a time. The stream credit given by the transport should be below.
    pub max_inbound_streams: usize,
    /// Streams that may wait for their Track Alias (draft-14 §10.4.2).
    pub max_parked_streams: usize,
    /// Track Aliases of ended subscriptions that are remembered (draft-14 §10.1).
    pub max_retired_aliases: usize,
    /// Finished own requests whose answers are remembered (draft-14 §5.1).
    pub max_finished_requests: usize,
    /// Memory for the parameters of one SUBSCRIBE_UPDATE before the answer, or one PUBLISH that crossed a SUBSCRIBE, in
    /// bytes. Messages that are told at once are not concerned.
    pub max_kept_parameters: usize,
    /// From the start of the session to the peer's SETUP.
    pub setup_timeout: Duration,
    /// From the call that makes an own request to its answer; what it waits for the peer's MAX_REQUEST_ID counts, too. A
    /// request that is still not sent then never is.
    pub answer_timeout: Duration,
    /// From the first byte of a stream to the last of its header (draft-14 §3.4). The first one may take any time: on a
    /// narrow link other streams can come first for long (draft-14 §12.1), and what is not there yet holds no more than a
    /// place among `max_inbound_streams`.
    pub header_timeout: Duration,
    /// How long a stream waits for its Track Alias.
    pub park_timeout: Duration,
    /// How long streams may be opened after PUBLISH_DONE (draft-14 §9.12).
    pub done_linger: Duration,
    /// How long no stream may have opened or ended after PUBLISH_DONE until the ones that are missing count as those that
    /// were reset before their header (draft-14 §9.12). Such a stream tells no track: another one may still be on its way.
    /// Zero: that is found out once, at PUBLISH_DONE, and otherwise `done_linger` is waited for.
    pub done_quiet: Duration,
    /// How long open streams may go on after `done_linger`.
    pub done_drain: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            max_peer_requests: 1024,
            max_queued_requests: 1024,
            max_control_backlog: 1 << 20,
            max_inbound_streams: 4096,
            max_parked_streams: 64,
            max_retired_aliases: 1024,
            max_finished_requests: 1024,
            max_kept_parameters: 4096,
            setup_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            park_timeout: Duration::from_secs(2),
            done_linger: Duration::from_secs(5),
            done_quiet: Duration::from_secs(1),
            done_drain: Duration::from_secs(60),
        }
    }
}
