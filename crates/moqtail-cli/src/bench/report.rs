//! The result, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use moqtail::transport::MoqtUrl;
use serde::Serialize;

use super::{
    behaviour::Behaviour,
    crowd::Seen,
    limit::{Limit, limit},
    meter::{Measured, Used},
    odd::Sight,
    options::BenchRole,
    plan::{Carried, Pace, Plan},
    publisher::Published,
    tally::Tally,
    times::Times,
    usage::cores,
};
use crate::status::bitrate;

/// What `--json` prints. Fields that do not apply, or that the system does not tell, are null.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    url: String,
    role: &'static str,
    subscribers: u32,
    /// Those whose deliveries are measured.
    healthy: u32,
    object_bytes: u32,
    carried: &'static str,
    objects_per_group: u64,
    /// Objects a second; null when saturating.
    rate: Option<f64>,
    /// Bytes of payload on their way when saturating.
    window_bytes: Option<u64>,
    /// Measured time.
    seconds: f64,
    /// Objects published in it.
    sent: Option<u64>,
    publisher_late_ms: Option<Quantiles>,
    delivery: Option<Delivery>,
    /// What subscribers that behave badly saw, by how they do.
    misbehaving: BTreeMap<Behaviour, Sight>,
    generator: Option<Share>,
    relay: Option<RelayShare>,
    /// Share of the machine that was busy, 0 to 1.
    machine_busy: Option<f64>,
    /// What made the figures say less of the relay than they seem to.
    limited_by: Option<Limit>,
    limit: Option<String>,
}

/// What healthy subscribers got, all of them together: of objects published in the measured time, and as rates what
/// arrived in it.
#[derive(Clone, Debug, Serialize)]
struct Delivery {
    due: u64,
    received: u64,
    lost: u64,
    duplicates: u64,
    /// Streams that ended before they were complete.
    reset_streams: u64,
    /// Subscriptions that ended before their track, by the reason.
    ended_early: BTreeMap<String, u64>,
    payload_bytes: u64,
    /// Bytes of payload that arrived in the measured time, also of objects that began before or were not complete in it.
    arrived_bytes: u64,
    bits_per_second: f64,
    objects_per_second: f64,
    /// Objects that came before they were published, by the clocks of two machines. With any, the times below are not known.
    early: u64,
    /// From publishing to the first bytes.
    first_bytes_ms: Option<Quantiles>,
    /// From publishing to the last bytes.
    latency_ms: Option<Quantiles>,
    /// The distribution behind `latency_ms`: pairs of milliseconds, each within a hundredth, and how many objects took as
    /// long, in rising order. The counts add up to `received`; none are told where the times are not known.
    latency_buckets: Vec<(f64, u64)>,
    #[serde(skip)]
    arrived: u64,
}

/// A distribution of times in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Quantiles {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// What a process used.
#[derive(Clone, Copy, Debug, Serialize)]
struct Share {
    cpu_seconds: f64,
    cores: f64,
    peak_resident_bytes: u64,
}

/// What the relay used, also by what it delivered.
#[derive(Clone, Copy, Debug, Serialize)]
struct RelayShare {
    pid: u32,
    #[serde(flatten)]
    share: Share,
    cpu_us_per_object: Option<f64>,
    cpu_seconds_per_gb: Option<f64>,
}

impl Quantiles {
    fn of(times: &Times) -> Option<Self> {
        (!times.is_empty()).then(|| Self {
            mean: times.mean(),
            p50: times.quantile(0.5),
            p90: times.quantile(0.9),
            p99: times.quantile(0.99),
            p999: times.quantile(0.999),
            max: times.max(),
        })
    }
}

impl Delivery {
    fn of(tallies: &[Tally], sent: Option<u64>, seconds: f64) -> Self {
        let (mut beginnings, mut latencies) = (Times::new(), Times::new());
        let mut ended_early = BTreeMap::new();
        for tally in tallies {
            beginnings.add(&tally.beginnings);
            latencies.add(&tally.latencies);
            if let Some(reason) = &tally.ended {
                *ended_early.entry(reason.clone()).or_default() += 1;
            }
        }
        let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
        let received = sum(|tally| tally.received);
        let arrived = sum(|tally| tally.arrived);
        let arrived_bytes = sum(|tally| tally.arrived_bytes);
        let due = match sent {
            Some(sent) => sent * tallies.len() as u64,
            // Subscribers alone know only what lies between their first and last object.
            None => sum(Tally::due),
        };
        let early = sum(|tally| tally.early);
        // A few may be those of clocks that are set while they run.
        if early.saturating_mul(100) > received {
            (beginnings, latencies) = (Times::new(), Times::new());
        }
        Self {
            due,
            received,
            lost: due.saturating_sub(received),
            duplicates: sum(|tally| tally.duplicates),
            reset_streams: sum(|tally| tally.resets),
            ended_early,
            payload_bytes: sum(|tally| tally.bytes),
            arrived_bytes,
            bits_per_second: arrived_bytes as f64 * 8.0 / seconds,
            objects_per_second: arrived as f64 / seconds,
            early,
            first_bytes_ms: Quantiles::of(&beginnings),
            latency_ms: Quantiles::of(&latencies),
            latency_buckets: latencies.buckets(),
            arrived,
        }
    }
}

