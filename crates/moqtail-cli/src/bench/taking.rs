//! Reading a subscription in pieces, so that large objects cost no memory, and counting.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use moqtail::{
    client::{Incoming, ReadError, SubgroupReader, Subscription, SubscriptionEnd},
    model::{DatagramBody, PublishDoneCode},
};

use super::{
    run::Run,
    stamp::{Front, Stamp},
    tally::Tally,
};
use crate::errors::plain;

/// A subscriber that takes what comes as soon as it comes.
pub(super) struct Taking {
    number: usize,
    run: Arc<Run>,
    /// Locked only by this subscriber's task, whose streams all count.
    tally: Mutex<Tally>,
}

/// The front of an object that is arriving.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    front: Front,
    /// With the time it came.
    stamp: Option<(Stamp, Duration)>,
}

impl Taking {
    pub(super) fn new(number: usize, run: Arc<Run>) -> Self {
        Self {
            number,
            run,
            tally: Mutex::new(Tally::new()),
        }
    }

    /// Counts the objects of a subscription until it ends or the run is stopped.
    pub(super) async fn take(self, mut subscription: Subscription) -> Tally {
        let taken = tokio::select! {
            biased;
            () = self.streams(&mut subscription) => true,
            () = self.run.stopped() => false,
        };
        self.run.left(self.number);
        let mut tally = self
            .tally
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if taken {
            tally.ended = early(subscription.end());
        }
        tally
    }

    async fn streams(&self, subscription: &mut Subscription) {
        let mut reading = FuturesUnordered::new();
        let mut ended = false;
        while !ended || !reading.is_empty() {
            tokio::select! {
                biased;
                Some(()) = reading.next() => {}
                incoming = subscription.next(), if !ended => match incoming {
                    Some(Incoming::Subgroup(reader)) => reading.push(self.subgroup(reader)),
                    Some(Incoming::Datagram(datagram)) => {
                        if let DatagramBody::Payload(payload) = datagram.body {
                            let mut begun = Begun::default();
                            self.piece(&payload, &mut begun);
                            self.object(begun, payload.len() as u64);
                        }
                    }
                    None => ended = true,
                },
            }
        }
    }

    async fn subgroup(&self, mut reader: Box<SubgroupReader>) {
        if let Err(error) = self.objects(&mut reader).await {
            tracing::debug!(number = self.number, %error, "a stream ended early");
            self.tally().resets += 1;
        }
    }

    async fn objects(&self, reader: &mut SubgroupReader) -> Result<(), ReadError> {
        while let Some(mut object) = reader.open_object().await? {
            let mut begun = Begun::default();
            while let Some(piece) = object.chunk().await? {
                self.piece(&piece, &mut begun);
            }
            self.object(begun, object.received());
        }
        Ok(())
    }

    fn piece(&self, piece: &[u8], begun: &mut Begun) {
        let now = self.run.clock.now();
        let mut tally = self.tally();
        if let Some(stamp) = begun.front.push(piece) {
            begun.stamp = Some((stamp, now));
            tally.begin(self.run.begin(stamp.sent));
        }
        tally.piece(piece.len(), now);
        drop(tally);
        self.run.took(self.number, piece.len() as u64);
    }

    fn object(&self, begun: Begun, size: u64) {
        // Without a stamp it is no object of a benchmark.
        if let Some((stamp, first)) = begun.stamp {
            let now = self.run.clock.now();
            self.tally().object(stamp, size, first, now);
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a subscription ended, unless with its track.
pub(super) fn early(end: Option<SubscriptionEnd>) -> Option<String> {
    match end {
        Some(SubscriptionEnd::Done {
            status: PublishDoneCode::TRACK_ENDED,
            ..
        }) => None,
        Some(SubscriptionEnd::Done { status, reason }) => {
            Some(plain(format_args!("{status}, {reason}")))
        }
        Some(SubscriptionEnd::Malformed(why)) => Some(plain(why)),
        Some(_) | None => Some("the session ended".to_owned()),
    }
}
