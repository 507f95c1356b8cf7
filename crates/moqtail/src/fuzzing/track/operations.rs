//! What happens in a world, chosen by three bytes.

use std::time::Duration;

use super::{
    super::arbitrary::Source,
    content,
    reader::Reader,
    sending::{Brought, Form, Lie, Over, Plan, Sending, Step},
    wire::End,
    world::{CANCELLED, World},
};
use crate::model::{
    DatagramBody, Filter, GroupOrder, Location, ObjectDatagram, ObjectStatus, PublishDoneCode,
    StreamCode, TrackAlias,
};
use crate::track::{Admission, Spared, SubscriptionId, SubscriptionParams, UpdateParams};

/// Publishers at once.
const PUBLISHERS: usize = 3;

/// Subscriptions at once.
const READERS: usize = 5;

/// Runs that are looked up at most for each piece of work: those of a subgroup that are kept or open, a few times.
#[cfg(fuzzing)]
const LOOKUPS: usize = 20;

/// How often an operation is repeated at most.
const REPEATS: u8 = 32;

impl World {
    /// One operation, or one several times; returns how many.
    pub(super) fn operate(&mut self, source: &mut Source<'_>) -> usize {
        let mut next = || (source.byte(), source.byte(), source.byte());
        let (operation, a, b) = next();
        if operation < 240 {
            self.step(operation, a, b);
            return 1;
        }
        let count = 1 + a % REPEATS;
        let (operation, a, mut at) = next();
        for _ in 0..count {
            self.step(operation % 240, a, at);
            at = at.wrapping_add(b);
        }
        usize::from(count)
    }

    fn step(&mut self, operation: u8, a: u8, b: u8) {
        self.tick();
        self.work += 1;
        match operation % 24 {
            0 | 1 => self.publish(a, b),
            2..=4 => self.send(a, usize::from(b) + 1),
            5 | 6 => self.send(a, usize::MAX >> 1),
            7 => {
                if let Some(sending) = self.take(a) {
                    self.reading.break_off(sending.number);
                    self.write(|log| sending.reset(log, StreamCode(u64::from(b))));
                }
            }
            8 => self.subscribe(a, b),
            9 => self.update(a, b),
            10 => self.unsubscribe(a, b),
            11 | 12 => self.window(a, b),
            13 => {
                self.wire.give_credit(usize::from(b & 7));
                self.wire.give_room(usize::from(b & 7));
            }
            14 => self.pass(a, b),
            15 => self.expect_rest(),
            16 | 17 => self.serve(),
            18 => {
                if self.is_awake() {
                    self.turn();
                }
            }
            19 | 20 => self.acknowledge(a),
            21 => self.publisher_changes(a, b),
            22 => self.clean_up(a, b),
            _ => self.rarely(a, b),
        }
        self.check();
    }

    /// What is true at any time.
    fn check(&self) {
        self.log.with(|log| match log.malformed() {
            Some(why) => assert!(self.setting.lies, "{why}"),
            None => assert_eq!(log.largest(), self.history.largest),
        });
        #[cfg(fuzzing)]
        if self.setting.track.max_runs < 100 {
            let lookups = self.log.with(|log| log.lookups());
            let work = self.work;
            assert!(lookups <= LOOKUPS * work, "{lookups} lookups for {work}");
        }
    }

    fn take(&mut self, number: u8) -> Option<Sending> {
        let at = usize::from(number).checked_rem(self.sendings.len())?;
        Some(self.sendings.swap_remove(at))
    }

    /// Opens a subgroup, or sends a datagram.
    fn publish(&mut self, a: u8, b: u8) {
        let at = usize::from(a).checked_rem(self.publishers.len());
        let Some(publisher) = at.map(|at| self.publishers[at]) else {
            return;
        };
        let group = u64::from(b & 15);
        let subgroups = self.content.group(group);
        let Some(at) = usize::from(a >> 2 & 3).checked_rem(subgroups.len()) else {
            return;
        };
        let subgroup = subgroups[at].clone();
        let from = usize::from(a >> 4 & 7);
        let from = if a & 0x80 == 0 {
            0
        } else {
            from % subgroup.objects.len()
        };
        let plan = Plan {
            group,
            subgroup,
            from,
            form: match b & 16 {
                0 => Form::Implied,
                _ => Form::Explicit,
            },
            lie: match self.setting.lies && b & 64 != 0 {
                true => Lie::of(a >> 2),
                false => Lie::None,
            },
        };
        if self.setting.datagrams && !(self.setting.lies && b & 128 != 0) {
            return self.datagram(plan);
        }
        let open = self.sendings.len();
        let number = self.history.now;
        let (sending, writable) = self.log.with(|log| {
            let sending = match b & 32 {
                0 => Sending::peer(log, publisher, number, plan),
                _ => Sending::local(log, publisher, number, plan),
            };
            (sending, log.ended().is_none() && log.malformed().is_none())
        });
        let room = open < self.setting.track.max_streams;
        assert_eq!(sending.is_some(), writable && room, "a stream more");
        self.sendings.extend(sending);
    }

