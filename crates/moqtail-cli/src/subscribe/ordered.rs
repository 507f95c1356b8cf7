//! Objects of a subscription in the order of their groups, although each group has a stream of its own.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use moqtail::{
    client::{Incoming, Object, ReadError, SubgroupReader, Subscription, SubscriptionEnd},
    model::Location,
};
use tokio::time::{Instant, sleep_until};

use super::losses::Losses;

/// How long a group waits for the stream of the group before it, which may have been overtaken.
const OVERTAKEN: Duration = Duration::from_millis(200);

/// How long the first group of all waits for an earlier one, where nothing tells which is first.
const SETTLE: Duration = Duration::from_millis(50);

/// After so many groups in a row that did not exist, the next ones are not missed: this publisher counts in leaps.
const MAX_GAPS: u8 = 3;

/// What becomes of an object that comes after objects of a later group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// It is delivered, out of order.
    Deliver,
    /// It is dropped with the rest of its stream: a player cannot use it.
    Drop,
}

/// Merges the streams of a subscription.
pub(crate) struct Ordered<'a> {
    subscription: Subscription,
    losses: Losses<'a>,
    readers: Readers,
    arrived: u64,
    ended: bool,
    patience: Duration,
    late: Late,
    /// Largest group that an object was delivered of.
    newest: Option<u64>,
    /// Groups in a row that were missed in vain.
    gaps: u8,
    /// What later streams wait for, and since when.
    waiting: Option<(Wait, Instant)>,
}

/// By group and order of arrival.
type Readers = BTreeMap<(u64, u64), Reader>;

/// A stream, and the last object that it gave.
struct Reader {
    stream: Box<SubgroupReader>,
    last: Option<Location>,
}

/// What the next object may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// An object of the earliest stream, while later streams are there.
    Object,
    /// The stream of an earlier group.
    Group,
}

impl<'a> Ordered<'a> {
    /// Delivers the objects of `subscription`; a later group waits `patience` for an object of an earlier one. What fails
    /// to come is told to `losses`.
    pub(crate) fn new(
        subscription: Subscription,
        losses: Losses<'a>,
        patience: Duration,
        late: Late,
    ) -> Self {
        Self {
            subscription,
            losses,
            readers: BTreeMap::new(),
            arrived: 0,
            ended: false,
            patience,
            late,
            newest: None,
            gaps: 0,
            waiting: None,
        }
    }

    /// How the subscription ended; for use after [`Ordered::next`] returned `None`.
    pub(crate) fn end(&self) -> SubscriptionEnd {
        self.subscription
            .end()
            .unwrap_or(SubscriptionEnd::SessionEnded)
    }

