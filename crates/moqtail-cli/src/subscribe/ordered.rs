//! Objects of a subscription in the order of their groups and Object IDs, although each subgroup has a stream of its own.

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

use super::{gaps::Gaps, losses::Losses};

/// How long what follows waits for a stream that is not there and may have been overtaken.
const OVERTAKEN: Duration = Duration::from_millis(200);

/// How long the first object of all waits for an earlier one, where nothing tells which is first.
const SETTLE: Duration = Duration::from_millis(50);

/// Bytes of objects that wait for one before them in their group; with more the lowest is delivered.
const MAX_HELD: usize = 16 * 1024 * 1024;

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
    /// Largest group that was begun.
    newest: Option<u64>,
    /// Largest object that was delivered.
    largest: Option<Location>,
    groups: Gaps,
    objects: Gaps,
    /// What later streams wait for, and since when.
    waiting: Option<(Wait, Instant)>,
}

/// Group and order of arrival.
type Key = (u64, u64);

type Readers = BTreeMap<Key, Reader>;

/// A stream, and the last object that it gave.
struct Reader {
    stream: Box<SubgroupReader>,
    last: Option<Location>,
    /// What was read of it and not delivered.
    next: Option<Object>,
    /// It was waited for in vain since it gave an object.
    stands_still: bool,
    /// Objects before that were passed over, and are not waited for.
    leapt: bool,
}

/// What the next object may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// An object of the earliest group, while streams of later ones are there.
    Object,
    /// An object before the ones that are there, in the same group.
    Hole,
    /// The stream of an earlier group.
    Group,
}

/// What there is to be done.
enum Step {
    /// This stream has the next object.
    Deliver(Key),
    /// Streams of the groups up to this one are read, until there is to be another look.
    Read(u64, Option<Instant>),
    /// Nothing but a stream, or that time, makes a difference.
    Wait(Option<Instant>),
}

/// The streams of one group.
struct Group {
    /// The lowest object that was read: its stream and ID.
    lowest: Option<(Key, u64)>,
    /// Bytes of the objects that were read.
    held: usize,
    /// Streams that may give an object before those.
    open: usize,
}

