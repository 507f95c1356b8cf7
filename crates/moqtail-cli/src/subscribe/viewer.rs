//! Follows a media broadcast: its catalog, and the tracks that the catalog names.

use std::{cell::OnceCell, time::Duration};

use futures_util::{
    future::LocalBoxFuture,
    stream::{FuturesUnordered, StreamExt as _},
};
use moqtail::{
    client::{Client, Object, SubscribeOptions, Subscription},
    model::{Filter, FullTrackName, TrackNamespace},
};
use moqtail_media::{CATALOG_TRACK, Catalog, CatalogError, CatalogObject, CatalogTrack};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::{
    choice::{Change, choose, is_in, list, unplayable},
    following::keep_following,
    losses::Losses,
    ordered::{Late, Ordered},
    waiting::{Asker, NotSubscribed, Turn, unfinished},
};
use crate::{
    errors::{CliError, plain},
    link::Link,
    names,
};

/// How long what has come waits for an object before it whose stream is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a catalog may take until it is told that none has come. Publishers that repeat it do so more often.
const CATALOG_PATIENCE: Duration = Duration::from_secs(5);

/// What a viewer gets.
#[derive(Debug)]
pub(crate) enum Received {
    /// The tracks that follow; again when the broadcast changed.
    Tracks(Vec<CatalogTrack>),
    /// An object of the track with this index.
    Object(usize, Object),
    /// No more of the track with this index.
    TrackEnded(usize),
}

/// The tracks that are followed.
type Playing<'a> = FuturesUnordered<LocalBoxFuture<'a, Result<Turn, CliError>>>;

struct Following<'a> {
    playing: Playing<'a>,
    /// All of them, also those that have left.
    tracks: &'a [CatalogTrack],
    /// What the catalog names.
    known: &'a [CatalogTrack],
}

/// What following some tracks came to.
enum Watched {
    Turn(Turn),
    /// Other tracks are to be followed.
    Changed(Vec<CatalogTrack>),
}

/// What the objects of the catalog track said so far.
#[derive(Default)]
struct Guide {
    catalog: Option<Catalog>,
    /// An object could not be read, so that changes to what was before it mean nothing.
    lost: bool,
}

/// A viewer of one broadcast.
pub(crate) struct Viewer<'a> {
    /// Where the broadcast is.
    pub(crate) link: &'a Link,
    /// Which broadcast.
    pub(crate) namespace: &'a TrackNamespace,
    /// Names of the tracks to follow; none: all audio and video.
    pub(crate) wanted: &'a [String],
    /// How to subscribe to media tracks.
    pub(crate) options: SubscribeOptions,
    /// Whether to wait for a broadcast that is not there.
    pub(crate) wait: bool,
    /// The tracks that were chosen first.
    pub(crate) first: OnceCell<Vec<CatalogTrack>>,
}

