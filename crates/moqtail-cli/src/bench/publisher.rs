//! The publishing end: one track, objects at a steady rate or as fast as they are taken.

use std::time::Duration;

use moqtail::{
    client::{
        Broadcast, Client, LocalSubgroup, LocalTrack, Publication, SubgroupOptions, TrackOptions,
        WriteError,
    },
    model::{DatagramBody, Extensions, ObjectDatagram, PublishDoneCode, TrackAlias},
};
use tokio::time::sleep_until;

use super::{
    plan::{Carried, Pace, Plan},
    run::{Interval, Run},
    stamp::Stamp,
    times::Times,
};
use crate::{
    clock::unix_ms,
    errors::{CliError, plain},
    link::Link,
};

/// Objects that are published in a row before other tasks have their turn.
const TURN: u32 = 32;

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
            authority: link.authority().to_owned(),
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

    /// Publishes from the first subscriber on until the measured interval is over or the run is stopped.
    pub(super) async fn publish(mut self, link: &Link, run: &Run) -> Result<Published, CliError> {
        let mut published = Published {
            objects: 0,
            late: Times::new(),
        };
        let client = self.client.clone();
        let publishing = async {
            let mut interest = self.writer.track.track().interest();
            // Fails only without a track, which is here.
            let _ = interest.wait_for(|interest| interest.forwarding > 0).await;
            let interval = run.begin(run.clock.now());
            self.until_over(run, interval, &mut published).await
        };
        let ended = tokio::select! {
            ended = publishing => ended.map_err(|error| CliError::Input {
                input: "the load as a track".to_owned(),
                reason: plain(error),
            }),
            () = run.stopped() => Ok(()),
            reason = client.closed() => Err(link.session_ended(&reason, client.blame())),
        };
        if ended.is_err() {
            run.stop.send_replace(true);
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
        let mut count = 0u64;
        loop {
            let due = match self.pace {
                Pace::Rate(rate) => {
                    let due = begin + Duration::from_secs_f64(count as f64 / rate);
                    if run.clock.now() < due {
                        sleep_until(run.clock.instant(due)).await;
                    }
                    Some(due)
                }
                Pace::Window(window) => {
                    while run
                        .slowest()
                        .is_some_and(|slowest| slowest + window <= count)
                    {
                        run.progress.notified().await;
                    }
                    if run.slowest().is_none() {
                        return Ok(());
                    }
                    None
                }
            };
            let now = run.clock.now();
            if now >= interval.to {
                return Ok(());
            }
            self.writer.object(Stamp {
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
            if count.is_multiple_of(TURN.into()) {
                tokio::task::yield_now().await;
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
}

impl Writer {
    fn new(track: LocalTrack, plan: &Plan) -> Self {
        Self {
            track,
            size: plan.size as usize,
            carried: plan.carried,
            objects_per_group: plan.objects_per_group,
            group: unix_ms(),
            object: 0,
            open: None,
        }
    }

    fn object(&mut self, stamp: Stamp) -> Result<(), WriteError> {
        let payload = stamp.payload(self.size);
        let last = self.object + 1 == self.objects_per_group;
        match self.carried {
            Carried::Datagrams => self.track.datagram(ObjectDatagram {
                track_alias: TrackAlias(0),
                group: self.group,
                object: self.object,
                object_id_absent: self.object == 0,
                publisher_priority: 128,
                end_of_group: last,
                extensions: Extensions::default(),
                body: DatagramBody::Payload(payload),
            })?,
            Carried::Streams => {
                let mut subgroup = match self.open.take() {
                    Some(open) => open,
                    None => self.track.subgroup(SubgroupOptions::new(self.group))?,
                };
                subgroup.object(self.object, &Extensions::default(), payload)?;
                match last {
                    true => subgroup.finish()?,
                    false => self.open = Some(subgroup),
                }
            }
        }
        self.object += 1;
        if last {
            self.group += 1;
            self.object = 0;
        }
        Ok(())
    }

    fn end(mut self) {
        if let Some(open) = self.open.take() {
            // Fails only inside an object, which is written whole.
            let _ = open.finish();
        }
        self.track
            .end(PublishDoneCode::TRACK_ENDED, "the benchmark has ended");
    }
}