impl<'a> Ordered<'a> {
    /// Delivers the objects of `subscription`; a later one waits `patience` for an earlier one whose stream is there. What
    /// fails to come is told to `losses`.
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
            largest: None,
            groups: Gaps::of_groups(),
            objects: Gaps::of_objects(),
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
            let (deliver, read, until) = match self.step() {
                Step::Deliver(key) => (Some(key), None, None),
                Step::Read(group, until) => (None, Some(group), until),
                Step::Wait(until) => (None, None, until),
            };
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
                key = std::future::ready(deliver), if deliver.is_some() => {
                    let object = key.and_then(|key| self.take(key));
                    if object.is_some() {
                        return object;
                    }
                }
                ended = advance(readers, losses, read), if read.is_some() => for key in ended {
                    self.readers.remove(&key);
                    self.waiting = None;
                },
                () = reached(until), if until.is_some() => {}
                else => {
                    self.losses.ended(&self.end());
                    return None;
                }
            }
        }
    }

    fn step(&mut self) -> Step {
        let Some(((first, _), _)) = self.readers.first_key_value() else {
            self.waiting = None;
            return Step::Wait(None);
        };
        let first = *first;
        if let Some(until) = self.wait_for_group_before(first) {
            return Step::Wait(Some(until));
        }
        let group = self.group(first);
        if let Some((key, object)) = group.lowest {
            return match self.wait_for_object_before(key, object, &group) {
                Some(until) => Step::Read(first, Some(until)),
                None => Step::Deliver(key),
            };
        }
        if self.readers.range((first, u64::MAX)..).next().is_none() {
            self.waiting = None;
            return Step::Read(first, None);
        }
        if let Some(until) = self.wait(Wait::Object, self.patience) {
            return Step::Read(first, Some(until));
        }
        let mut held = self.readers.iter().filter(|(_, r)| r.next.is_some());
        let later = held.next().map(|((group, _), _)| *group);
        match later.and_then(|group| self.group(group).lowest) {
            Some((key, _)) => Step::Deliver(key),
            None => Step::Read(u64::MAX, None),
        }
    }

    fn group(&self, group: u64) -> Group {
        let mut found = Group {
            lowest: None,
            held: 0,
            open: 0,
        };
        for (key, reader) in self.readers.range((group, 0)..=(group, u64::MAX)) {
            match &reader.next {
                Some(next) => {
                    found.held = found.held.saturating_add(next.payload.len());
                    if found.lowest.is_none_or(|(_, lowest)| next.object < lowest) {
                        found.lowest = Some((*key, next.object));
                    }
                }
                None => found.open += usize::from(!reader.stands_still),
            }
        }
        found
    }

    /// Until when the earliest group that is there waits for one between it and the last one.
    fn wait_for_group_before(&mut self, first: u64) -> Option<Instant> {
        let follows = self
            .newest
            .is_some_and(|newest| first <= newest.saturating_add(1));
        if follows || self.ended {
            return None;
        }
        let patience = match self.newest {
            Some(_) => OVERTAKEN.min(self.patience),
            None => SETTLE,
        };
        if self.groups.may_be_filled()
            && let Some(until) = self.wait(Wait::Group, patience)
        {
            return Some(until);
        }
        // The groups between do not exist.
        if self.newest.is_some() {
            self.groups.missed();
        }
        self.newest = Some(first);
        None
    }

    /// Until when the lowest object of a group that is there waits for one between it and the last one.
    fn wait_for_object_before(&mut self, key: Key, object: u64, group: &Group) -> Option<Instant> {
        let due = self.due(key.0);
        let leapt = self.readers.get(&key).is_some_and(|reader| reader.leapt);
        if object <= due.unwrap_or(0) || group.held > MAX_HELD || leapt {
            return None;
        }
        let patience = match due {
            None if group.open == 0 => return None,
            None => SETTLE.min(self.patience),
            Some(_) if group.open > 0 => self.patience,
            Some(_) if self.ended => return None,
            Some(_) => OVERTAKEN.min(self.patience),
        };
        let patience = match self.objects.may_be_filled() {
            true => patience,
            false => Duration::ZERO,
        };
        self.wait(Wait::Hole, patience)
    }

    /// The Object ID that follows in a group, where that is known.
    fn due(&self, group: u64) -> Option<u64> {
        match self.largest {
            Some(largest) if largest.group == group => Some(largest.object.saturating_add(1)),
            Some(largest) if largest.group < group => Some(0),
            _ => None,
        }
    }

    /// Until when to wait, which is not over at the first call: what is there is looked at. `None`: long enough.
    fn wait(&mut self, wait: Wait, patience: Duration) -> Option<Instant> {
        let now = Instant::now();
        match self.waiting {
            Some((waiting, since)) if waiting == wait => {
                Some(since + patience).filter(|until| now < *until)
            }
            _ => {
                self.waiting = Some((wait, now));
                Some(now + patience)
            }
        }
    }

    fn add(&mut self, stream: Box<SubgroupReader>) {
        let group = stream.group();
        if self.late == Late::Drop && self.newest.is_some_and(|newest| group < newest) {
            tracing::debug!(group, "a group came too late and is left out");
            return;
        }
        self.arrived += 1;
        let reader = Reader {
            stream,
            last: None,
            next: None,
            stands_still: false,
            leapt: false,
        };
        self.readers.insert((group, self.arrived), reader);
    }

    /// The object that was read of this stream.
    fn take(&mut self, key: Key) -> Option<Object> {
        let reader = self.readers.get_mut(&key)?;
        let at = reader.next.as_ref()?.location();
        let leapt = std::mem::take(&mut reader.leapt);
        self.delivered(at, leapt);
        self.readers.get_mut(&key)?.next.take()
    }

    /// An object is next; `leapt`: some before it were passed over.
    fn delivered(&mut self, at: Location, leapt: bool) {
        let group = at.group;
        self.losses.delivered();
        if self
            .largest
            .is_some_and(|largest| group == largest.group.saturating_add(1))
        {
            self.groups.followed();
        }
        let due = self.due(group);
        if due == Some(at.object) {
            self.objects.followed();
        } else if at.object > due.unwrap_or(0) {
            if due.is_some() && !leapt {
                self.objects.missed();
            }
            let streams = self.readers.range_mut((group, 0)..=(group, u64::MAX));
            streams.for_each(|(_, reader)| reader.stands_still |= reader.next.is_none());
        }
        self.newest = self.newest.max(Some(group));
        self.largest = self.largest.max(Some(at));
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
        // A timer would take until its next tick.
        Some(time) if time <= Instant::now() => {}
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Reads an object of each stream of the groups up to `group` that has none and is ready, but of one group alone. Streams
/// that are at their end are returned.
async fn advance(readers: &mut Readers, losses: &mut Losses<'_>, group: Option<u64>) -> Vec<Key> {
    poll_fn(|cx| {
        let mut advanced = None;
        let mut ended = Vec::new();
        let streams = readers.range_mut(..=(group.unwrap_or(0), u64::MAX));
        for (key, reader) in streams.filter(|(_, reader)| reader.next.is_none()) {
            if advanced.is_some_and(|group| key.0 > group) {
                break;
            }
            if let Poll::Ready(next) = poll_reader(reader, losses, cx) {
                advanced = Some(key.0);
                reader.next = next;
                reader.stands_still = false;
                if reader.next.is_none() {
                    ended.push(*key);
                }
            }
        }
        match advanced {
            Some(_) => Poll::Ready(ended),
            None => Poll::Pending,
        }
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
                reader.leapt = true;
            }
            Err(error) => {
                losses.stream(group, &error);
                return Poll::Ready(None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
