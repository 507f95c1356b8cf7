//! Follows a media broadcast: its catalog, and the tracks that the catalog names.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

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
    time::{Instant, sleep, sleep_until},
};

use super::{
    choice::{are_replaced, choose, is_in, list, unplayable},
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

/// How long a track that left the catalog may go on to come.
const LAST_OBJECTS: Duration = Duration::from_secs(30);

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
type Playing<'a> = FuturesUnordered<LocalBoxFuture<'a, (usize, Result<Turn, CliError>)>>;

/// One of the tracks that are followed.
struct Place<'a> {
    index: usize,
    track: &'a CatalogTrack,
    /// It had ended and is back.
    returns: bool,
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
    /// What is remembered over a break.
    pub(crate) memory: Memory,
}

/// What a viewer remembers of a broadcast.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The tracks that it follows, whether they are there now or not.
    tracks: RefCell<Vec<CatalogTrack>>,
    /// Those that there were last.
    known: RefCell<Vec<CatalogTrack>>,
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
        let Some(mut chosen) = self.first_tracks(&mut catalogs, &mut guide).await? else {
            return match guide.is_complete() {
                true => Ok(Turn::Ended),
                false => asker.turn(&name, catalogs.end()),
            };
        };
        loop {
            let before = self.memory.tracks.take();
            let tracks = match before.is_empty() || are_replaced(&before, &chosen) {
                true => chosen.clone(),
                false => before,
            };
            self.memory.tracks.replace(tracks.clone());
            self.tell_changes(&tracks, &chosen);
            tracing::info!(tracks = %list(&tracks), "catalog");
            // A receiver that is gone has had enough.
            if sender.send(Received::Tracks(tracks.clone())).await.is_err() {
                return Ok(Turn::Ended);
            }
            match self
                .watch(client, sender, &tracks, chosen, &mut catalogs, &mut guide)
                .await?
            {
                Watched::Turn(turn) => return Ok(turn),
                Watched::Changed(changed) => chosen = changed,
            }
        }
    }

    /// Tells of tracks that came and left since it was told last. What is watched goes on.
    fn tell_changes(&self, tracks: &[CatalogTrack], there: &[CatalogTrack]) {
        let known = self.memory.known.replace(there.to_vec());
        let is_new = |track: &&CatalogTrack| !is_in(&known, track) && !is_in(tracks, track);
        let has_left = |track: &&CatalogTrack| is_in(&known, track) && !is_in(there, track);
        let new: Vec<_> = there.iter().filter(is_new).cloned().collect();
        let left: Vec<_> = tracks.iter().filter(has_left).cloned().collect();
        if !new.is_empty() {
            self.link.tell(format_args!(
                "{} has more tracks now, {}: going on without. Run it again for all of them.",
                self.namespace,
                list(&new)
            ));
        }
        if !left.is_empty() {
            self.link.tell(format_args!(
                "{} goes on without {}.",
                self.namespace,
                list(&left)
            ));
        }
    }

    /// Plays those of `tracks` that are `there`, until all of them have ended or the catalog names others in place of some. One
    /// that comes is left out, one that leaves ends, and one that comes back goes on.
    async fn watch(
        &self,
        client: &Client,
        sender: &mpsc::Sender<Received>,
        tracks: &[CatalogTrack],
        there: Vec<CatalogTrack>,
        catalogs: &mut Ordered<'_>,
        guide: &mut Guide,
    ) -> Result<Watched, CliError> {
        let (complete, there) = (watch::Sender::new(false), watch::Sender::new(there));
        let mut playing = Playing::default();
        let mut running = BTreeSet::new();
        // Tracks that came back before their end was played.
        let mut back = BTreeMap::new();
        let play = |index: usize, track, returns| -> LocalBoxFuture<'_, _> {
            let (complete, there) = (complete.subscribe(), there.subscribe());
            Box::pin(async move {
                let at = Place {
                    index,
                    track,
                    returns,
                };
                let played = self.play(client, at, sender, complete, there);
                (index, played.await)
            })
        };
        for (index, track) in tracks.iter().enumerate() {
            if is_in(&there.borrow(), track) {
                running.insert(index);
                playing.push(play(index, track, false));
            } else if sender.send(Received::TrackEnded(index)).await.is_err() {
                return Ok(Watched::Turn(Turn::Ended));
            }
        }
        loop {
            tokio::select! {
                // That the broadcast is complete comes before the end of its tracks.
                biased;
                Some(object) = catalogs.next() => {
                    if !self.apply(guide, &object)? {
                        continue;
                    }
                    if guide.is_complete() {
                        complete.send_if_modified(|complete| !std::mem::replace(complete, true));
                    }
                    let Some(catalog) = guide.catalog.as_ref().filter(|_| !*complete.borrow()) else {
                        continue;
                    };
                    let Ok(chosen) = self.choose(catalog) else {
                        continue;
                    };
                    if are_replaced(tracks, &chosen) {
                        return Ok(Watched::Changed(chosen));
                    }
                    self.tell_changes(tracks, &chosen);
                    let before = there.send_replace(chosen);
                    for (index, track) in tracks.iter().enumerate() {
                        let is_back = !is_in(&before, track) && is_in(&there.borrow(), track);
                        if is_back && running.insert(index) {
                            playing.push(play(index, track, true));
                        } else if is_back {
                            back.insert(index, Instant::now());
                        }
                    }
                }
                Some((index, turn)) = playing.next() => {
                    running.remove(&index);
                    let is_back = back.remove(&index).is_some_and(|at| at.elapsed() < 2 * PATIENCE);
                    if let (true, Ok(Turn::Ended), Some(track)) = (is_back, &turn, tracks.get(index))
                        && is_in(&there.borrow(), track)
                    {
                        running.insert(index);
                        playing.push(play(index, track, true));
                        continue;
                    }
                    match turn? {
                        Turn::Ended if playing.is_empty() => return Ok(Watched::Turn(Turn::Ended)),
                        Turn::Ended => {}
                        Turn::Again => return Ok(Watched::Turn(Turn::Again)),
                        Turn::SessionEnded => {
                            // It is over for the others as well, when they have delivered what they received.
                            let mut rest = Ok(());
                            while let Some((_, turn)) = playing.next().await {
                                rest = rest.and(turn.map(drop));
                            }
                            return rest.map(|()| Watched::Turn(Turn::SessionEnded));
                        }
                    }
                }
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

    /// Sends the objects of one track as long as it is `there`. Once the broadcast is `complete`, every end is the end of the track.
    async fn play(
        &self,
        client: &Client,
        Place {
            index,
            track,
            returns,
        }: Place<'_>,
        sender: &mpsc::Sender<Received>,
        mut complete: watch::Receiver<bool>,
        mut there: watch::Receiver<Vec<CatalogTrack>>,
    ) -> Result<Turn, CliError> {
        let name = self.full_name(track)?;
        let mut asker = Asker::new(self.link, self.wait);
        let ended = async || {
            // Nobody may be left to be told.
            let _ = sender.send(Received::TrackEnded(index)).await;
            Ok(Turn::Ended)
        };
        let subscribed = {
            // What they wait for is not held while that is told.
            let is_complete = async { complete.wait_for(|complete| *complete).await.is_ok() };
            let has_left = async { there.wait_for(|there| !is_in(there, track)).await.is_ok() };
            tokio::select! {
                biased;
                subscribed = asker.subscribe(client, &name, self.options.clone()) => Some(subscribed),
                true = is_complete => None,
                true = has_left => None,
            }
        };
        let mut objects = match subscribed {
            None => return ended().await,
            Some(Ok(subscription)) => self.ordered(subscription, &name),
            Some(Err(NotSubscribed::SessionEnded)) if *complete.borrow() => return ended().await,
            Some(Err(NotSubscribed::SessionEnded)) => return Ok(Turn::SessionEnded),
            Some(Err(NotSubscribed::RangePassed(error) | NotSubscribed::Failed(error))) => {
                let is_over = *complete.borrow();
                if returns && !is_over {
                    self.link.tell(&error);
                }
                return match returns || is_over {
                    true => ended().await,
                    false => Err(error),
                };
            }
        };
        // Since when it is gone, and since when nothing came then.
        let mut gone: Option<(Instant, Instant)> = None;
        loop {
            let over = gone.map(|(since, last)| (since + LAST_OBJECTS).min(last + PATIENCE));
            tokio::select! {
                biased;
                object = objects.next() => {
                    let Some(object) = object else {
                        break;
                    };
                    if sender.send(Received::Object(index, object)).await.is_err() {
                        return Ok(Turn::Ended);
                    }
                    gone = gone.map(|(since, _)| (since, Instant::now()));
                }
                Ok(()) = there.changed() => {
                    let is_there = is_in(&there.borrow_and_update(), track);
                    let now = Instant::now();
                    gone = if is_there { None } else { gone.or(Some((now, now))) };
                }
                () = sleep_until(over.unwrap_or_else(Instant::now)), if over.is_some() => return ended().await,
            }
        }
        if *complete.borrow() {
            if let Some(why) = unfinished(&name, &objects.end()) {
                self.link
                    .tell(format_args!("The end of {name} may be missing: {why}."));
            }
            return ended().await;
        }
        // However it ended, it was to.
        let has_left = !is_in(&there.borrow(), track);
        if has_left {
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
        // Later some of the wanted ones may be gone.
        let is_there = |name: &&String| catalog.tracks.iter().any(|track| track.name == **name);
        let there: Vec<_> = self.wanted.iter().filter(is_there).cloned().collect();
        match self.memory.tracks.borrow().is_empty() || there.is_empty() {
            true => choose(self.namespace, self.wanted, catalog),
            false => choose(self.namespace, &there, catalog),
        }
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
