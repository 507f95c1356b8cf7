//! A broadcast of media: a catalog, and one track for each track of the input.

use std::time::Duration;

use bytes::Bytes;
use moqtail::{
    client::{Broadcast, Interest, LocalSubgroup, LocalTrack, SubgroupOptions, TrackOptions},
    model::{Extensions, Location, PublishDoneCode, SubgroupId, TrackNamespace},
};
use moqtail_media::{
    CATALOG_TRACK, Catalog, Fragment, Grouper, Init, Placement, TrackInfo, TrackKind, track_names,
};
use tokio::sync::watch;

use crate::errors::{CliError, plain};

/// How often the catalog is published anew, as a group of its own: a subscription starts behind what is already there.
pub(crate) const CATALOG_EVERY: Duration = Duration::from_secs(2);

/// Why subscriptions to tracks of a broadcast that was ended are over.
const ENDED: &str = "the broadcast has ended";

/// Writes fragments into the tracks of a broadcast.
pub(crate) struct MediaBroadcast {
    broadcast: Broadcast,
    catalog: LocalTrack,
    catalog_group: u64,
    grouper: Grouper,
    tracks: Vec<MediaTrack>,
}

struct MediaTrack {
    info: TrackInfo,
    name: String,
    writer: LocalTrack,
    priority: u8,
    open: Option<LocalSubgroup>,
}

/// Where a fragment went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sent {
    pub(crate) track: String,
    pub(crate) location: Location,
}

impl MediaBroadcast {
    /// A broadcast of the tracks of `init`. Group numbers begin at `first_group`, the time in ms since 1970, so that a
    /// publisher that is started again never uses one twice. Sound goes before pictures, the catalog before both.
    pub(crate) fn new(
        namespace: &TrackNamespace,
        init: &Init,
        first_group: u64,
        priority: u8,
    ) -> Result<Self, CliError> {
        let broadcast = Broadcast::new(namespace.clone());
        let track = |name: String| {
            broadcast
                .track(name, TrackOptions::default())
                .map_err(refused)
        };
        let catalog = track(CATALOG_TRACK.to_owned())?;
        let mut tracks = Vec::new();
        for (name, info) in track_names(&init.tracks).into_iter().zip(&init.tracks) {
            let priority = match info.kind {
                TrackKind::Video => priority,
                TrackKind::Audio => priority.saturating_sub(1),
            };
            let writer = track(name.clone())?;
            tracks.push(MediaTrack {
                info: info.clone(),
                name,
                writer,
                priority,
                open: None,
            });
        }
        let grouper = Grouper::new(&init.tracks, first_group);
        Ok(Self {
            broadcast,
            catalog,
            catalog_group: first_group,
            grouper,
            tracks,
        })
    }

    /// What sessions publish.
    pub(crate) fn broadcast(&self) -> &Broadcast {
        &self.broadcast
    }

    /// Publishes the catalog as a new group. `now_ms` is the time since 1970.
    pub(crate) fn publish_catalog(&mut self, now_ms: u64) -> Result<(), CliError> {
        let tracks: Vec<_> = self.tracks.iter().map(|track| track.info.clone()).collect();
        self.write_catalog(&Catalog::of_tracks(&tracks, Some(now_ms)))
    }

    /// Publishes a fragment. `None`: it was left out, because its track cannot begin with it.
    pub(crate) fn write(&mut self, fragment: &Fragment) -> Result<Option<Sent>, CliError> {
        let mut tracks = self.tracks.iter_mut();
        let Some(track) = tracks.find(|track| track.info.id == fragment.track_id) else {
            return Ok(None);
        };
        track.info.learn(fragment);
        let Some(placement) = self.grouper.place(fragment) else {
            return Ok(None);
        };
        track.write(placement, fragment.data.clone()).map(Some)
    }

    /// Nothing more comes from this process, and another one may go on: what was begun is all there will be of it.
    pub(super) fn pause(&mut self) -> Result<(), CliError> {
        self.tracks.iter_mut().try_for_each(MediaTrack::close_group)
    }

    /// Ends the broadcast for good: viewers are told that nothing more will come.
    pub(crate) fn end(mut self, now_ms: u64) -> Result<(), CliError> {
        self.pause()?;
        self.write_catalog(&Catalog::complete(Some(now_ms)))?;
        for track in self.tracks {
            track.writer.end(PublishDoneCode::TRACK_ENDED, ENDED);
        }
        self.catalog.end(PublishDoneCode::TRACK_ENDED, ENDED);
        Ok(())
    }

    /// Follows who watches the catalog.
    pub(crate) fn catalog_interest(&self) -> watch::Receiver<Interest> {
        self.catalog.track().interest()
    }

    /// Waits until somebody subscribes to every media track. Cancel safe.
    pub(crate) async fn wait_for_viewer(&self) {
        for track in &self.tracks {
            let mut interest = track.writer.track().interest();
            // Fails only when the track has ended, and then nobody needs to wait.
            let _ = interest.wait_for(|interest| interest.forwarding > 0).await;
        }
    }

    fn write_catalog(&mut self, catalog: &Catalog) -> Result<(), CliError> {
        let group = self.catalog_group;
        self.catalog_group += 1;
        let mut subgroup = self
            .catalog
            .subgroup(whole_group(group, 0))
            .map_err(refused)?;
        let json = Bytes::from(catalog.to_json());
        subgroup
            .object(0, &Extensions::default(), json)
            .map_err(refused)?;
        subgroup.finish().map_err(refused)
    }
}

impl MediaTrack {
    fn write(&mut self, placement: Placement, payload: Bytes) -> Result<Sent, CliError> {
        if placement.starts_group() {
            self.close_group()?;
            let options = whole_group(placement.group, self.priority);
            self.open = Some(self.writer.subgroup(options).map_err(refused)?);
        }
        if let Some(open) = &mut self.open {
            open.object(placement.object, &Extensions::default(), payload)
                .map_err(refused)?;
        }
        let (track, group, object) = (&self.name, placement.group, placement.object);
        tracing::trace!(track, group, object, "published");
        let location = Location::new(placement.group, placement.object);
        Ok(Sent {
            track: self.name.clone(),
            location,
        })
    }

    fn close_group(&mut self) -> Result<(), CliError> {
        self.open
            .take()
            .map_or(Ok(()), |open| open.finish().map_err(refused))
    }
}

/// One subgroup that is all of its group.
pub(crate) fn whole_group(group: u64, priority: u8) -> SubgroupOptions {
    SubgroupOptions {
        group,
        subgroup: SubgroupId::Zero,
        publisher_priority: priority,
        extensions: false,
        end_of_group: true,
    }
}

/// Our own tracks do not refuse what is written in order; if one does, the media is over a limit.
fn refused(error: impl std::fmt::Display) -> CliError {
    CliError::NotMp4 {
        input: "The media".to_owned(),
        reason: plain(error),
        next: "Publish it with a lower bit rate, or in shorter fragments.",
    }
}
