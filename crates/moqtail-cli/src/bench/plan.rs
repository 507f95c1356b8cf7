//! What is to be done, checked.

use std::{ops::RangeInclusive, time::Duration};

use moqtail::model::{FullTrackName, TrackNamespace};

use super::{
    behaviour::Behaviour,
    options::{BenchOptions, BenchRole},
};
use crate::{clock::unix_ms, errors::CliError, names};

/// Largest payload that is sure to fit a datagram, in bytes.
const MAX_DATAGRAM: u32 = 1100;

/// Bytes on their way to the slowest subscriber when saturating.
const WINDOW_BYTES: u64 = 1 << 20;

/// Streams on their way when saturating: half of what a client lets lie unread.
const WINDOW_GROUPS: u64 = 512;

/// Objects a second, least and most.
const RATES: RangeInclusive<f64> = 0.1..=1_000_000.0;

/// Objects a second when no rate is given.
const DEFAULT_RATE: f64 = 100.0;

/// When the next object is published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// Objects a second.
    Rate(f64),
    /// As long as fewer bytes of payload than this are on their way to the slowest subscriber.
    Window(u64),
}

/// How objects travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    Streams,
    Datagrams,
}

/// A benchmark.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) role: BenchRole,
    pub(super) track: FullTrackName,
    pub(super) subscribers: u32,
    /// How many of them behave in such a way.
    pub(super) odd: [(Behaviour, u32); 3],
    pub(super) size: u32,
    pub(super) pace: Pace,
    pub(super) objects_per_group: u64,
    pub(super) carried: Carried,
    pub(super) duration: Duration,
    pub(super) warm_up: Duration,
}

impl Plan {
    pub(super) fn new(options: &BenchOptions) -> Result<Self, CliError> {
        let usage = |text: String| Err(CliError::Usage(text));
        let rate = options.rate.unwrap_or(DEFAULT_RATE);
        if !RATES.contains(&rate) {
            let (least, most) = (RATES.start(), RATES.end());
            return usage(format!(
                "A --rate of {rate} cannot be: give {least} to {most}"
            ));
        }
        let objects_per_group = match (options.objects_per_group, options.groups_per_second) {
            (Some(objects), _) => objects.into(),
            (None, Some(groups)) if groups > 0.0 => (rate / groups).round().max(1.0) as u64,
            (None, Some(groups)) => {
                return usage(format!(
                    "--groups-per-second {groups} is none: give more than 0"
                ));
            }
            (None, None) => 1,
        };
        if options.saturate && options.role != BenchRole::All {
            return usage(
                "--saturate needs both ends in one program: leave --role out, or give a --rate"
                    .to_owned(),
            );
        }
        if options.datagrams && options.size > MAX_DATAGRAM {
            return usage(format!(
                "{} bytes do not fit a datagram: give a --size of at most {MAX_DATAGRAM}",
                options.size
            ));
        }
        if options.duration.0.is_zero() {
            return usage(
                "Nothing can be measured in no time: give a longer --duration".to_owned(),
            );
        }
        let odd = [
            (Behaviour::Stalled, options.stalled),
            (Behaviour::Slow, options.slow),
            (Behaviour::Churning, options.churning),
        ];
        let misbehaving: u64 = odd.iter().map(|(_, count)| u64::from(*count)).sum();
        if misbehaving >= options.subscribers.into() {
            return usage(format!(
                "Of {} subscribers, {misbehaving} cannot misbehave: at least one has to show what the others notice",
                options.subscribers
            ));
        }
        let window = options.window.unwrap_or_else(|| {
            let group = u64::from(options.size).saturating_mul(objects_per_group);
            WINDOW_BYTES.min(group.saturating_mul(WINDOW_GROUPS))
        });
        Ok(Self {
            role: options.role,
            track: names::track(&namespace(options)?, "objects")?,
            subscribers: options.subscribers,
            odd,
            size: options.size,
            pace: match options.saturate {
                true => Pace::Window(window),
                false => Pace::Rate(rate),
            },
            objects_per_group,
            carried: match options.datagrams {
                true => Carried::Datagrams,
                false => Carried::Streams,
            },
            duration: options.duration.0,
            warm_up: options.warm_up.0,
        })
    }

