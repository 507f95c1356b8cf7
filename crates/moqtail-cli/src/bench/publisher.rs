//! The publishing end: one track, objects at a steady rate or as fast as they are taken.

use std::time::Duration;

use bytes::Bytes;
use moqtail::{
    client::{
        Broadcast, Client, LocalSubgroup, LocalTrack, Publication, SubgroupOptions, TrackOptions,
        WriteError,
    },
    model::{DatagramBody, Extensions, ObjectDatagram, PublishDoneCode, TrackAlias},
};
use tokio::time::{sleep, timeout};

use super::{
    plan::{Carried, Pace, Plan},
    run::{GRACE, Interval, Run},
    stamp::Stamp,
    times::Times,
};
use crate::{
    clock::unix_ms,
    errors::{CliError, plain},
    link::Link,
};

/// Objects, or pieces of them, that are published in a row before other tasks have their turn.
const TURN: u64 = 32;

/// Larger objects are published in pieces of so many bytes.
const PIECE: usize = 64 << 10;

/// A publisher whose broadcast the relay has accepted.
pub(super) struct Publisher {
    writer: Writer,
    pace: Pace,
    client: Client,
    /// Held, so that the broadcast stays published.
    _publication: Publication,
}

/// What was published.
#[derive(Clone, Debug)]
pub(super) struct Published {
    /// Objects in the measured interval.
    pub(super) objects: u64,
    /// How long after it was due each object was published. Empty when saturating.
    pub(super) late: Times,
}

impl Publisher {
    /// Connects and announces the broadcast.
    pub(super) async fn open(link: &Link, plan: &Plan) -> Result<Self, CliError> {
        let refused = |reason: String| CliError::Refused {
            authority: link.authority(),
            what: format!("the broadcast {}", plan.track.namespace()),
            reason,
            next: "Choose another name with `--name`, or ask the relay's operator for access.",
        };
        let broadcast = Broadcast::new(plan.track.namespace().clone());
        let track = broadcast
            .track(plan.track.name().clone(), TrackOptions::default())
            .map_err(|error| CliError::Usage(plain(error)))?;
        let client = link.connect().await?;
        let publication = client
            .publish(&broadcast)
            .await
            .map_err(|error| refused(plain(error)))?;
        Ok(Self {
            writer: Writer::new(track, plan),
            pace: plan.pace,
            client,
            _publication: publication,
        })
    }

    /// Publishes from the first subscriber on, which has to come within `patience`, until the measured interval is over or
    /// the run is stopped. What is begun when the run ends early is completed.
    pub(super) async fn publish(
        mut self,
        link: &Link,
        run: &Run,
        patience: Duration,
    ) -> Result<Published, CliError> {
        let mut published = Published {
            objects: 0,
            late: Times::new(),
        };
        let client = self.client.clone();
        let publishing = async {
            let mut interest = self.writer.track.track().interest();
            // Fails only without a track, which is here.
            let viewer = interest.wait_for(|interest| interest.forwarding > 0);
            let nobody = |_| CliError::NothingCame {
                authority: link.authority(),
            };
            tokio::select! {
                found = timeout(patience, viewer) => drop(found.map_err(nobody)?),
                () = run.ending() => return Ok(()),
            }
            let interval = run.begin(run.clock.now());
            let published = self.until_over(run, interval, &mut published).await;
            published.map_err(|error| CliError::Input {
                input: "the load as a track".to_owned(),
                reason: plain(error),
            })
        };
        let ended = tokio::select! {
            ended = publishing => ended,
            () = run.stopped() => Ok(()),
            reason = client.closed() => Err(link.session_ended(&reason, client.blame())),
        };
        if ended.is_err() {
            run.stop();
        }
        self.writer.end();
        ended.map(|()| published)
    }

