//! Caps and times of a relay.

use std::time::Duration;

/// What a relay holds at most, and how long it waits. Every field is in force from the start of the relay. A time that is
/// too long to be told apart from never, such as [`Duration::MAX`], is never over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayLimits {
    /// Sessions at once; over it a client is refused before its handshake, and a session that comes nevertheless, such
    /// as one inside the process, is closed with INTERNAL_ERROR. Default 10,000.
    pub max_sessions: usize,
    /// Sessions that one host, an IPv4 address or a /64 of IPv6, may have while half of `max_sessions` are taken; further ones
    /// are refused likewise. Default 512.
    pub max_sessions_per_host: usize,
    /// Tracks at once; over it SUBSCRIBE and PUBLISH are answered INTERNAL_ERROR. A track costs about 3 kB even if it holds
    /// nothing, which no eviction brings back: there are never more than a quarter of `max_log_bytes` has room for, and one
    /// at least. Default 100,000, of which the default of `max_log_bytes` has room for some 40,000.
    pub max_tracks: usize,
    /// Most bytes that the logs of all tracks hold together, counting what they pin and know. From seven eighths of it on
    /// whole groups leave, those written longest ago in whichever track first; the newest group of a track stays.
    /// Where only newest groups are left, those of the tracks that were written longest ago leave too, and at the limit
    /// itself a track that is written keeps no more than what its last turn of reading brought (64 KiB a stream), until
    /// room was made elsewhere.
    /// What open streams need whatever leaves, such as object headers that are not complete, is counted up to half of it.
    /// Subscribers that wanted what has left are treated as too slow. What is on its way to subscribers is not part of
    /// it, see [`DeliveryLimits::in_flight_bytes`](crate::track::DeliveryLimits::in_flight_bytes). Default 512 MiB.
    pub max_log_bytes: usize,
    /// Publishers of one track at once; further ones are asked when one of them refuses, up to 64. Default 4.
    pub max_publishers_per_track: usize,
    /// Namespaces that one session may have announced at once; over it PUBLISH_NAMESPACE is answered INTERNAL_ERROR.
    /// Default 512.
    pub max_namespaces_per_session: usize,
    /// Tracks that the announcements of one session may make the relay look at in a second, one more for each
    /// announcement: a publisher of a namespace is asked for the tracks under it that somebody watches. With more under
    /// it the relay goes on in the next second; who has used it up is answered INTERNAL_ERROR to PUBLISH_NAMESPACE.
    /// Default 10,000.
    pub max_lookups_per_second: usize,
    /// Tracks that one session may offer by PUBLISH at once; over it PUBLISH is answered INTERNAL_ERROR. Default 512.
    pub max_published_per_session: usize,
    /// Subscriptions that one session may have at once, waiting ones included; over it SUBSCRIBE is answered
    /// INTERNAL_ERROR. Default 1000.
    pub max_subscriptions_per_session: usize,
    /// Subscriptions of one session that may wait for a publisher's answer at once; over it SUBSCRIBE is answered
    /// INTERNAL_ERROR. It keeps one subscriber from using up what a publisher takes. Default 256.
    pub max_waiting_per_session: usize,
    /// Tracks of one publisher that the relay is subscribed to at once, offered ones included; it is not asked for
    /// further ones, and a SUBSCRIBE that no publisher can be asked for is answered INTERNAL_ERROR. Default 10,000.
    pub max_upstreams_per_session: usize,
    /// Received bytes that the streams of one publisher may hold unread: what waits for a packet that was lost, since a relay
    /// reads all streams at once. Default 32 MiB: four times what a sender has on its way at 640 Mbit/s over 100 ms.
    pub max_publisher_window: u32,
    /// The same of all publishers together. A new one gets no more than a 32nd of what the others left, beside the
    /// transport's [`initial_window`](crate::transport::TransportLimits::initial_window), which every session has; with little left
    /// it is slower over long paths. Default 1 GiB.
    pub max_receive_windows: u64,
    /// How long a SUBSCRIBE waits for a publisher's answer before SUBSCRIBE_ERROR TIMEOUT. Default 1 s.
    pub upstream_timeout: Duration,
    /// How long after that a publisher may still answer for whoever asks next: one that starts its encoder for the first
    /// viewer, or is far away, may need longer than a viewer waits. There are no more than 64 such subscriptions at a publisher,
    /// and none while it has more than half of `max_upstreams_per_session`. Zero: it may not. Default 5 s.
    pub answer_grace: Duration,
    /// How long subscriptions outlive a publisher that vanished without PUBLISH_DONE, or gave up the relay's subscription
    /// with TOO_FAR_BEHIND or GOING_AWAY, waiting for it or another one to come back. Default 10 s.
    pub publisher_linger: Duration,
    /// How long after a refusal the publishers of a track are asked again while somebody is served, or waits for one that
    /// is gone: who came back may announce a namespace before it has the track. While another publisher serves it, the time
    /// doubles with each refusal, up to 64 times as long. Zero: they are not. Default 1 s.
    pub publisher_retry: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            max_sessions: 10_000,
            max_sessions_per_host: 512,
            max_tracks: 100_000,
            max_log_bytes: 512 << 20,
            max_publishers_per_track: 4,
            max_namespaces_per_session: 512,
            max_lookups_per_second: 10_000,
            max_published_per_session: 512,
            max_subscriptions_per_session: 1000,
            max_waiting_per_session: 256,
            max_upstreams_per_session: 10_000,
            max_publisher_window: 32 << 20,
            max_receive_windows: 1 << 30,
            upstream_timeout: Duration::from_secs(1),
            answer_grace: Duration::from_secs(5),
            publisher_linger: Duration::from_secs(10),
            publisher_retry: Duration::from_secs(1),
        }
    }
}

