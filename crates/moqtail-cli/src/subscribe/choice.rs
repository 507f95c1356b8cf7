//! Which tracks of a catalog are followed.

use moqtail::model::TrackNamespace;
use moqtail_media::{Catalog, CatalogTrack, Packaging, Role};

use crate::errors::{CliError, plain};

/// What other publishers call CMAF with one chunk in each object.
const CHUNK_PER_OBJECT: &str = "chunk-per-object";

/// The tracks with the names that are `wanted`; where there are none, all audio and video.
pub(super) fn choose(
    broadcast: &TrackNamespace,
    wanted: &[String],
    catalog: &Catalog,
) -> Result<Vec<CatalogTrack>, CliError> {
    if wanted.is_empty() {
        let media = |track: &&CatalogTrack| {
            matches!(track.role, None | Some(Role::Video | Role::Audio)) && lacks(track).is_none()
        };
        let all: Vec<_> = catalog.tracks.iter().filter(media).cloned().collect();
        return match all.is_empty() {
            true => Err(unplayable(
                broadcast,
                format!(
                    "its catalog names no audio or video in CMAF form with initialization data, but: {}",
                    list(&catalog.tracks)
                ),
            )),
            false => Ok(all),
        };
    }
    let find = |name: &String| {
        let named = || catalog.tracks.iter().filter(|track| track.name == *name);
        match (named().find(|track| lacks(track).is_none()), named().next()) {
            (Some(track), _) => Ok(track.clone()),
            (None, Some(track)) => {
                let why = lacks(track).unwrap_or_default();
                Err(unplayable(broadcast, format!("its track {name} {why}")))
            }
            (None, None) => Err(CliError::NoSuchTrack {
                broadcast: broadcast.to_string(),
                track: name.clone(),
                available: list(&catalog.tracks),
            }),
        }
    };
    wanted.iter().map(find).collect()
}

/// What is missing of a track to be played.
fn lacks(track: &CatalogTrack) -> Option<String> {
    match &track.packaging {
        Packaging::Cmaf => {}
        Packaging::Other(name) if name == CHUNK_PER_OBJECT => {}
        other => return Some(format!("is packaged as {}, not as CMAF", plain(other))),
    }
    match track.init_data {
        Some(_) => None,
        None => Some("has no initialization data in the catalog".to_owned()),
    }
}

/// The failure of a broadcast that cannot be played.
pub(super) fn unplayable(broadcast: &TrackNamespace, reason: String) -> CliError {
    CliError::Unplayable {
        broadcast: broadcast.to_string(),
        reason,
        next: "Publish it with `moqtail publish`, or fetch a track as it is with `--track NAME --format raw`.",
    }
}

/// Whether some of the tracks `after` are in the place of some of those `before`. Where tracks only came, or only left, the others
/// go on with the same subscriptions and the same header.
pub(super) fn are_replaced(before: &[CatalogTrack], after: &[CatalogTrack]) -> bool {
    let lacks = |there: &[CatalogTrack], tracks: &[CatalogTrack]| {
        tracks.iter().any(|track| !is_in(there, track))
    };
    lacks(before, after) && lacks(after, before)
}

/// Whether `track` is among `tracks`, with the same header.
pub(super) fn is_in(tracks: &[CatalogTrack], track: &CatalogTrack) -> bool {
    tracks.iter().any(|other| {
        other.name == track.name
            && other.namespace == track.namespace
            && other.init_data == track.init_data
    })
}

/// The names and codecs of tracks, in one line.
pub(super) fn list(tracks: &[CatalogTrack]) -> String {
    let named = |track: &CatalogTrack| match &track.codec {
        Some(codec) => format!("{} ({})", plain(&track.name), plain(codec)),
        None => plain(&track.name),
    };
    match tracks.is_empty() {
        true => "nothing".to_owned(),
        false => tracks.iter().map(named).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(name: &str, packaging: impl Into<Packaging>) -> CatalogTrack {
        CatalogTrack {
            init_data: Some(b"init"[..].into()),
            ..CatalogTrack::new(name, packaging.into())
        }
    }

    /// The names of the tracks that are chosen, or the line that tells why there are none.
    fn chosen(wanted: &[&str], tracks: Vec<CatalogTrack>) -> Result<Vec<String>, String> {
        let catalog = Catalog {
            tracks,
            ..Catalog::default()
        };
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        choose(&"live".parse().unwrap(), &wanted, &catalog)
            .map(|tracks| tracks.into_iter().map(|track| track.name).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_track_that_is_asked_for_may_have_any_role() {
        let tracks = || {
            let mut tracks = vec![track("v", "cmaf"), track("s", "chunk-per-object")];
            tracks[1].role = Some(Role::SignLanguage);
            tracks
        };
        assert_eq!(chosen(&["s"], tracks()).unwrap(), ["s"]);
        assert_eq!(chosen(&[], tracks()).unwrap(), ["v"]);
    }

    #[test]
    fn it_is_told_what_a_track_lacks() {
        let bare = CatalogTrack::new("b", Packaging::Cmaf);
        let tracks = || vec![track("v", "cmaf"), track("l", "loc"), bare.clone()];
        for (wanted, cause) in [
            (
                "l",
                "Cannot play live: its track l is packaged as loc, not as CMAF.",
            ),
            (
                "b",
                "Cannot play live: its track b has no initialization data in the catalog.",
            ),
            ("n", "Broadcast live has no track n. It has: v, l, b."),
        ] {
            let told = chosen(&[wanted], tracks()).unwrap_err();
            assert!(told.starts_with(cause), "{told}");
        }
    }

    #[test]
    fn names_of_strangers_stay_in_the_line() {
        let mut forged = track("v\nmoqtail: Done.", "lo\nc");
        forged.codec = Some("a\r\nb".into());
        for wanted in [&[][..], &["x"], &["v\nmoqtail: Done."]] {
            let told = chosen(wanted, vec![forged.clone()]).unwrap_err();
            let own = wanted.concat();
            assert!(!told.replace(&own, "").contains(['\n', '\r']), "{told}");
        }
    }

    #[test]
    fn tracks_that_come_or_leave_are_told_from_those_that_are_replaced() {
        let [v, w, x] = ["v", "w", "x"].map(|name| track(name, "cmaf"));
        let other = CatalogTrack {
            init_data: Some(b"other"[..].into()),
            ..v.clone()
        };
        let two = [v.clone(), w.clone()];
        for (after, replaced) in [
            (vec![w.clone(), v.clone()], false),
            (vec![v.clone(), x.clone(), w.clone()], false),
            (vec![w.clone()], false),
            (vec![v, x], true),
            (vec![other, w], true),
        ] {
            assert_eq!(are_replaced(&two, &after), replaced);
        }
    }
}