impl Share {
    fn of(used: Used, seconds: f64) -> Self {
        let cpu_seconds = used.cpu.as_secs_f64();
        Self {
            cpu_seconds,
            cores: cpu_seconds / seconds,
            peak_resident_bytes: used.peak,
        }
    }
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        url: &MoqtUrl,
        relay_pid: Option<u32>,
        measured: &Measured,
        published: Option<&Published>,
        seen: Option<&Seen>,
    ) -> Self {
        let seconds = measured.length.as_secs_f64();
        let sent = published.map(|published| published.objects);
        let delivery = seen.map(|seen| Delivery::of(&seen.tallies, sent, seconds));
        let relay = relay_pid.zip(measured.relay).map(|(pid, used)| {
            let share = Share::of(used, seconds);
            let per = |amount: u64, unit: f64| {
                (amount > 0).then(|| share.cpu_seconds * unit / amount as f64)
            };
            RelayShare {
                pid,
                share,
                cpu_us_per_object: delivery.as_ref().and_then(|d| per(d.arrived, 1e6)),
                cpu_seconds_per_gb: delivery.as_ref().and_then(|d| per(d.arrived_bytes, 1e9)),
            }
        });
        let late = published
            .map(|published| &published.late)
            .filter(|late| !late.is_empty());
        let limit = limit(measured, late, cores());
        Self {
            url: url.to_string(),
            role: match plan.role {
                BenchRole::All => "all",
                BenchRole::Publish => "publish",
                BenchRole::Subscribe => "subscribe",
            },
            subscribers: plan.subscribers,
            healthy: plan.healthy(),
            object_bytes: plan.size,
            carried: match plan.carried {
                Carried::Streams => "streams",
                Carried::Datagrams => "datagrams",
            },
            objects_per_group: plan.objects_per_group,
            rate: match plan.pace {
                Pace::Rate(rate) => Some(rate),
                Pace::Window(_) => None,
            },
            window_bytes: match plan.pace {
                Pace::Rate(_) => None,
                Pace::Window(window) => Some(window),
            },
            seconds,
            sent,
            publisher_late_ms: late.and_then(Quantiles::of),
            delivery,
            misbehaving: seen.map(|seen| seen.odd.clone()).unwrap_or_default(),
            generator: measured.own.map(|used| Share::of(used, seconds)),
            relay,
            machine_busy: measured.busy,
            limited_by: limit.as_ref().map(|(by, _)| *by),
            limit: limit.map(|(_, reason)| reason),
        }
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        // Fails only for maps with keys that are no text.
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{text}\n")
    }

    /// A few lines for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let pace = match (self.rate, self.window_bytes) {
            (Some(rate), _) => format!("{rate} objects/s"),
            (None, Some(window)) => format!("saturating, {} kB on the way", window / 1000),
            (None, None) => String::new(),
        };
        writeln!(
            out,
            "{} bytes in {}, {pace}, {} in a group, for {:.1} s: {}",
            self.object_bytes, self.carried, self.objects_per_group, self.seconds, self.url
        )?;
        if let Some(delivery) = &self.delivery {
            delivery.write(out, self.healthy)?;
        } else if let Some(sent) = self.sent {
            writeln!(out, "  published  {sent} objects")?;
        }
        for (behaviour, sight) in &self.misbehaving {
            sight.write(out, *behaviour)?;
        }
        if let Some(late) = self.publisher_late_ms {
            writeln!(
                out,
                "  publisher  behind its schedule p50 {:.1} ms, p99 {:.1} ms",
                late.p50, late.p99
            )?;
        }
        if let Some(own) = &self.generator {
            writeln!(out, "  generator  {}", own.text())?;
        }
        if let Some(relay) = &self.relay {
            write!(out, "  relay      {}", relay.share.text())?;
            if let (Some(us), Some(gb)) = (relay.cpu_us_per_object, relay.cpu_seconds_per_gb) {
                write!(
                    out,
                    "; {us:.1} us for each delivered object, {gb:.2} s for each GB"
                )?;
            }
            writeln!(out)?;
        }
        match (self.limited_by, &self.limit) {
            (Some(Limit::Generator), Some(reason)) => {
                writeln!(
                    out,
                    "The load generator was the limit: {reason}. Use fewer subscribers, a lower rate, or another machine for it."
                )
            }
            (Some(Limit::Machine), Some(reason)) => {
                writeln!(
                    out,
                    "The machine was the limit: {reason}. Stop other programs, or use another machine for one side."
                )
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing came through to anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.delivery
            .as_ref()
            .is_some_and(|delivery| delivery.received == 0 && delivery.arrived_bytes == 0)
    }
}

