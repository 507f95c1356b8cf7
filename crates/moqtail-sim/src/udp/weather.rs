//! What happens to each packet of a path, as a seed decides it.

use std::time::Duration;

use crate::Rng;

/// The state of one direction of a path. Shares go from 0 (never) to 1 (always).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Share of packets that are lost.
    pub loss: f64,
    /// Share of packets that arrive twice, each copy with a delay of its own.
    pub duplicate: f64,
    /// How long packets travel.
    pub delay: Duration,
    /// How far `delay` varies to both sides, evenly spread. Packets overtake each other where it is larger than the time
    /// between them.
    pub jitter: Duration,
    /// Share of packets that are held back on top of that, so that later ones overtake them.
    pub late: f64,
    /// How long they are held back.
    pub late_by: Duration,
}

impl Weather {
    /// Every packet arrives at once.
    pub const CLEAR: Self = Self {
        loss: 0.0,
        duplicate: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        late: 0.0,
        late_by: Duration::ZERO,
    };

    /// Nothing arrives.
    pub const OUTAGE: Self = Self {
        loss: 1.0,
        ..Self::CLEAR
    };

    /// Loses this share of packets.
    pub const fn lossy(loss: f64) -> Self {
        Self {
            loss,
            ..Self::CLEAR
        }
    }

    /// Delays packets by `delay`, give or take `jitter`.
    pub const fn delayed(delay: Duration, jitter: Duration) -> Self {
        Self {
            delay,
            jitter,
            ..Self::CLEAR
        }
    }
}

/// What becomes of one packet: how long each of its copies travels. None: it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate([Option<Duration>; 2]);

impl Fate {
    /// The travelling times.
    pub fn copies(self) -> impl Iterator<Item = Duration> {
        self.0.into_iter().flatten()
    }
}

/// Decides the fates of the packets of one direction in order. The same seed gives the same decisions, and a change of
/// the weather does not shift those that come later: each packet uses up the same random numbers in any weather.
#[derive(Clone, Debug)]
pub struct WeatherStation(Rng);

impl WeatherStation {
    /// The decisions of this seed.
    pub fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// The fate of the next packet.
    pub fn next(&mut self, weather: &Weather) -> Fate {
        let lost = self.share() < weather.loss;
        let twice = self.share() < weather.duplicate;
        let [first, second] = [self.travel(weather), self.travel(weather)];
        Fate([(!lost).then_some(first), (!lost && twice).then_some(second)])
    }

    fn travel(&mut self, weather: &Weather) -> Duration {
        let spread = weather.jitter.mul_f64(2.0 * self.share());
        let held = self.share() < weather.late;
        let extra = if held {
            weather.late_by
        } else {
            Duration::ZERO
        };
        (weather.delay + spread).saturating_sub(weather.jitter) + extra
    }

    /// A number from 0 to below 1.
    fn share(&mut self) -> f64 {
        const BITS: u32 = 53;
        (self.0.next_u64() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
    }
}
