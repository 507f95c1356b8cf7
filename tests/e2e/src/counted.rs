//! Objects that tell what they are: published at a steady rate, judged byte by byte when they arrive.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use moqtail::{
    client::{LocalTrack, Object, ReadError, SubgroupOptions, Subscription, SubscriptionEnd},
    model::{Extensions, Location, PublishDoneCode, SubgroupId},
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::PATIENCE;

/// Number and time in front of each payload.
const HEAD: usize = 24;

/// The time of one test, the same for its publishers and subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at zero.
    #[expect(clippy::disallowed_methods, reason = "real programs run in real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What a counted track looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Groups, numbered from 0.
    pub groups: u64,
    /// Objects of a group.
    pub objects: u64,
    /// Subgroups of a group, which get its objects in turn.
    pub subgroups: u64,
    /// Bytes of an object.
    pub len: usize,
    /// Time from one object to the next.
    pub every: Duration,
    /// Publisher priority.
    pub priority: u8,
}

impl Shape {
    /// All objects.
    pub fn total(&self) -> u64 {
        self.groups * self.objects
    }

    /// The first objects of a group that are those of one subgroup.
    fn objects_of(&self, subgroup: u64) -> impl Iterator<Item = u64> + use<> {
        (subgroup..self.objects).step_by(self.subgroups as usize)
    }
}

/// Publishes all objects of `shape` and ends the track.
///
/// # Panics
/// If the track refuses one.
pub async fn feed(track: LocalTrack, shape: Shape, clock: Clock) {
    let mut pace = interval(shape.every.max(Duration::from_nanos(1)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for group in 0..shape.groups {
        let mut open: Vec<_> = (0..shape.subgroups)
            .map(|subgroup| {
                let mut options = SubgroupOptions::new(group);
                options.subgroup = SubgroupId::Explicit(subgroup);
                options.publisher_priority = shape.priority;
                track.subgroup(options).expect("a subgroup")
            })
            .collect();
        for object in 0..shape.objects {
            if !shape.every.is_zero() {
                pace.tick().await;
            }
            let payload = payload(group, object, clock.now(), shape.len);
            let subgroup = (object % shape.subgroups) as usize;
            open[subgroup]
                .object(object, &Extensions::default(), payload)
                .expect("the track takes it");
        }
        for subgroup in open {
            subgroup.finish().expect("the track takes it");
        }
    }
    track.end(PublishDoneCode::TRACK_ENDED, "all was said");
}

fn payload(group: u64, object: u64, at: Duration, len: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(len);
    bytes.put_u64(group);
    bytes.put_u64(object);
    bytes.put_u64(at.as_micros() as u64);
    let mut state = group.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (object << 1) | 1;
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let piece = state.to_be_bytes();
        bytes.extend_from_slice(&piece[..piece.len().min(len - bytes.len())]);
    }
    bytes.freeze()
}

/// What arrived of a counted track.
#[derive(Debug)]
pub struct Ledger {
    shape: Shape,
    clock: Clock,
    seen: BTreeSet<Location>,
    last: BTreeMap<(u64, u64), u64>,
    /// When objects arrived and how old they were, in order of arrival.
    pub arrivals: Vec<(Duration, Duration)>,
    /// Streams that ended early.
    pub resets: Vec<ReadError>,
}

impl Ledger {
    /// Nothing yet.
    pub fn new(shape: Shape, clock: Clock) -> Self {
        Self {
            shape,
            clock,
            seen: BTreeSet::new(),
            last: BTreeMap::new(),
            arrivals: Vec::new(),
            resets: Vec::new(),
        }
    }

    /// Judges an object: it is one that was published, byte for byte, came once, and after all that came of its
    /// subgroup.
    ///
    /// # Panics
    /// If not.
    pub fn take(&mut self, object: &Object) {
        let (at, shape) = (object.location(), &self.shape);
        assert!(
            at.group < shape.groups && at.object < shape.objects,
            "{at} was never published"
        );
        assert_eq!(object.subgroup, Some(at.object % shape.subgroups), "{at}");
        assert_eq!(object.payload.len(), shape.len, "{at} is cut");
        let micros = object
            .payload
            .get(16..HEAD)
            .and_then(|at| at.try_into().ok());
        let sent = Duration::from_micros(u64::from_be_bytes(micros.expect("a head")));
        assert!(
            object.payload == payload(at.group, at.object, sent, shape.len),
            "{at} has other bytes"
        );
        assert!(self.seen.insert(at), "{at} came twice");
        let subgroup = (at.group, at.object % shape.subgroups);
        let before = self.last.insert(subgroup, at.object);
        assert!(
            before.is_none_or(|before| before < at.object),
            "{at} came after {before:?}"
        );
        let now = self.clock.now();
        self.arrivals.push((now, now.saturating_sub(sent)));
    }

    /// How many objects arrived.
    pub fn count(&self) -> u64 {
        self.seen.len() as u64
    }

    /// How many arrived of a group.
    pub fn of_group(&self, group: u64) -> u64 {
        let range = Location::new(group, 0)..Location::new(group + 1, 0);
        self.seen.range(range).count() as u64
    }

    /// Every object arrived, and no stream ended early.
    ///
    /// # Panics
    /// If not.
    pub fn assert_whole(&self) {
        assert!(self.resets.is_empty(), "{:?}", self.resets);
        assert_eq!(self.count(), self.shape.total());
    }

    /// What is missing of a subgroup is its end: nothing was left out in the middle.
    ///
    /// # Panics
    /// If not.
    pub fn assert_only_ends_are_missing(&self) {
        for group in 0..self.shape.groups {
            for subgroup in 0..self.shape.subgroups {
                let here = |object: &u64| self.seen.contains(&Location::new(group, *object));
                let objects: Vec<_> = self.shape.objects_of(subgroup).collect();
                let (begin, rest) =
                    objects.split_at(objects.iter().take_while(|o| here(o)).count());
                assert!(
                    !rest.iter().any(here),
                    "group {group} subgroup {subgroup} has a hole after {begin:?}"
                );
            }
        }
    }

    /// Age of objects at arrival: that of the middle one, of the one that 99 % are below, and of the oldest.
    pub fn ages(&self) -> [Duration; 3] {
        let mut ages: Vec<_> = self.arrivals.iter().map(|(_, age)| *age).collect();
        ages.sort_unstable();
        let at = |share: usize| ages.get((ages.len() * share / 100).min(ages.len() - 1));
        [50, 99, 100].map(|share| at(share).copied().unwrap_or_default())
    }

    /// From `moment` to the first arrival after it.
    pub fn silence_after(&self, moment: Duration) -> Duration {
        self.arrivals
            .iter()
            .map(|(at, _)| *at)
            .find(|at| *at > moment)
            .map_or(Duration::MAX, |at| at - moment)
    }
}

/// Enters what arrives into the ledger until the subscription ends, and tells how it did.
///
/// # Panics
/// If an object is wrong, or nothing arrives for long.
pub async fn receive(subscription: Subscription, ledger: &mut Ledger) -> SubscriptionEnd {
    let mut objects = subscription.into_objects();
    loop {
        let next = timeout(PATIENCE, objects.next()).await;
        let Ok(next) = next else {
            panic!("nothing more came after {} objects", ledger.count());
        };
        match next {
            Some(Ok(object)) => ledger.take(&object),
            Some(Err(error)) => ledger.resets.push(error),
            None => break,
        }
    }
    let end = objects.subscription().end();
    end.expect("a subscription without more objects has ended")
}
