//! Whether the figures are those of the relay, or of what made the load.

use super::{meter::Measured, times::Times};

/// Share of its processors above which a program has no more to give.
const FULL: f64 = 0.9;

/// Share of the machine above which everything on it waits for processors.
const CROWDED: f64 = 0.95;

/// Most milliseconds that a publisher may be behind its schedule, at the 99th percentile, and timers at the 90th. A timer
/// of a program with nothing else to do takes one or two.
const LATE: f64 = 10.0;

/// What held the load back other than the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Limit {
    /// This program.
    Generator,
    /// The machine, which this program shares with the relay or others.
    Machine,
}

/// What held the load back, and how that shows.
pub(super) fn limit(
    measured: &Measured,
    late: Option<&Times>,
    cores: usize,
) -> Option<(Limit, String)> {
    let cores = cores as f64;
    let own = measured.own.map_or(0.0, |own| {
        own.cpu.as_secs_f64() / measured.length.as_secs_f64()
    });
    let crowded = measured.busy.is_some_and(|busy| busy > CROWDED);
    if own > FULL * cores {
        return Some((
            Limit::Generator,
            format!("it used {own:.1} of {cores} processors"),
        ));
    }
    if crowded && own > cores / 2.0 {
        return Some((
            Limit::Generator,
            format!("it used {own:.1} of {cores} processors, and all of the machine were busy"),
        ));
    }
    if let Some(late) = late.filter(|late| late.quantile(0.99) > LATE) {
        return Some((
            Limit::Generator,
            format!(
                "it published up to {:.0} ms behind its schedule",
                late.quantile(0.99)
            ),
        ));
    }
    if crowded {
        return Some((
            Limit::Machine,
            format!("all its processors were busy, {own:.1} of them with making the load"),
        ));
    }
    // A container may have less than the processors it sees.
    (measured.timers_late > LATE).then(|| {
        (
            Limit::Generator,
            format!(
                "it was kept from running for up to {:.0} ms at a time",
                measured.timers_late
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::meter::Used;

    fn measured(own_ms: u64, busy: f64) -> Measured {
        Measured {
            length: Duration::from_secs(1),
            own: Some(Used {
                cpu: Duration::from_millis(own_ms),
                peak: 0,
            }),
            relay: None,
            busy: Some(busy),
            timers_late: 1.5,
        }
    }

    fn late(ms: u64) -> Times {
        let mut times = Times::new();
        times.record(Duration::from_millis(ms));
        times
    }

    #[test]
    fn an_idle_generator_is_no_limit() {
        assert_eq!(limit(&measured(500, 0.5), Some(&late(2)), 2), None);
    }

    #[test]
    fn a_generator_without_processor_time_left_is_the_limit() {
        for (own, busy) in [(1900, 0.9), (1100, 0.99)] {
            let (found, reason) = limit(&measured(own, busy), None, 2).unwrap();
            assert_eq!(found, Limit::Generator);
            assert!(reason.contains("of 2 processors"), "{reason}");
        }
    }

    #[test]
    fn a_publisher_behind_its_schedule_is_the_limit() {
        let (found, reason) = limit(&measured(100, 0.1), Some(&late(40)), 2).unwrap();
        assert_eq!(found, Limit::Generator);
        assert!(reason.contains("40 ms"), "{reason}");
    }

    #[test]
    fn a_generator_that_is_kept_from_running_is_the_limit() {
        let mut held = measured(300, 0.4);
        held.timers_late = 60.0;
        let (found, reason) = limit(&held, None, 2).unwrap();
        assert_eq!(found, Limit::Generator);
        assert!(reason.contains("60 ms"), "{reason}");
    }

    #[test]
    fn a_busy_machine_is_told_apart_from_a_busy_generator() {
        let (found, _) = limit(&measured(600, 1.0), None, 2).unwrap();
        assert_eq!(found, Limit::Machine);
    }
}
