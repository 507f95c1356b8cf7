//! What one subscription may and must receive.

use std::time::Duration;

use crate::model::{Filter, Location, PublishDoneCode};
use crate::track::{StartInfo, SubscriptionParams, UpdateParams};

use super::history::{Copies, History};

/// Which locations pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: Location,
    end_group: Option<u64>,
}

impl Range {
    pub(super) fn has(&self, at: Location) -> bool {
        at >= self.start && self.end_group.is_none_or(|end| at.group <= end)
    }
}

/// A stream that was opened for a subscription.
#[derive(Debug)]
pub(super) struct Opened {
    /// Among all streams of the wire.
    pub(super) at: usize,
    /// Life of the track that it is of.
    pub(super) epoch: u64,
    /// Which range was in force after how many bytes.
    pub(super) ranges: Vec<(usize, Range)>,
}

/// One subscription, as it should be.
#[derive(Debug)]
pub(super) struct Reader {
    /// Objects that begin later than this belong to it.
    pub(super) from: u64,
    pub(super) range: Range,
    /// Ranges before.
    pub(super) wider: Vec<Range>,
    /// Where the range began that a relative filter gave.
    anchor: Option<Location>,
    /// Life of the track at its last turn.
    epoch: u64,
    forward: bool,
    /// Times during which nothing was forwarded.
    pauses: Vec<(u64, u64)>,
    pub(super) updated: bool,
    /// Something may be left out: there is a timeout, or the peer does not want all of it.
    pub(super) lossy: bool,
    pub(super) streams: Vec<Opened>,
    pub(super) opened: u64,
    pub(super) closed: u64,
    /// How it ended; the outer one: it did.
    pub(super) ended: Option<Option<PublishDoneCode>>,
}

impl Reader {
    pub(super) fn new(
        params: &SubscriptionParams,
        info: &StartInfo,
        from: u64,
        now: u64,
        epoch: u64,
    ) -> Self {
        let relative = matches!(
            params.filter,
            Filter::NextGroupStart | Filter::LargestObject
        );
        Self {
            from,
            range: Range {
                start: info.start,
                end_group: info.end_group,
            },
            wider: Vec::new(),
            anchor: relative.then_some(info.start),
            epoch,
            forward: params.forward,
            pauses: match params.forward {
                true => Vec::new(),
                false => vec![(from.min(now), u64::MAX)],
            },
            updated: false,
            lossy: params.delivery_timeout.is_some() || params.publisher_timeout.is_some(),
            streams: Vec::new(),
            opened: 0,
            closed: 0,
            ended: None,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    pub(super) fn was_paused(&self) -> bool {
        !self.pauses.is_empty()
    }

    /// How late it may end because its range has, at the earliest.
    pub(super) fn may_end(&self, history: &History, grace: Duration) -> Option<Duration> {
        let past = history.past(self.range.end_group?)?;
        Some(past + grace)
    }

    /// An update that was accepted.
    pub(super) fn update(
        &mut self,
        params: &UpdateParams,
        now: u64,
        written: impl Fn(usize) -> usize,
    ) {
        self.updated = true;
        self.wider.push(self.range);
        self.lossy |= params.delivery_timeout.is_some();
        let kept = self.anchor.is_some_and(|anchor| params.start <= anchor);
        if !kept {
            self.range.start = params.start;
            self.anchor = None;
        }
        self.range.end_group = params.end_group;
        for stream in &mut self.streams {
            stream.ranges.push((written(stream.at), self.range));
        }
        match (self.forward, params.forward) {
            (true, false) => self.pauses.push((now, u64::MAX)),
            (false, true) => {
                if let Some(pause) = self.pauses.last_mut() {
                    pause.1 = now;
                }
            }
            _ => {}
        }
        self.forward = params.forward;
    }

    /// It has its turn in this life of the track.
    pub(super) fn turn(&mut self, epoch: u64) {
        if std::mem::replace(&mut self.epoch, epoch) != epoch && self.anchor.is_some() {
            // "What comes next" was meant.
            self.range.start = Location::default();
        }
    }

    /// A stream was opened for it.
    pub(super) fn open(&mut self, at: usize, epoch: u64) {
        self.opened += 1;
        self.streams.push(Opened {
            at,
            epoch,
            ranges: vec![(0, self.range)],
        });
    }

    /// Whether an object that began then may come.
    pub(super) fn admits(&self, begun: u64) -> bool {
        let paused = |pause: &(u64, u64)| pause.0 < begun && begun < pause.1;
        begun > self.from && !self.pauses.iter().any(paused)
    }

    /// Whether an object has to come.
    pub(super) fn is_due(&self, at: Location, copies: &Copies, ends: Option<Duration>) -> bool {
        let resumed = self.pauses.last().map_or(0, |pause| pause.1);
        let in_time = |whole| ends.is_none_or(|ends| whole < ends);
        copies.whole.is_some_and(in_time)
            && copies.first() > self.from.max(resumed)
            && self.range.has(at)
    }

    /// Whether all that is due of the present life of the track has to be there once everything was served.
    pub(super) fn is_strict(&self) -> bool {
        let served = match self.ended {
            None => true,
            Some(code) => {
                code == Some(PublishDoneCode::TRACK_ENDED)
                    || code == Some(PublishDoneCode::SUBSCRIPTION_ENDED)
            }
        };
        served && !self.lossy
    }

    /// Whether some copy of an object could come, or something that it waited for.
    pub(super) fn may_have(&self, history: &History, place: (u64, u64, u64), object: u64) -> bool {
        history
            .arrivals(place, object)
            .any(|begun| self.admits(begun))
    }
}