    /// The next object; `None` when the subscription has ended and all was delivered. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Object> {
        loop {
            let (open, until) = self.turn();
            let Self {
                subscription,
                losses,
                readers,
                ended,
                ..
            } = self;
            tokio::select! {
                biased;
                incoming = subscription.next(), if !*ended => match incoming {
                    Some(Incoming::Subgroup(reader)) => self.add(reader),
                    Some(Incoming::Datagram(datagram)) => {
                        losses.delivered();
                        return Some(datagram.into());
                    }
                    None => self.ended = true,
                },
                (key, read) = read(readers, losses, open), if open > 0 => match read {
                    Some(object) => {
                        self.delivered(key.0);
                        return Some(object);
                    }
                    None => {
                        self.readers.remove(&key);
                        self.waiting = None;
                    }
                },
                () = reached(until), if until.is_some() => {}
                else => {
                    self.losses.ended(&self.end());
                    return None;
                }
            }
        }
    }

    /// Of how many streams an object may be taken now, the earliest first, and when there is to be another look.
    fn turn(&mut self) -> (usize, Option<Instant>) {
        let count = self.readers.len();
        let Some(((first, _), _)) = self.readers.first_key_value() else {
            self.waiting = None;
            return (0, None);
        };
        let first = *first;
        let follows = self
            .newest
            .is_some_and(|newest| first <= newest.saturating_add(1));
        if !follows && !self.ended && self.gaps < MAX_GAPS {
            let patience = match self.newest {
                Some(_) => OVERTAKEN.min(self.patience),
                None => SETTLE,
            };
            if let Some(until) = self.wait(Wait::Group, patience) {
                return (0, Some(until));
            }
            // The groups between do not exist.
            self.gaps += u8::from(self.newest.is_some());
            self.newest = Some(first);
        }
        if count == 1 {
            self.waiting = None;
            return (1, None);
        }
        match self.wait(Wait::Object, self.patience) {
            Some(until) => (1, Some(until)),
            None => (count, None),
        }
    }

    /// Until when to wait; `None`: long enough.
    fn wait(&mut self, wait: Wait, patience: Duration) -> Option<Instant> {
        let now = Instant::now();
        let since = match self.waiting {
            Some((waiting, since)) if waiting == wait => since,
            _ => self.waiting.insert((wait, now)).1,
        };
        let until = since + patience;
        (now < until).then_some(until)
    }

    fn add(&mut self, stream: Box<SubgroupReader>) {
        let group = stream.group();
        if self.late == Late::Drop && self.newest.is_some_and(|newest| group < newest) {
            tracing::debug!(group, "a group came too late and is left out");
            return;
        }
        self.arrived += 1;
        let reader = Reader { stream, last: None };
        self.readers.insert((group, self.arrived), reader);
    }

    fn delivered(&mut self, group: u64) {
        self.losses.delivered();
        if self
            .newest
            .is_some_and(|newest| group == newest.saturating_add(1))
        {
            self.gaps = 0;
        }
        self.newest = self.newest.max(Some(group));
        self.waiting = None;
        if self.late == Late::Drop {
            let kept = self.readers.split_off(&(group, 0));
            if !self.readers.is_empty() {
                tracing::debug!(group, "earlier groups stand still and are left out");
            }
            self.readers = kept;
        }
    }
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next object of the first `open` readers. No object: that reader is at its end.
async fn read(
    readers: &mut Readers,
    losses: &mut Losses<'_>,
    open: usize,
) -> ((u64, u64), Option<Object>) {
    poll_fn(|cx| {
        for (key, reader) in readers.iter_mut().take(open) {
            if let Poll::Ready(read) = poll_reader(reader, losses, cx) {
                return Poll::Ready((*key, read));
            }
        }
        Poll::Pending
    })
    .await
}

