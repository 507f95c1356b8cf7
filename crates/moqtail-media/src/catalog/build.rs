//! Making the catalog of an input.

use crate::catalog::{Catalog, CatalogTrack, Packaging, Role};
use crate::track::{TrackInfo, TrackKind};

/// The render group of all tracks of one input: they are shown together.
const RENDER_GROUP: u64 = 1;
/// The alternate group of the video tracks of one input, when there are several.
const VIDEO_ALT_GROUP: u64 = 1;
/// Key frames that start a group are IDR or their like: SAP type 1, or 2 when pictures shown
/// before them follow.
const GROUP_SAP_TYPE: u64 = 2;

/// The track names of an input, in the order of its tracks: `video0`, `video1`, … and `audio0`,
/// `audio1`, …, counted for each kind.
pub fn track_names(tracks: &[TrackInfo]) -> Vec<String> {
    let (mut video, mut audio) = (0, 0);
    let name = |track: &TrackInfo| {
        let (kind, count) = match track.kind {
            TrackKind::Video => ("video", &mut video),
            TrackKind::Audio => ("audio", &mut audio),
        };
        let name = format!("{kind}{count}");
        *count += 1;
        name
    };
    tracks.iter().map(name).collect()
}

impl Catalog {
    /// The catalog of a live broadcast of these tracks, packaged as CMAF and named as
    /// [`track_names`] says. Several video tracks are taken for renditions of one picture and
    /// become alternatives of each other. `generated_at` is in milliseconds since the Unix epoch.
    pub fn of_tracks(tracks: &[TrackInfo], generated_at: Option<u64>) -> Self {
        let videos = tracks
            .iter()
            .filter(|track| track.kind == TrackKind::Video)
            .count();
        let entry = |(name, track): (String, &TrackInfo)| {
            let mut entry = CatalogTrack::of_track(name, track);
            if videos > 1 && track.kind == TrackKind::Video {
                entry.alt_group = Some(VIDEO_ALT_GROUP);
            }
            entry
        };
        let named = track_names(tracks).into_iter().zip(tracks);
        Self {
            generated_at,
            is_complete: false,
            tracks: named.map(entry).collect(),
        }
    }

    /// The catalog that ends a live broadcast for good (MSF-00 §9.2).
    pub fn complete(generated_at: Option<u64>) -> Self {
        Self {
            generated_at,
            is_complete: true,
            tracks: Vec::new(),
        }
    }
}

impl CatalogTrack {
    /// The entry of a live CMAF track.
    pub fn of_track(name: impl Into<String>, track: &TrackInfo) -> Self {
        let role = match track.kind {
            TrackKind::Video => Role::Video,
            TrackKind::Audio => Role::Audio,
        };
        Self {
            role: Some(role),
            lang: track.language.clone(),
            render_group: Some(RENDER_GROUP),
            init_data: Some(track.init.clone()),
            codec: Some(track.codec.clone()),
            framerate: track.framerate,
            timescale: Some(track.timescale.into()),
            bitrate: track.bitrate,
            width: track.width.map(u64::from),
            height: track.height.map(u64::from),
            samplerate: track.samplerate.map(u64::from),
            channel_config: track.channels.map(|channels| channels.to_string()),
            max_grp_sap_starting_type: Some(GROUP_SAP_TYPE),
            ..Self::new(name, Packaging::Cmaf)
        }
    }
}
