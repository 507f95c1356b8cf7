//! Making the catalog of an input.

use super::language;
use crate::catalog::{Catalog, CatalogTrack, Packaging, Role};
use crate::track::{TrackInfo, TrackKind};

/// The render group of all tracks of one input: they are shown together.
const RENDER_GROUP: u64 = 1;
/// The alternate group of the video tracks of one input, when there are several.
const VIDEO_ALT_GROUP: u64 = 1;
/// The alternate group of the audio tracks of one input, when there are several.
const AUDIO_ALT_GROUP: u64 = 2;
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
    /// [`track_names`] says. Several video tracks are taken for renditions of one picture, several
    /// audio tracks for languages of one sound, and those of a kind become alternatives of each
    /// other. `generated_at` is in milliseconds since the Unix epoch.
    pub fn of_tracks(tracks: &[TrackInfo], generated_at: Option<u64>) -> Self {
        let several =
            |kind: TrackKind| tracks.iter().filter(|track| track.kind == kind).count() > 1;
        let entry = |(name, track): (String, &TrackInfo)| {
            let mut entry = CatalogTrack::of_track(name, track);
            let alternatives = match track.kind {
                TrackKind::Video => VIDEO_ALT_GROUP,
                TrackKind::Audio => AUDIO_ALT_GROUP,
            };
            entry.alt_group = several(track.kind).then_some(alternatives);
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
            lang: track.language.as_deref().map(language::tag),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn track(kind: TrackKind, language: Option<&str>) -> TrackInfo {
        TrackInfo {
            id: 1,
            kind,
            codec: String::new(),
            timescale: 1,
            width: None,
            height: None,
            samplerate: None,
            channels: None,
            framerate: None,
            bitrate: None,
            language: language.map(Into::into),
            init: bytes::Bytes::new(),
        }
    }

    #[test]
    fn languages_of_one_sound_are_alternatives() {
        let video = || track(TrackKind::Video, None);
        let audio = |language| track(TrackKind::Audio, Some(language));
        let groups = |tracks: &[TrackInfo]| -> Vec<_> {
            let catalog = Catalog::of_tracks(tracks, None);
            let alternatives = |track: CatalogTrack| (track.alt_group, track.lang);
            catalog.tracks.into_iter().map(alternatives).collect()
        };
        let lang = |tag: &str| Some(tag.to_owned());
        assert_eq!(
            groups(&[video(), audio("eng"), audio("ger")]),
            [
                (None, None),
                (Some(AUDIO_ALT_GROUP), lang("en")),
                (Some(AUDIO_ALT_GROUP), lang("de")),
            ]
        );
        assert_eq!(
            groups(&[video(), video(), audio("eng")]),
            [
                (Some(VIDEO_ALT_GROUP), None),
                (Some(VIDEO_ALT_GROUP), None),
                (None, lang("en")),
            ]
        );
    }
}