/// A reader that fails is at its end, as the publisher gave its stream up; but it goes on behind an object that is too large.
fn poll_reader(
    reader: &mut Reader,
    losses: &mut Losses<'_>,
    cx: &mut Context<'_>,
) -> Poll<Option<Object>> {
    let group = reader.stream.group();
    loop {
        // Reading is cancel safe, so a future for one poll loses nothing.
        match ready!(pin!(reader.stream.next_object()).poll(cx)) {
            Ok(object) => {
                reader.last = object.as_ref().map(Object::location);
                return Poll::Ready(object);
            }
            Err(error @ (ReadError::TooLarge { .. } | ReadError::TooMuchAtOnce { .. })) => {
                losses.object(group, reader.last, &error);
            }
            Err(error) => {
                losses.stream(group, &error);
                return Poll::Ready(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use moqtail::{
        client::{
            Broadcast, Client, ClientConfig, LocalSubgroup, LocalTrack, SubgroupOptions,
            SubscribeOptions, TrackOptions,
        },
        model::{Extensions, PublishDoneCode, SubgroupId},
        relay::{Relay, RelayConfig},
        transport::{MemoryConnection, TransportLimits},
    };
    use tokio::task::JoinSet;

    use super::*;
    use crate::{client_options::ClientOptions, link::Link};

    const PATIENCE: Duration = Duration::from_secs(2);

    /// Bytes of the largest object that is received whole.
    const MAX_OBJECT: u64 = 1000;

    /// A track that one client publishes through a relay and another one receives.
    struct World {
        track: LocalTrack,
        received: Ordered<'static>,
        _sessions: (Client, Client, JoinSet<()>),
    }

    impl World {
        async fn new(late: Late) -> Self {
            let relay = Relay::new(RelayConfig::default());
            let link = Link::new("moqt://memory:1", ClientOptions::default(), false).unwrap();
            let losses = Losses::new(Box::leak(Box::new(link)), &"a#t".parse().unwrap(), false);
            let mut tasks = JoinSet::new();
            let mut client = async || {
                let (here, there) = MemoryConnection::pair(TransportLimits::default());
                let relay = relay.clone();
                tasks.spawn(async move { drop(relay.attach(there).await) });
                let mut config = ClientConfig::default();
                config.limits.max_object_len = MAX_OBJECT;
                Client::over(here, config).await.unwrap()
            };
            let (publisher, subscriber) = (client().await, client().await);
            let broadcast = Broadcast::new("a".parse().unwrap());
            let track = broadcast.track("t", TrackOptions::default()).unwrap();
            // Without the announcement nobody could find the track.
            std::mem::forget(publisher.publish(&broadcast).await.unwrap());
            let options = SubscribeOptions::default();
            let subscription = subscriber
                .subscribe("a#t".parse().unwrap(), options)
                .await
                .unwrap();
            let received = Ordered::new(subscription, losses, PATIENCE, late);
            Self {
                track,
                received,
                _sessions: (publisher, subscriber, tasks),
            }
        }

        fn group(&self, group: u64) -> LocalSubgroup {
            let options = SubgroupOptions {
                group,
                subgroup: SubgroupId::Zero,
                publisher_priority: 128,
                extensions: false,
                end_of_group: false,
            };
            self.track.subgroup(options).unwrap()
        }

        /// Group and object of the next object, and how long it took.
        async fn next(&mut self) -> (u64, u64, Duration) {
            let begin = Instant::now();
            let object = self.received.next().await.unwrap();
            (object.group, object.object, begin.elapsed())
        }
    }

    fn write(subgroup: &mut LocalSubgroup, object: u64) {
        subgroup
            .object(object, &Extensions::default(), "x".into())
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_waits_for_the_one_before_it() {
        let mut world = World::new(Late::Deliver).await;
        let mut first = world.group(1);
        write(&mut first, 0);
        assert_eq!(world.next().await, (1, 0, SETTLE));
        let mut second = world.group(2);
        write(&mut second, 0);
        let late = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            write(&mut first, 1);
            first.finish().unwrap();
        };
        let read = async { [world.received.next().await, world.received.next().await] };
        let ((), read) = tokio::join!(late, read);
        let groups = read.map(|object| object.unwrap().location());
        assert_eq!(groups.map(|at| (at.group, at.object)), [(1, 1), (2, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_stands_still_is_overtaken_and_delivered_late() {
        let mut world = World::new(Late::Deliver).await;
        let mut first = world.group(1);
        write(&mut first, 0);
        world.next().await;
        let mut second = world.group(2);
        write(&mut second, 0);
        assert_eq!(world.next().await, (2, 0, PATIENCE));
        write(&mut first, 1);
        let (group, object, _) = world.next().await;
        assert_eq!((group, object), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_player_leaves_out_what_comes_too_late() {
        let mut world = World::new(Late::Drop).await;
        let mut first = world.group(1);
        write(&mut first, 0);
        world.next().await;
        let mut second = world.group(2);
        write(&mut second, 0);
        assert_eq!(world.next().await, (2, 0, PATIENCE));
        write(&mut first, 1);
        write(&mut second, 1);
        let (group, object, _) = world.next().await;
        assert_eq!((group, object), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn groups_that_do_not_exist_are_missed_only_a_few_times() {
        let mut world = World::new(Late::Drop).await;
        let mut waits = Vec::new();
        for group in [10, 20, 30, 40, 50, 60] {
            let mut subgroup = world.group(group);
            write(&mut subgroup, 0);
            subgroup.finish().unwrap();
            waits.push(world.next().await.2);
        }
        let none = Duration::ZERO;
        assert_eq!(waits, [SETTLE, OVERTAKEN, OVERTAKEN, OVERTAKEN, none, none]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_an_object_that_is_too_large_is_delivered() {
        let mut world = World::new(Late::Deliver).await;
        let mut subgroup = world.group(1);
        write(&mut subgroup, 0);
        assert_eq!(world.next().await.1, 0);
        let large = vec![0; 2 * MAX_OBJECT as usize];
        subgroup
            .object(1, &Extensions::default(), large.into())
            .unwrap();
        write(&mut subgroup, 2);
        assert_eq!(world.next().await.1, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_comes_after_all_objects() {
        let mut world = World::new(Late::Deliver).await;
        let mut subgroup = world.group(1);
        write(&mut subgroup, 0);
        subgroup.finish().unwrap();
        world.next().await;
        let World {
            track,
            mut received,
            _sessions,
        } = world;
        track.end(PublishDoneCode::TRACK_ENDED, "over");
        assert!(received.next().await.is_none());
        let SubscriptionEnd::Done { status, .. } = received.end() else {
            panic!("no PUBLISH_DONE")
        };
        assert_eq!(status, PublishDoneCode::TRACK_ENDED);
    }
}