    async fn until_over(
        &mut self,
        run: &Run,
        interval: Interval,
        published: &mut Published,
    ) -> Result<(), WriteError> {
        let begin = run.clock.now();
        let (mut count, mut turns, mut bytes) = (0u64, 0u64, 0u64);
        loop {
            let due = match self.pace {
                Pace::Rate(rate) => {
                    let due = begin + Duration::from_secs_f64(count as f64 / rate);
                    if run.clock.now() < due {
                        run.until(due.min(interval.to)).await;
                    }
                    Some(due)
                }
                Pace::Window(window) => {
                    let room = tokio::select! {
                        room = run.room(window, bytes) => room,
                        () = run.ending() => None,
                    };
                    if room.is_none() {
                        return Ok(());
                    }
                    None
                }
            };
            let now = run.clock.now();
            if run.is_over() {
                return Ok(());
            }
            let mut went = self.writer.begin(Stamp {
                number: count,
                sent: now,
            })?;
            count += 1;
            if interval.holds(now) {
                published.objects += 1;
                if let Some(due) = due {
                    published.late.record(now.saturating_sub(due));
                }
            }
            loop {
                bytes += went as u64;
                turns += 1;
                if turns.is_multiple_of(TURN) {
                    tokio::task::yield_now().await;
                }
                if self.writer.left == 0 {
                    break;
                }
                if let Pace::Window(window) = self.pace {
                    let patience = async {
                        run.ending().await;
                        sleep(GRACE).await;
                    };
                    let room = tokio::select! {
                        room = run.room(window, bytes) => room,
                        // A relay that delivers nothing any more is not waited for.
                        () = patience => None,
                    };
                    if room.is_none() {
                        return Ok(());
                    }
                }
                went = self.writer.more()?;
            }
        }
    }
}

/// Puts objects into groups.
struct Writer {
    track: LocalTrack,
    size: usize,
    carried: Carried,
    objects_per_group: u64,
    group: u64,
    object: u64,
    open: Option<LocalSubgroup>,
    /// Bytes that the object still misses.
    left: usize,
    /// All pieces of a large object but the first.
    filler: Bytes,
}

impl Writer {
    fn new(track: LocalTrack, plan: &Plan) -> Self {
        let size = plan.size as usize;
        Self {
            track,
            size,
            carried: plan.carried,
            objects_per_group: plan.objects_per_group,
            group: unix_ms(),
            object: 0,
            open: None,
            left: 0,
            filler: vec![0x5a; PIECE.min(size)].into(),
        }
    }

    /// Publishes an object, or the first piece of a large one. Tells how many bytes went.
    fn begin(&mut self, stamp: Stamp) -> Result<usize, WriteError> {
        let first = self.size.min(PIECE);
        let payload = stamp.payload(first);
        self.left = self.size - first;
        match self.carried {
            Carried::Datagrams => self.track.datagram(ObjectDatagram {
                track_alias: TrackAlias(0),
                group: self.group,
                object: self.object,
                object_id_absent: self.object == 0,
                publisher_priority: 128,
                end_of_group: self.is_last(),
                extensions: Extensions::default(),
                body: DatagramBody::Payload(payload),
            })?,
            Carried::Streams => {
                let mut subgroup = match self.open.take() {
                    Some(open) => open,
                    None => self.track.subgroup(SubgroupOptions::new(self.group))?,
                };
                let none = Extensions::default();
                if self.left == 0 {
                    subgroup.object(self.object, &none, payload)?;
                } else {
                    subgroup.begin(self.object, &none, self.size as u64)?;
                    subgroup.payload(payload)?;
                }
                self.open = Some(subgroup);
            }
        }
        self.step()?;
        Ok(first)
    }

    /// Publishes the next piece of the object. Tells how many bytes went.
    fn more(&mut self) -> Result<usize, WriteError> {
        let piece = self.filler.slice(..PIECE.min(self.left));
        let went = piece.len();
        if let Some(open) = &mut self.open {
            open.payload(piece)?;
        }
        self.left -= went;
        self.step()?;
        Ok(went)
    }

    fn is_last(&self) -> bool {
        self.object + 1 == self.objects_per_group
    }

    /// Goes on to the next object if this one is complete.
    fn step(&mut self) -> Result<(), WriteError> {
        if self.left > 0 {
            return Ok(());
        }
        if self.is_last() {
            self.group += 1;
            self.object = 0;
            if let Some(open) = self.open.take() {
                open.finish()?;
            }
        } else {
            self.object += 1;
        }
        Ok(())
    }

    fn end(mut self) {
        if let Some(open) = self.open.take() {
            // Fails inside an object, which then is reset as it should be.
            let _ = open.finish();
        }
        self.track
            .end(PublishDoneCode::TRACK_ENDED, "the benchmark has ended");
    }
}
