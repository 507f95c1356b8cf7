//! Follows a media broadcast: its catalog, and the tracks that the catalog names.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use moqtail::{
    client::{Client, Object, SubscribeOptions, Subscription},
    model::{Filter, FullTrackName, TrackNamespace},
};
use moqtail_media::{CATALOG_TRACK, Catalog, CatalogObject, CatalogTrack, Packaging, Role};
use tokio::sync::mpsc;

use super::{
    following::keep_following,
    losses::Losses,
    ordered::{Late, Ordered},
    waiting::{Asker, NotSubscribed, Turn},
};
use crate::{
    errors::{CliError, plain},
    link::Link,
    names,
};

/// How long a group that has begun waits for the rest of the one before.
const PATIENCE: Duration = Duration::from_secs(2);

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
        let mut current = Catalog::default();
        loop {
            let Some(object) = catalogs.next().await else {
                return asker.turn(&name, catalogs.end());
            };
            if self.apply(&mut current, &object)? {
                break;
            }
        }
        if current.is_complete {
            return Ok(Turn::Ended);
        }
        let tracks = self.choose(&current)?;
        tracing::info!(tracks = %list(&tracks), "catalog");
        // A receiver that is gone has had enough.
        if sender.send(Received::Tracks(tracks.clone())).await.is_err() {
            return Ok(Turn::Ended);
        }
        let mut playing = FuturesUnordered::new();
        for (index, track) in tracks.iter().enumerate() {
            playing.push(self.play(client, index, track, sender));
        }
        loop {
            tokio::select! {
                Some(turn) = playing.next() => match turn? {
                    Turn::Ended if playing.is_empty() => return Ok(Turn::Ended),
                    Turn::Ended => {}
                    Turn::Again => return Ok(Turn::Again),
                    Turn::SessionEnded => {
                        // It is over for the others as well, when they have delivered what they received.
                        let mut rest = Ok(());
                        while let Some(turn) = playing.next().await {
                            rest = rest.and(turn.map(drop));
                        }
                        return rest.map(|()| Turn::SessionEnded);
                    }
                },
                Some(object) = catalogs.next() => {
                    let changed = self.apply(&mut current, &object)?
                        && !current.is_complete
                        && self.choose(&current).is_ok_and(|chosen| !same(&chosen, &tracks));
                    if changed {
                        tracing::info!("the catalog has changed");
                        return Ok(Turn::Again);
                    }
                }
                else => return Ok(Turn::Ended),
            }
        }
    }

    /// Sends the objects of one track.
    async fn play(
        &self,
        client: &Client,
        index: usize,
        track: &CatalogTrack,
        sender: &mpsc::Sender<Received>,
    ) -> Result<Turn, CliError> {
        let name = self.full_name(track)?;
        let mut asker = Asker::new(self.link, self.wait);
        let mut objects = match asker.subscribe(client, &name, self.options.clone()).await {
            Ok(subscription) => self.ordered(subscription, &name),
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
        let turn = asker.turn(&name, objects.end())?;
        if matches!(turn, Turn::Ended) {
            // Nobody is left to be told.
            let _ = sender.send(Received::TrackEnded(index)).await;
        }
        Ok(turn)
    }

    /// The objects of one subscription, for one who watches live.
    fn ordered(&self, subscription: Subscription, track: &FullTrackName) -> Ordered<'_> {
        let late_are_given_up = self.options.delivery_timeout.is_some();
        let losses = Losses::new(self.link, track, late_are_given_up);
        Ordered::new(subscription, losses, PATIENCE, Late::Drop)
    }

    /// Takes an object of the catalog track in; false where it changes a catalog that was not seen.
    fn apply(&self, catalog: &mut Catalog, object: &Object) -> Result<bool, CliError> {
        if object.payload.is_empty() {
            return Ok(false);
        }
        let read = CatalogObject::from_json(&object.payload).and_then(|read| match read {
            CatalogObject::Full(full) => {
                *catalog = full;
                Ok(true)
            }
            CatalogObject::Update(_) if catalog.tracks.is_empty() => Ok(false),
            CatalogObject::Update(update) => catalog.apply(&update).map(|()| true),
        });
        read.map_err(|error| self.unplayable(plain(error)))
    }

    /// The tracks to follow.
    fn choose(&self, catalog: &Catalog) -> Result<Vec<CatalogTrack>, CliError> {
        let playable = |track: &&CatalogTrack| {
            let media = matches!(track.role, None | Some(Role::Video | Role::Audio));
            media && track.packaging == Packaging::Cmaf && track.init_data.is_some()
        };
        let all: Vec<_> = catalog.tracks.iter().filter(playable).cloned().collect();
        if self.wanted.is_empty() {
            return match all.is_empty() {
                true => Err(self.unplayable(format!(
                    "its catalog names no audio or video in CMAF form with initialization data, but: {}",
                    list(&catalog.tracks)
                ))),
                false => Ok(all),
            };
        }
        let find = |name: &String| {
            all.iter()
                .find(|track| track.name == *name)
                .cloned()
                .ok_or_else(|| CliError::NoSuchTrack {
                    broadcast: self.namespace.to_string(),
                    track: name.clone(),
                    available: list(&all),
                })
        };
        self.wanted.iter().map(find).collect()
    }

    fn full_name(&self, track: &CatalogTrack) -> Result<FullTrackName, CliError> {
        let namespace = match &track.namespace {
            Some(text) => text
                .parse()
                .map_err(|error| self.unplayable(plain(error)))?,
            None => self.namespace.clone(),
        };
        FullTrackName::new(namespace, track.name.clone())
            .map_err(|error| self.unplayable(plain(error)))
    }

    fn unplayable(&self, reason: String) -> CliError {
        CliError::Unplayable {
            broadcast: self.namespace.to_string(),
            reason,
            next: "Publish it with `moqtail publish`, or fetch a track as it is with `--track NAME --format raw`.",
        }
    }
}

/// Whether the same subscriptions and the same header serve both.
fn same(one: &[CatalogTrack], other: &[CatalogTrack]) -> bool {
    let key = |track: &CatalogTrack| {
        (
            track.namespace.clone(),
            track.name.clone(),
            track.init_data.clone(),
        )
    };
    one.iter().map(key).eq(other.iter().map(key))
}

fn list(tracks: &[CatalogTrack]) -> String {
    let named = |track: &CatalogTrack| match &track.codec {
        Some(codec) => format!("{} ({codec})", track.name),
        None => track.name.clone(),
    };
    match tracks.is_empty() {
        true => "nothing".to_owned(),
        false => tracks.iter().map(named).collect::<Vec<_>>().join(", "),
    }
}