    fn datagram(&mut self, plan: Plan) {
        let is_last = plan.from + 1 == plan.subgroup.objects.len();
        let object = &plan.subgroup.objects[plan.from];
        let (at, subgroup) = (content::at(plan.group, object), plan.subgroup.id);
        let Some((header, payload)) = plan.objects().into_iter().next() else {
            return;
        };
        let normal = header.status == ObjectStatus::Normal;
        let datagram = ObjectDatagram {
            track_alias: TrackAlias(9),
            group: plan.group,
            object: header.object,
            object_id_absent: header.object == 0 && matches!(plan.form, Form::Implied),
            publisher_priority: plan.header().publisher_priority,
            end_of_group: plan.subgroup.end_of_group && is_last && normal,
            extensions: header.extensions,
            body: match normal {
                true => DatagramBody::Payload(payload),
                false => DatagramBody::Status(header.status),
            },
        };
        let now = self.now;
        let is_open = self.log.with(|log| log.ended().is_none());
        let taken = self.write(|log| log.receive_datagram(datagram.clone(), now));
        if !self.setting.lies {
            self.reading.datagram(&datagram);
        }
        if taken.is_ok() && is_open {
            let brought = Brought {
                objects: vec![(at, Step::Begun), (at, Step::Complete)],
                end: None,
            };
            self.record(&brought, plan.group, subgroup);
        }
    }

    /// The next bytes of a subgroup reach the log.
    fn send(&mut self, number: u8, len: usize) {
        let Some(mut sending) = self.take(number) else {
            return;
        };
        let (plan, now, publisher) = (sending.plan.clone(), self.now, sending.publisher);
        let doubled = self
            .sendings
            .iter()
            .any(|other| other.publisher == publisher && other.is_of(plan.group, plan.subgroup.id));
        let counted = sending.counted.replace(self.history.epoch);
        let number = sending.number;
        let (rest, brought) = self.write(|log| sending.send(log, len, now));
        self.record(&brought, plan.group, plan.subgroup.id);
        if !self.setting.lies {
            self.reading.read(number, &plan, &brought);
        }
        let place = self.history.place(plan.group, plan.subgroup.id);
        let streams = self.history.subgroups.entry(place).or_default();
        streams.count += usize::from(counted != Some(place.0));
        streams.doubled |= doubled;
        if brought.end == Some(Over::Finished) {
            streams.finished.get_or_insert(self.history.now);
        }
        if let Some(mut rest) = rest {
            rest.counted = Some(place.0);
            self.sendings.push(rest);
        }
    }

    fn record(&mut self, brought: &Brought, group: u64, subgroup: u64) {
        for (at, step) in &brought.objects {
            self.work += 1;
            assert_eq!(at.group, group);
            match step {
                Step::Begun => self.history.begin(*at, subgroup),
                Step::Complete => self.history.complete(*at, subgroup),
            }
        }
    }

    fn subscribe(&mut self, a: u8, b: u8) {
        if self.alive().len() >= READERS {
            return;
        }
        let id = SubscriptionId(self.readers.len() as u64);
        let params = SubscriptionParams {
            filter: filter(b),
            forward: a & 0x81 != 1,
            subscriber_priority: a >> 1 & 3,
            group_order: match a & 8 {
                0 => GroupOrder::Ascending,
                _ => GroupOrder::Descending,
            },
            delivery_timeout: (a & 0x70 == 0x10).then_some(Duration::from_secs(1)),
            publisher_timeout: (a & 0x70 == 0x20).then_some(Duration::from_secs(3)),
        };
        let (mark, since, largest) = self.mark;
        let (admission, from) = match a & 0x70 == 0x30 {
            true => (Admission::Since { mark, largest }, since),
            false => (Admission::Now, self.history.now),
        };
        let log = self.log.follow(id);
        let Ok(info) = self.delivery.attach(id, log, &params, admission) else {
            return;
        };
        self.delivery.start(id);
        self.wire.wake.kick();
        let (now, epoch) = (self.history.now, self.history.epoch);
        let reader = Reader::new(&params, &info, from, now, epoch);
        self.readers.insert(id, reader);
    }

    fn subscription(&self, number: u8) -> Option<SubscriptionId> {
        let alive = self.alive();
        let at = usize::from(number).checked_rem(alive.len())?;
        alive.get(at).copied()
    }

    fn update(&mut self, a: u8, b: u8) {
        let Some(id) = self.subscription(a) else {
            return;
        };
        let Some(reader) = self.readers.get_mut(&id) else {
            return;
        };
        let old = reader.range.start;
        let update = UpdateParams {
            start: match a >> 3 & 3 {
                0 => old,
                1 => Location::new(old.group, old.object + u64::from(b & 7)),
                _ => Location::new(u64::from(b & 15), u64::from(a >> 5)),
            },
            end_group: (b & 0x10 == 0x10).then_some(u64::from(b & 15)),
            forward: b & 0x20 == 0,
            subscriber_priority: b >> 6,
            delivery_timeout: (a >> 5 == 7).then_some(Duration::from_secs(1)),
        };
        // One that widens the range is refused.
        let updated = self.delivery.update(id, &update, &mut self.wire);
        if updated.is_ok() {
            let streams = &self.wire.streams;
            reader.update(&update, self.history.now, |at| streams[at].bytes.len());
            self.wire.wake.kick();
        }
        self.take_events();
    }

