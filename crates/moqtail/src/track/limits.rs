//! Every cap of the data path, with its default.

use std::time::Duration;

/// Caps of one track's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackLimits {
    /// Most bytes the log keeps, counting what the kept pieces pin and the index. Beyond it whole groups leave, the
    /// one written longest ago first; of the newest group and the one written last only the oldest bytes leave. Readers
    /// that are not done with what leaves are too far behind. Default 48 MiB: an object of 32 MB and what its pieces cost
    /// when they come a packet at a time.
    pub max_bytes: usize,
    /// Most datagram objects kept; beyond it the oldest leave. Default 1024.
    pub max_datagrams: usize,
    /// Most groups remembered after their objects have left, so that late copies are known as copies; fewer where tracks
    /// share a budget that is used up. Default 256.
    pub max_remembered_groups: usize,
    /// Most separate ranges of Object IDs (or Group IDs) remembered in one set; beyond it the lowest are forgotten.
    /// Default 1024.
    pub max_ranges: usize,
    /// Most bytes that streams which do not lead their subgroup may hold back while the leader is inside an object,
    /// counting what an object costs besides its bytes. Beyond it the held objects are dropped and cannot stand in for
    /// the leader's. Default 1 MiB.
    pub max_held_bytes: usize,
    /// Most runs kept of one subgroup: beyond it the oldest that has ended leaves. There is more than one only where
    /// streams were reset, contradict each other in form, or brought the same objects in turns. Default 64.
    pub max_runs: usize,
    /// Most runs that are searched in vain for the first copies of what a stream brings in one turn; further copies are
    /// dropped without being compared, unless the first one is in the newest run of the same subgroup. A search is long only
    /// where the first copy has left the log or came in another subgroup. Default 4096.
    pub max_searched_runs: usize,
    /// Most inbound streams with objects of the track at once. Default 8192.
    pub max_streams: usize,
}

impl Default for TrackLimits {
    fn default() -> Self {
        Self {
            max_bytes: 48 << 20,
            max_datagrams: 1024,
            max_remembered_groups: 256,
            max_ranges: 1024,
            max_held_bytes: 1 << 20,
            max_runs: 64,
            max_searched_runs: 4096,
            max_streams: 8192,
        }
    }
}

/// Caps of what a subscriber remembers of one track to notice that it is malformed. Nothing fails over them: what comes
/// beyond makes the oldest be forgotten, and what contradicts only that is not noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntegrityLimits {
    /// Most groups of which objects, gaps and the end are known. Default 64.
    pub max_groups: usize,
    /// Most subgroups of which the last object is known. Default 1024.
    pub max_subgroups: usize,
    /// Most objects of which subgroup, priority, status, length and a digest of the payload are known. Default 1024.
    pub max_objects: usize,
    /// Most separate ranges of Object IDs (or Group IDs) in one set; beyond it the lowest are forgotten. Default 64.
    pub max_ranges: usize,
}

impl Default for IntegrityLimits {
    fn default() -> Self {
        Self {
            max_groups: 64,
            max_subgroups: 1024,
            max_objects: 1024,
            max_ranges: 64,
        }
    }
}

/// Caps of the delivery to one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryLimits {
    /// Most subscriptions served at once. Default 4096.
    pub max_subscriptions: usize,
    /// Most bytes taken out of logs and not yet taken by the transport, all subscriptions together. Default 256 KiB.
    pub in_flight_bytes: usize,
    /// Most bytes handed over for one stream before others of equal rank have their turn. Default 64 KiB.
    pub quantum_bytes: usize,
    /// Most bytes that one subscription may be behind, not counting the newest object nor the one that is handed over
    /// next, each of which may be larger than this.
    /// Beyond it the subscription skips to a newer group where that is allowed, else it ends with TOO_FAR_BEHIND.
    /// Default 16 MiB.
    pub lag_bytes: u64,
    /// Most runs that wait, all subscriptions together: there is no stream for them yet, or it has not taken what is
    /// there. Beyond it a subscription that has its share of them, which is the same for all, is treated as one that is over
    /// `lag_bytes`; so twice as many wait at the very most. Default 16384, which take about 8 MiB: what comes in 1.6 s at
    /// 10,000 streams a second.
    pub max_waiting_runs: usize,
    /// Most datagrams that wait for the path, all subscriptions together. Beyond it a subscription that gets another one
    /// drops its oldest, as long as it has its share, which is the same for all. Default 1024.
    pub max_waiting_datagrams: usize,
    /// Skip groups for subscriptions over their lag also where no delivery timeout was negotiated. Default `false`.
    pub skip_groups: bool,
    /// Delivery timeout for subscriptions that negotiated none. Default `None`.
    pub default_timeout: Option<Duration>,
    /// Most steps of sending, each a quantum of one stream or a datagram, before other tasks have their turn. Default 256.
    pub turn_steps: usize,
    /// How many streams in a row may be found blocked before the rest is left for later. Default 8.
    pub max_blocked_probes: usize,
    /// When the rest is tried again if nothing was woken. Default 10 ms.
    pub probe_interval: Duration,
    /// How long a subscription with an End Group stays after a later group has begun and nothing of its own is left;
    /// then it ends with SUBSCRIPTION_ENDED. Default 2 s.
    pub range_grace: Duration,
    /// How long a stream that is to be reset may go on to arrive after everything was handed over: its upstream was reset, or
    /// its subgroup is not whole. Without it the reset takes back objects that are on their way. A stream that could end with
    /// FIN waits for earlier streams of its subgroup as long as these are open. Default 200 ms.
    pub reset_delay: Duration,
    /// Most streams that were finished or reset and are not yet known to be closed. Beyond it the oldest count as
    /// closed. Default 4096.
    pub max_closing: usize,
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self {
            max_subscriptions: 4096,
            in_flight_bytes: 256 << 10,
            quantum_bytes: 64 << 10,
            lag_bytes: 16 << 20,
            max_waiting_runs: 16_384,
            max_waiting_datagrams: 1024,
            skip_groups: false,
            default_timeout: None,
            turn_steps: 256,
            max_blocked_probes: 8,
            probe_interval: Duration::from_millis(10),
            range_grace: Duration::from_secs(2),
            reset_delay: Duration::from_millis(200),
            max_closing: 4096,
        }
    }
}