impl Share {
    fn text(&self) -> String {
        format!(
            "{:.2} processors, {:.0} MB at most",
            self.cores,
            self.peak_resident_bytes as f64 / 1e6
        )
    }
}

impl Delivery {
    fn write(&self, out: &mut String, subscribers: u32) -> std::fmt::Result {
        writeln!(
            out,
            "  delivered  {} of {} objects to {subscribers} subscribers, {:.0} objects/s, {}",
            self.received,
            self.due,
            self.objects_per_second,
            bitrate(self.bits_per_second)
        )?;
        if self.lost + self.duplicates + self.reset_streams > 0 {
            writeln!(
                out,
                "  faults     {} lost, {} twice, {} streams reset",
                self.lost, self.duplicates, self.reset_streams
            )?;
        }
        if let Some(latency) = self.latency_ms {
            writeln!(
                out,
                "  latency    p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
                latency.p50, latency.p90, latency.p99, latency.p999, latency.max
            )?;
        }
        if self.early > 0 {
            let unknown = match self.latency_ms {
                Some(_) => "longer than that",
                None => "not known",
            };
            writeln!(
                out,
                "  latency    {unknown}: the clock here is behind the publisher's, {} objects came before they were sent",
                self.early
            )?;
        }
        Ok(())
    }
}

impl Sight {
    fn write(&self, out: &mut String, behaviour: Behaviour) -> std::fmt::Result {
        let name = match behaviour {
            Behaviour::Stalled => "stalled",
            Behaviour::Slow => "slow",
            Behaviour::Churning => "churning",
        };
        write!(
            out,
            "  {name:<9}  {} subscriptions of {} subscribers, {} objects",
            self.joined, self.subscribers, self.objects
        )?;
        for (reason, count) in &self.ended {
            write!(out, "; {count} ended: {reason}")?;
        }
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::run::Interval, super::stamp::Stamp, *};

    /// A subscriber that got objects of these numbers, each 2 ms after it was published.
    fn tally(numbers: &[u64]) -> Tally {
        let sent = Duration::from_secs(1);
        let mut tally = Tally::new();
        tally.begin(Interval {
            from: sent,
            to: 2 * sent,
        });
        for number in numbers.iter().copied() {
            let now = sent + Duration::from_millis(2);
            tally.object(Stamp { number, sent }, 100, now, now);
        }
        tally
    }

    #[test]
    fn what_is_missing_is_lost() {
        let tallies = [tally(&[0, 1, 2, 3]), tally(&[0, 2, 2])];
        let known = Delivery::of(&tallies, Some(4), 1.0);
        let found = (known.due, known.received, known.lost, known.duplicates);
        assert_eq!(found, (8, 6, 2, 1));
        // Without the publisher's count, what lies between the first and the last is due.
        let alone = Delivery::of(&tallies, None, 1.0);
        assert_eq!((alone.due, alone.received, alone.lost), (7, 6, 1));
        let mut text = String::new();
        known.write(&mut text, 2).unwrap();
        assert!(text.contains("6 of 8 objects"), "{text}");
        assert!(text.contains("2 lost, 1 twice, 0 streams reset"), "{text}");
    }

    /// It is none of nothing, as it would seem.
    #[test]
    fn latency_by_a_clock_that_is_behind_is_not_known() {
        let mut tally = tally(&[0]);
        let (sent, now) = (Duration::from_millis(1500), Duration::from_millis(1400));
        tally.object(Stamp { number: 1, sent }, 100, now, now);
        let delivery = Delivery::of(&[tally], Some(2), 1.0);
        let json = serde_json::to_value(&delivery).unwrap();
        assert_eq!((&json["early"], &json["received"]), (&1.into(), &2.into()));
        assert!(json["latency_ms"].is_null() && json["first_bytes_ms"].is_null());
        assert_eq!(json["latency_buckets"].as_array().unwrap().len(), 0);
        let mut text = String::new();
        delivery.write(&mut text, 1).unwrap();
        assert!(text.contains("latency    not known"), "{text}");
    }

    #[test]
    fn programs_get_the_whole_distribution() {
        let delivery = Delivery::of(&[tally(&[0, 1, 2])], Some(3), 1.0);
        let json = serde_json::to_value(&delivery).unwrap();
        let buckets = json["latency_buckets"].as_array().unwrap();
        assert_eq!(buckets.len(), 1, "{json}");
        assert_eq!(buckets[0][1], 3);
        assert!(
            (buckets[0][0].as_f64().unwrap() - 2.0).abs() < 0.02,
            "{json}"
        );
    }
}