    /// Subscribers that take all they get at once: what is measured is what they see.
    pub(super) fn healthy(&self) -> u32 {
        let odd: u32 = self.odd.iter().map(|(_, count)| count).sum();
        self.subscribers.saturating_sub(odd)
    }

    /// How each subscriber behaves; `None`: well.
    pub(super) fn behaviours(&self) -> impl Iterator<Item = Option<Behaviour>> {
        let odd = self.odd.iter();
        let odd = odd.flat_map(|(how, count)| std::iter::repeat_n(Some(*how), *count as usize));
        odd.chain(std::iter::repeat_n(None, self.healthy() as usize))
    }

    pub(super) fn publishes(&self) -> bool {
        self.role != BenchRole::Subscribe
    }

    pub(super) fn subscribes(&self) -> bool {
        self.role != BenchRole::Publish
    }
}

fn namespace(options: &BenchOptions) -> Result<TrackNamespace, CliError> {
    if let Some(name) = &options.name {
        return Ok(name.clone());
    }
    let name = match options.role {
        BenchRole::All => format!("bench/{}-{}", unix_ms(), std::process::id()),
        BenchRole::Publish | BenchRole::Subscribe => "bench".to_owned(),
    };
    names::broadcast(&name).map_err(CliError::Usage)
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: BenchOptions,
    }

    pub(in crate::bench) fn plan(line: &str) -> Result<Plan, CliError> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Plan::new(&Command::try_parse_from(words).unwrap().options)
    }

    #[test]
    fn groups_per_second_divide_the_rate() {
        let plan = plan("--rate 1000 --groups-per-second 10").unwrap();
        assert_eq!(
            (plan.objects_per_group, plan.pace),
            (100, Pace::Rate(1000.0))
        );
    }

    #[test]
    fn saturating_keeps_about_a_mebibyte_on_the_way_and_few_streams() {
        let window = |line| match plan(line).unwrap().pace {
            Pace::Window(bytes) => bytes,
            Pace::Rate(rate) => panic!("a rate of {rate}"),
        };
        assert_eq!(window("--saturate --size 10000"), 1 << 20);
        assert_eq!(window("--saturate --size 120"), 512 * 120);
        assert_eq!(
            window("--saturate --size 120 --objects-per-group 100"),
            1 << 20
        );
        assert_eq!(window("--saturate --size 32000000"), 1 << 20);
        assert_eq!(window("--saturate --window 7000"), 7000);
    }

    #[test]
    fn who_misbehaves_is_one_of_the_subscribers() {
        let plan = plan("-n 50 --stalled 1 --slow 2 --churning 3").unwrap();
        assert_eq!(plan.healthy(), 44);
        let odd = [
            (Behaviour::Stalled, 1),
            (Behaviour::Slow, 2),
            (Behaviour::Churning, 3),
        ];
        assert_eq!(plan.odd, odd);
        let behaviours: Vec<_> = plan.behaviours().collect();
        assert_eq!(behaviours.len(), 50);
        assert_eq!(
            behaviours[..4],
            [0, 1, 1, 2].map(|kind: usize| Some(odd[kind].0))
        );
    }

    #[test]
    fn what_cannot_be_is_wrong_usage() {
        for (line, named) in [
            ("--rate 0", "--rate"),
            ("--rate nan", "--rate"),
            ("--rate 1e-20", "0.1 to 1000000"),
            ("--rate 1000001", "0.1 to 1000000"),
            ("--groups-per-second 0", "--groups-per-second"),
            ("--saturate --role publish", "--role"),
            ("--datagrams --size 1200", "--size"),
            ("--duration 0", "--duration"),
            ("-n 3 --stalled 2 --churning 1", "3 subscribers"),
            ("--slow 4294967295 --stalled 4294967295", "at least one"),
        ] {
            let error = plan(line).unwrap_err();
            assert_eq!(error.exit_code(), crate::errors::USAGE, "{line}");
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn each_run_has_a_broadcast_of_its_own_and_split_ends_share_one() {
        assert!(plan("").unwrap().track.to_string().starts_with("bench/"));
        assert_eq!(
            plan("--role publish").unwrap().track.to_string(),
            "bench#objects"
        );
        assert_eq!(plan("--name a/b").unwrap().track.to_string(), "a/b#objects");
    }
}