/// Subscribers that one answer of a publisher, or one turn of the relay's clock, has accepted: all other control messages wait
/// meanwhile, and there may be tens of thousands who asked for the same track. The rest has its turns right after.
pub(super) const ANSWERS: usize = 256;

/// Tracks that a publisher may still answer for although nobody waits any more: names that it never answers for hold its
/// Request IDs for `answer_grace`, and those who ask for what it has need some, too.
pub(super) const KEPT_TRACKS: usize = 64;

/// Requests that a publisher has to allow still before it is told to stop sending: it takes one to tell it, one to let it
/// begin again, and its other tracks may need some meanwhile.
pub(super) const REQUESTS_TO_STOP: u64 = 16;

/// Publishers of a namespace, the newest first, among which those that may be asked for a track are looked for, and refusals
/// after which no further one is asked: what a name costs that nobody has does not grow with the number of publishers. One
/// after the other, `max_publishers_per_track` at a time, no more of them answer within `upstream_timeout` anyway.
pub(super) const PUBLISHERS_TO_TRY: usize = 64;

/// Least time between two rounds of asking all publishers for the same track because somebody else asks for it, while one
/// of them does not answer.
pub(super) const QUESTION_REST: Duration = Duration::from_secs(1);

/// Least time between two rounds of asking publishers for a track because those that served it are gone.
pub(super) const REVIVAL_REST: Duration = Duration::from_secs(1);

/// How often the time until a publisher beside another one is asked again doubles.
pub(super) const MAX_DOUBLINGS: u32 = 6;

/// How long the streams of a publisher whose connection is over may take to bring what they received before that into their
/// tracks.
pub(super) const READ_OUT: Duration = Duration::from_secs(1);

impl RelayLimits {
    /// How many tracks there may be if an empty one costs so many bytes.
    pub(super) fn tracks_of(&self, cost: usize) -> usize {
        let room = self.max_log_bytes / 4 / cost.max(1);
        self.max_tracks.min(room.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_tracks_leave_most_of_the_log_to_what_is_published() {
        let mut limits = RelayLimits::default();
        assert!(limits.tracks_of(3000) > 40_000);
        limits.max_log_bytes = 64 << 20;
        assert_eq!(limits.tracks_of(1 << 20), 16);
        limits.max_tracks = 7;
        assert_eq!(limits.tracks_of(1 << 20), 7);
        limits.max_log_bytes = 1;
        assert_eq!(limits.tracks_of(3000), 1);
    }
}
