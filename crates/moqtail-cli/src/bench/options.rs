//! Options of `moqtail bench`.

use clap::{Args, ValueEnum};
use moqtail::model::TrackNamespace;

use crate::{names, values::Span};

/// What load to make, and what to look at.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchOptions {
    /// Both ends of the load, or one: publishers and subscribers may run in programs of their own
    #[arg(long, value_name = "ROLE", default_value = "all")]
    pub(crate) role: BenchRole,
    /// Name of the broadcast [default: one of its own; `bench` with --role publish or subscribe]
    #[arg(long, value_name = "BROADCAST", value_parser = names::broadcast)]
    pub(crate) name: Option<TrackNamespace>,
    /// Subscribers, each with a connection of its own
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) subscribers: u32,
    /// Of these, how many never read: the others should not notice
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        conflicts_with = "datagrams"
    )]
    pub(crate) stalled: u32,
    /// Of the subscribers, how many read a tenth of what the others do, and join again when they are cut off for it
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        conflicts_with = "datagrams"
    )]
    pub(crate) slow: u32,
    /// Of the subscribers, how many leave with the first object and join again, up to 100 times a second
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) churning: u32,
    /// Payload of an object in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1200, value_parser = clap::value_parser!(u32).range(16..=64 << 20))]
    pub(crate) size: u32,
    /// Objects published in a second; above 1000 several leave together [default: 100]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// As fast as the slowest subscriber takes them, instead of a rate
    #[arg(long, conflicts_with_all = ["rate", "groups_per_second", "datagrams"])]
    pub(crate) saturate: bool,
    /// With --saturate: payload bytes that may be on their way to the slowest subscriber [default: 1 MiB, and 512 streams]
    #[arg(long, value_name = "BYTES", requires = "saturate", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(crate) window: Option<u64>,
    /// Objects in a group, and so on a stream [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) objects_per_group: Option<u32>,
    /// Groups begun in a second, instead of --objects-per-group
    #[arg(long, value_name = "N", conflicts_with = "objects_per_group")]
    pub(crate) groups_per_second: Option<f64>,
    /// Send datagrams instead of streams
    #[arg(long)]
    pub(crate) datagrams: bool,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) duration: Span,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(crate) warm_up: Span,
    /// Measure processor time and memory of this process, the relay (Linux)
    #[arg(long, value_name = "PID")]
    pub(crate) relay_pid: Option<u32>,
    /// Print the result as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which ends of the load run in this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchRole {
    /// The publisher and the subscribers
    All,
    /// The publisher; starts with the first subscriber
    Publish,
    /// The subscribers; wait for the publisher
    Subscribe,
}
