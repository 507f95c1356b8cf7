//! A broadcast of media: a catalog, and one track for each track of the input.

use std::time::Duration;

use bytes::Bytes;
use moqtail::{
    client::{Broadcast, Interest, LocalSubgroup, LocalTrack, SubgroupOptions, TrackOptions},
    model::{Extensions, Location, PublishDoneCode, SubgroupId, TrackNamespace},
};
use moqtail_media::{CATALOG_TRACK, Catalog, Fragment, Init, TrackInfo, TrackKind, track_names};
use tokio::sync::watch;

use crate::errors::{CliError, plain};

/// How often the catalog is published anew, as a group of its own: a subscription starts behind what is already there.
pub(crate) const CATALOG_EVERY: Duration = Duration::from_secs(2);

/// Shortest group of a track that may choose, in seconds.
const SHORTEST_GROUP: f64 = 0.5;
/// Longest group of a track that may choose, in seconds; the usual one without video.
const LONGEST_GROUP: f64 = 1.0;

/// Writes fragments into the tracks of a broadcast.
pub(crate) struct MediaBroadcast {
    broadcast: Broadcast,
    catalog: LocalTrack,
    catalog_group: u64,
    tracks: Vec<MediaTrack>,
    has_video: bool,
}

struct MediaTrack {
    info: TrackInfo,
    name: String,
    writer: LocalTrack,
    priority: u8,
    next_group: u64,
    open: Option<OpenGroup>,
    /// A video group began at this time in seconds; a group of this track should begin there too.
    boundary: Option<f64>,
}

struct OpenGroup {
    subgroup: LocalSubgroup,
    group: u64,
    next_object: u64,
    /// Decode time of its first fragment in seconds.
    start: f64,
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
        let catalog = broadcast.track(CATALOG_TRACK, TrackOptions::default()).map_err(refused)?;
        let mut tracks = Vec::new();
        for (name, info) in track_names(&init.tracks).into_iter().zip(&init.tracks) {
            let priority = match info.kind {
                TrackKind::Video => priority,
                TrackKind::Audio => priority.saturating_sub(1),
            };
            tracks.push(MediaTrack {
                info: info.clone(),
                writer: broadcast
                    .track(name.clone(), TrackOptions::default())
                    .map_err(refused)?,
                name,
                priority,
                next_group: first_group,
                open: None,
                boundary: None,
            });
        }
        let has_video = tracks.iter().any(|track| track.info.kind == TrackKind::Video);
        Ok(Self { broadcast, catalog, catalog_group: first_group, tracks, has_video })
    }

    /// What sessions publish.
    pub(crate) fn broadcast(&self) -> &Broadcast {
        &self.broadcast
    }

    /// Publishes the catalog as a new group. `now_ms` is the time since 1970.
    pub(crate) fn publish_catalog(&mut self, now_ms: u64) -> Result<(), CliError> {
        let tracks: Vec<_> = self.tracks.iter().map(|track| track.info.clone()).collect();
        self.write_catalog(Catalog::of_tracks(&tracks, Some(now_ms)))
    }

    /// Publishes a fragment. `None`: it was left out, because its track cannot begin with it.
    pub(crate) fn write(&mut self, fragment: Fragment) -> Result<Option<Sent>, CliError> {
        let found = self.tracks.iter().position(|track| track.info.id == fragment.track_id);
        let Some(track) = found.and_then(|index| self.tracks.get_mut(index)) else {
            return Ok(None);
        };
        track.info.learn(&fragment);
        let begins = track.begins_group(&fragment, self.has_video);
        let sent = track.write(&fragment, begins)?;
        if begins && track.info.kind == TrackKind::Video {
            let start = seconds(fragment.decode_time, track.info.timescale);
            for other in &mut self.tracks {
                other.boundary = Some(start);
            }
        }
        Ok(sent)
    }

    /// Ends the broadcast for good: viewers are told that nothing more will come.
    pub(crate) fn end(mut self, now_ms: u64) -> Result<(), CliError> {
        for track in &mut self.tracks {
            track.close_group()?;
        }
        self.write_catalog(Catalog::complete(Some(now_ms)))?;
        for track in self.tracks {
            track.writer.end(PublishDoneCode::TRACK_ENDED, "the broadcast has ended");
        }
        self.catalog.end(PublishDoneCode::TRACK_ENDED, "the broadcast has ended");
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

    fn write_catalog(&mut self, catalog: Catalog) -> Result<(), CliError> {
        let group = self.catalog_group;
        self.catalog_group += 1;
        let mut subgroup = self.catalog.subgroup(whole_group(group, 0)).map_err(refused)?;
        let json = Bytes::from(catalog.to_json());
        subgroup.object(0, &Extensions::default(), json).map_err(refused)?;
        subgroup.finish().map_err(refused)
    }
}

impl MediaTrack {
    /// A group of video is what begins with a key frame. Sound can be cut anywhere: where a video group begins, and
    /// without video each second.
    fn begins_group(&self, fragment: &Fragment, has_video: bool) -> bool {
        if !fragment.keyframe {
            return false;
        }
        let Some(open) = &self.open else { return true };
        if self.info.kind == TrackKind::Video {
            return true;
        }
        let begin = seconds(fragment.decode_time, self.info.timescale);
        let end = seconds(fragment.end_time(), self.info.timescale);
        let age = begin - open.start;
        match self.boundary {
            Some(boundary) => end > boundary && age >= SHORTEST_GROUP,
            None => !has_video && age >= LONGEST_GROUP,
        }
    }

    fn write(&mut self, fragment: &Fragment, begins: bool) -> Result<Option<Sent>, CliError> {
        if begins {
            self.close_group()?;
            let group = self.next_group;
            self.next_group += 1;
            self.boundary = None;
            let options = whole_group(group, self.priority);
            self.open = Some(OpenGroup {
                subgroup: self.writer.subgroup(options).map_err(refused)?,
                group,
                next_object: 0,
                start: seconds(fragment.decode_time, self.info.timescale),
            });
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        let location = Location::new(open.group, open.next_object);
        let payload = fragment.data.clone();
        open.subgroup
            .object(location.object, &Extensions::default(), payload)
            .map_err(refused)?;
        open.next_object += 1;
        Ok(Some(Sent { track: self.name.clone(), location }))
    }

    fn close_group(&mut self) -> Result<(), CliError> {
        self.open.take().map_or(Ok(()), |open| open.subgroup.finish().map_err(refused))
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

fn seconds(time: u64, timescale: u32) -> f64 {
    time as f64 / f64::from(timescale)
}

/// Our own tracks do not refuse what is written in order; if one does, the media is over a limit.
fn refused(error: impl std::fmt::Display) -> CliError {
    CliError::NotMp4 {
        input: "The media".to_owned(),
        reason: plain(error),
        next: "Publish it with a lower bit rate, or in shorter fragments.",
    }
}