impl Viewer<'_> {
    /// Sends what comes to `sender` until the broadcast ends, through restarts of its publisher and of the relay.
    pub(crate) async fn run(&self, sender: mpsc::Sender<Received>) -> Result<(), CliError> {
        keep_following(self.link, async |client| self.follow(client, &sender).await).await
    }

    /// Subscribes to the catalog and to what it names, until one of them ends.
    async fn follow(
        &self,
        client: &Client,
        sender: &mpsc::Sender<Received>,
    ) -> Result<Turn, CliError> {
        let mut asker = Asker::new(self.link, self.wait);
        let name = names::track(self.namespace, CATALOG_TRACK)?;
        // A group of the catalog begins with all of it; what is below the largest object is not delivered.
        let options = SubscribeOptions::default().filter(Filter::NextGroupStart);
        let mut catalogs = match asker.subscribe(client, &name, options).await {
            Ok(subscription) => self.ordered(subscription, &name),
            Err(NotSubscribed::SessionEnded) => return Ok(Turn::SessionEnded),
            Err(NotSubscribed::RangePassed(error) | NotSubscribed::Failed(error)) => {
                return Err(error);
            }
        };
        let mut guide = Guide::default();
        let Some(mut tracks) = self.first_tracks(&mut catalogs, &mut guide).await? else {
            return match guide.is_complete() {
                true => Ok(Turn::Ended),
                false => asker.turn(&name, catalogs.end()),
            };
        };
        // What is watched goes on with the tracks that it began with, also after a break.
        let first = self.first.get_or_init(|| tracks.clone());
        let mut known = tracks.clone();
        if Change::between(first, &tracks) != Change::Other {
            tracks.clone_from(first);
        }
        loop {
            tracing::info!(tracks = %list(&tracks), "catalog");
            // A receiver that is gone has had enough.
            if sender.send(Received::Tracks(tracks.clone())).await.is_err() {
                return Ok(Turn::Ended);
            }
            let complete = watch::Sender::new(false);
            let playing = Playing::default();
            for (index, track) in tracks.iter().enumerate() {
                if !is_in(&known, track) {
                    let _ = sender.send(Received::TrackEnded(index)).await;
                    continue;
                }
                playing.push(Box::pin(self.play(
                    client,
                    index,
                    track,
                    sender,
                    complete.subscribe(),
                )));
            }
            let following = Following {
                playing,
                tracks: &tracks,
                known: &known,
            };
            let watching = self.watch(following, &mut catalogs, &mut guide, &complete);
            match watching.await? {
                Watched::Turn(turn) => return Ok(turn),
                Watched::Changed(changed) => {
                    known.clone_from(&changed);
                    tracks = changed;
                }
            }
        }
    }

    /// Waits until `playing` ends, or the catalog names other tracks in place of some. One that comes is left out, and one that
    /// leaves ends: what is watched goes on.
    async fn watch(
        &self,
        Following {
            mut playing,
            tracks,
            known,
        }: Following<'_>,
        catalogs: &mut Ordered<'_>,
        guide: &mut Guide,
        complete: &watch::Sender<bool>,
    ) -> Result<Watched, CliError> {
        let mut known = known.to_vec();
        loop {
            tokio::select! {
                // That the broadcast is complete comes before the end of its tracks.
                biased;
                Some(object) = catalogs.next() => {
                    if !self.apply(guide, &object)? {
                        continue;
                    }
                    if guide.is_complete() {
                        complete.send_replace(true);
                    }
                    let Some(catalog) = guide.catalog.as_ref().filter(|_| !*complete.borrow()) else {
                        continue;
                    };
                    let Ok(chosen) = self.choose(catalog) else {
                        continue;
                    };
                    match Change::between(tracks, &chosen) {
                        Change::Other => return Ok(Watched::Changed(chosen)),
                        _ if Change::between(&known, &chosen) == Change::Nothing => {}
                        Change::Added(added) => self.link.tell(format_args!(
                            "{} has more tracks now, {}: going on without. Run it again for all of them.",
                            self.namespace,
                            list(&added)
                        )),
                        Change::Removed(removed) => self.link.tell(format_args!(
                            "{} goes on without {}.",
                            self.namespace,
                            list(&removed)
                        )),
                        Change::Nothing => {}
                    }
                    known = chosen;
                }
                Some(turn) = playing.next() => match turn? {
                    Turn::Ended if playing.is_empty() => return Ok(Watched::Turn(Turn::Ended)),
                    Turn::Ended => {}
                    Turn::Again => return Ok(Watched::Turn(Turn::Again)),
                    Turn::SessionEnded => {
                        // It is over for the others as well, when they have delivered what they received.
                        let mut rest = Ok(());
                        while let Some(turn) = playing.next().await {
                            rest = rest.and(turn.map(drop));
                        }
                        return rest.map(|()| Watched::Turn(Turn::SessionEnded));
                    }
                },
                else => return Ok(Watched::Turn(Turn::Ended)),
            }
        }
    }

    /// The tracks of the first catalog that has any; `None`: there are none, as the broadcast or the subscription is over.
    async fn first_tracks(
        &self,
        catalogs: &mut Ordered<'_>,
        guide: &mut Guide,
    ) -> Result<Option<Vec<CatalogTrack>>, CliError> {
        let patience = sleep(CATALOG_PATIENCE);
        tokio::pin!(patience);
        let (mut missed, mut waits) = (false, false);
        loop {
            tokio::select! {
                biased;
                object = catalogs.next() => {
                    let Some(object) = object else {
                        return Ok(None);
                    };
                    if !self.apply(guide, &object)? {
                        continue;
                    }
                }
                () = &mut patience, if !missed && guide.catalog.is_none() => {
                    missed = true;
                    self.link.tell(format_args!(
                        "No catalog of {} has come in {} s: its publisher may have written it only once, before this subscription. Start the publisher again, or subscribe before it starts.",
                        self.namespace,
                        CATALOG_PATIENCE.as_secs()
                    ));
                }
            }
            let Some(catalog) = &guide.catalog else {
                continue;
            };
            if catalog.is_complete {
                return Ok(None);
            }
            if !catalog.tracks.is_empty() || !self.wait {
                return self.choose(catalog).map(Some);
            }
            if !std::mem::replace(&mut waits, true) {
                self.link.tell(format_args!(
                    "Waiting: the catalog of {} names no tracks yet.",
                    self.namespace
                ));
            }
        }
    }

    /// Sends the objects of one track. Once the broadcast is `complete`, every end is the end of the track.
    async fn play(
        &self,
        client: &Client,
        index: usize,
        track: &CatalogTrack,
        sender: &mpsc::Sender<Received>,
        mut complete: watch::Receiver<bool>,
    ) -> Result<Turn, CliError> {
        let name = self.full_name(track)?;
        let mut asker = Asker::new(self.link, self.wait);
        let ended = async || {
            // Nobody may be left to be told.
            let _ = sender.send(Received::TrackEnded(index)).await;
            Ok(Turn::Ended)
        };
        let subscribed = tokio::select! {
            biased;
            subscribed = asker.subscribe(client, &name, self.options.clone()) => subscribed,
            Ok(_) = complete.wait_for(|complete| *complete) => return ended().await,
        };
        let mut objects = match subscribed {
            Ok(subscription) => self.ordered(subscription, &name),
            Err(_) if *complete.borrow() => return ended().await,
            Err(NotSubscribed::SessionEnded) => return Ok(Turn::SessionEnded),
            Err(NotSubscribed::RangePassed(error) | NotSubscribed::Failed(error)) => {
                return Err(error);
            }
        };
        while let Some(object) = objects.next().await {
            if sender.send(Received::Object(index, object)).await.is_err() {
                return Ok(Turn::Ended);
            }
        }
        if *complete.borrow() {
            if let Some(why) = unfinished(&name, &objects.end()) {
                self.link
                    .tell(format_args!("The end of {name} may be missing: {why}."));
            }
            return ended().await;
        }
        match asker.turn(&name, objects.end())? {
            Turn::Ended => ended().await,
            turn => Ok(turn),
        }
    }

    /// The objects of one subscription, for one who watches live.
    fn ordered(&self, subscription: Subscription, track: &FullTrackName) -> Ordered<'_> {
        let late_are_given_up = self.options.delivery_timeout.is_some();
        let losses = Losses::new(self.link, track, late_are_given_up);
        Ordered::new(subscription, losses, PATIENCE, Late::Drop)
    }

    /// Takes an object of the catalog track in; false where that changes nothing. Once there is a catalog, one that cannot
    /// be read costs the changes until the next full one.
    fn apply(&self, guide: &mut Guide, object: &Object) -> Result<bool, CliError> {
        if object.payload.is_empty() {
            return Ok(false);
        }
        let is_own = |text: &str| {
            text.parse()
                .is_ok_and(|namespace: TrackNamespace| namespace == *self.namespace)
        };
        let read = CatalogObject::from_json(&object.payload)
            .and_then(|read| read.inheriting(is_own))
            .and_then(|read| guide.take(read));
        match read {
            Ok(changed) => Ok(changed),
            Err(error) if guide.catalog.is_none() => Err(unplayable(self.namespace, plain(error))),
            Err(error) => {
                if !std::mem::replace(&mut guide.lost, true) {
                    self.link.tell(format_args!(
                        "A change of the catalog of {} is left out: {}. Going on as before until its next full catalog; tell its publisher.",
                        self.namespace,
                        plain(error)
                    ));
                }
                Ok(false)
            }
        }
    }

    fn choose(&self, catalog: &Catalog) -> Result<Vec<CatalogTrack>, CliError> {
        choose(self.namespace, self.wanted, catalog)
    }

    fn full_name(&self, track: &CatalogTrack) -> Result<FullTrackName, CliError> {
        let namespace = match &track.namespace {
            Some(text) => text
                .parse()
                .map_err(|error| unplayable(self.namespace, plain(error)))?,
            None => self.namespace.clone(),
        };
        FullTrackName::new(namespace, track.name.clone())
            .map_err(|error| unplayable(self.namespace, plain(error)))
    }
}

impl Guide {
    /// Takes in what an object says; false where that changes nothing.
    fn take(&mut self, object: CatalogObject) -> Result<bool, CatalogError> {
        match object {
            CatalogObject::Full(full) => {
                self.catalog = Some(full);
                self.lost = false;
                Ok(true)
            }
            CatalogObject::Update(update) => match &mut self.catalog {
                Some(catalog) if !self.lost => catalog.apply(&update).map(|()| true),
                _ => Ok(false),
            },
        }
    }

    fn is_complete(&self) -> bool {
        self.catalog
            .as_ref()
            .is_some_and(|catalog| catalog.is_complete)
    }
}

#[cfg(test)]
mod tests;