    fn unsubscribe(&mut self, a: u8, b: u8) {
        let Some(id) = self.subscription(a) else {
            return;
        };
        match b % 4 {
            0 => {
                let code = StreamCode::CANCELLED;
                self.delivery.detach(id, code, &mut self.wire);
                self.wire.wake.kick();
                self.take_events();
                if let Some(reader) = self.readers.get_mut(&id) {
                    reader.ended = Some(None);
                }
            }
            1 => {
                let wire = &mut self.wire;
                self.delivery.finish(id, CANCELLED, "enough", wire);
                wire.wake.kick();
                self.take_events();
                assert!(!self.readers[&id].is_alive(), "it has no stream");
            }
            _ => {}
        }
    }

    /// A stream takes more, or was stopped; or it seems so.
    fn window(&mut self, a: u8, b: u8) {
        let key = self.wire.name(a);
        match b {
            0 => self.wire.wake(key),
            255 => {
                let at = self.wire.behind(key);
                self.wire.stop(key);
                for reader in self.readers.values_mut() {
                    reader.lossy |= reader.streams.iter().any(|stream| Some(stream.at) == at);
                }
            }
            _ => self.wire.open_window(key, usize::from(b)),
        }
    }

    fn acknowledge(&mut self, a: u8) {
        let finished = self.wire.named(End::Finished);
        if let Some(at) = usize::from(a).checked_rem(finished.len()) {
            self.wire.acknowledge(finished[at]);
        }
    }

    /// Time passes, with turns when they are due or without.
    fn pass(&mut self, a: u8, b: u8) {
        let end = self.now + Duration::from_millis(u64::from(b) * 20);
        if a & 1 == 0 {
            for _ in 0..100 {
                let due = self.delivery.deadline().filter(|due| *due <= end);
                let Some(due) = due else {
                    break;
                };
                self.now = self.now.max(due);
                self.serve();
            }
        }
        self.now = end;
    }

    fn publisher_changes(&mut self, a: u8, b: u8) {
        match b % 8 {
            0..=2 if self.publishers.len() < PUBLISHERS => {
                let publisher = self.log.with(|log| log.add_publisher());
                self.publishers.push(publisher);
            }
            3 | 4 if !self.publishers.is_empty() => {
                let at = usize::from(a) % self.publishers.len();
                let publisher = self.publishers.remove(at);
                self.write(|log| log.remove_publisher(publisher));
                if self.publishers.is_empty() {
                    self.history.seal();
                }
                // Its readers notice afterwards.
                let gone = self
                    .sendings
                    .extract_if(.., |sending| sending.publisher == publisher);
                for sending in gone.collect::<Vec<_>>() {
                    self.reading.break_off(sending.number);
                    self.write(|log| sending.reset(log, StreamCode::CANCELLED));
                }
            }
            5 if a == 0 => {
                self.write(|log| log.end(PublishDoneCode::TRACK_ENDED, "over"));
            }
            6 => {
                let (mark, largest) = self.log.with(|log| (log.mark(), log.largest()));
                self.mark = (mark, self.history.now, largest);
            }
            _ => {}
        }
    }

    /// Things leave the log before it is full.
    fn clean_up(&mut self, a: u8, b: u8) {
        let now = self.now;
        self.remembers &= b % 8 > 1;
        match b % 8 {
            0 => self.clean(|log| log.evict_before(u64::from(a), Spared::Newest) > 0),
            1 => self.clean(|log| log.evict_before(u64::from(a), Spared::Nothing) > 0),
            2 => self.clean(|log| log.shed()),
            3 => self.clean(|log| log.expire(now)),
            _ => self.log.with(|log| log.set_tick(u64::from(a))),
        }
    }

    fn rarely(&mut self, a: u8, b: u8) {
        match b {
            0 => {
                // An object must not be older than this to be begun.
                let Some(at) = usize::from(a).checked_rem(self.publishers.len()) else {
                    return;
                };
                let publisher = self.publishers[at];
                let duration = Duration::from_millis(u64::from(a) * 40);
                self.ages = true;
                self.write(|log| log.set_cache_duration(publisher, Some(duration)));
            }
            1 => self.wire.gone = true,
            2 => self.wire.max_datagram = usize::from(a),
            _ => {}
        }
    }
}

fn filter(number: u8) -> Filter {
    let start = Location::new(u64::from(number >> 4), u64::from(number >> 2 & 3));
    match number % 4 {
        0 => Filter::NextGroupStart,
        1 => Filter::LargestObject,
        2 => Filter::AbsoluteStart { start },
        _ => Filter::AbsoluteRange {
            start,
            end_group: start.group + start.object,
        },
    }
}
