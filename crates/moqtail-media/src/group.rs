//! Which MOQT group and object a fragment becomes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::fragment::Fragment;
use crate::time::MediaTime;
use crate::track::{TrackInfo, TrackKind};

/// Media time per audio group when there is no video to go by.
pub const AUDIO_GROUP: Duration = Duration::from_secs(1);

/// Media time after which an audio group ends even if no new video group came, so that a video
/// that stopped does not make one endless audio group.
pub const MAX_AUDIO_GROUP: Duration = Duration::from_secs(30);

/// Group starts of the leading track that are remembered for tracks that lag behind.
const MAX_BOUNDARIES: usize = 64;

/// Where a fragment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// Group ID.
    pub group: u64,
    /// Object ID, from 0 in each group.
    pub object: u64,
    /// Group IDs skipped since the track's previous group, for the Prior Group ID Gap extension
    /// (draft-14 §11.1); 0 but where a track had nothing for the time of a whole group.
    pub prior_group_gap: u64,
}

impl Placement {
    /// Whether the fragment is the first of its group.
    pub fn starts_group(&self) -> bool {
        self.object == 0
    }
}

/// Assigns groups and objects to the fragments of one input; one fragment is one object.
///
/// * A group of a video track starts at each key frame. Fragments before a track's first key
///   frame are left out.
/// * The first video track leads. A group of an audio track starts with the first fragment that
///   reaches into a new group of the leader, so that equally numbered groups overlap in time, as
///   MSF-00 §4.2 requires of a render group, and someone who joins at a group start gets sound and
///   picture together. As all audio can be decoded on its own, someone who joins in the middle of
///   a group hears it at once.
/// * Without video, an audio group lasts [`AUDIO_GROUP`].
/// * All tracks start with the same Group ID, which the caller chooses so that it never repeats:
///   the Unix time in milliseconds (MSF-00 §6.1). The next group of a track is one higher, or the
///   number of the leader's group that it belongs to, when that is more.
#[derive(Debug)]
pub struct Grouper {
    first_group: u64,
    leader: Option<u32>,
    /// Groups of the leader and the times they start at, oldest first.
    boundaries: VecDeque<(u64, MediaTime)>,
    tracks: BTreeMap<u32, State>,
}

#[derive(Debug)]
struct State {
    kind: TrackKind,
    timescale: u32,
    current: Option<Current>,
}

/// The group a track is in.
#[derive(Debug, Clone, Copy)]
struct Current {
    group: u64,
    /// Objects placed in it so far.
    objects: u64,
    start: MediaTime,
}

impl Grouper {
    /// A grouper for the tracks of one input. `first_group` is the first Group ID of all tracks.
    pub fn new(tracks: &[TrackInfo], first_group: u64) -> Self {
        let leader = tracks.iter().find(|track| track.kind == TrackKind::Video);
        let state = |track: &TrackInfo| {
            let state = State {
                kind: track.kind,
                timescale: track.timescale,
                current: None,
            };
            (track.id, state)
        };
        Self {
            first_group,
            leader: leader.map(|track| track.id),
            boundaries: VecDeque::new(),
            tracks: tracks.iter().map(state).collect(),
        }
    }

    /// Places the next fragment of its track; `None` when it must not be published, because a
    /// decoder could not start with it or its track is unknown.
    pub fn place(&mut self, fragment: &Fragment) -> Option<Placement> {
        let state = self.tracks.get(&fragment.track_id)?;
        let start = MediaTime::new(fragment.decode_time, state.timescale);
        let end = MediaTime::new(fragment.end_time(), state.timescale);
        let next = match state.kind {
            TrackKind::Video => self.next_video_group(state, fragment.keyframe, start),
            TrackKind::Audio => self.next_audio_group(state, start, end),
        };
        if next.is_some() && self.leader == Some(fragment.track_id) {
            self.add_boundary(next?, start);
        }
        let current = &mut self.tracks.get_mut(&fragment.track_id)?.current;
        let mut prior_group_gap = 0;
        if let Some(group) = next {
            let expected = current.map_or(group, |current| current.group.saturating_add(1));
            prior_group_gap = group.saturating_sub(expected);
            *current = Some(Current {
                group,
                objects: 0,
                start,
            });
        }
        let current = current.as_mut()?;
        let object = current.objects;
        current.objects += 1;
        Some(Placement {
            group: current.group,
            object,
            prior_group_gap,
        })
    }

    /// The group a video fragment starts, if it starts one.
    fn next_video_group(&self, state: &State, keyframe: bool, at: MediaTime) -> Option<u64> {
        if !keyframe {
            return None;
        }
        // Another rendition may come before the leader: then it is simply one ahead of the last.
        let leader = self.group_of_leader(|boundary| boundary <= at);
        Some(match state.current {
            Some(current) => leader.max(current.group.saturating_add(1)),
            None => leader,
        })
    }

    /// The group an audio fragment starts, if it starts one.
    fn next_audio_group(&self, state: &State, start: MediaTime, end: MediaTime) -> Option<u64> {
        let leader = self.group_of_leader(|boundary| boundary < end);
        let Some(current) = state.current else {
            return Some(leader);
        };
        let longest = if self.leader.is_some() {
            MAX_AUDIO_GROUP
        } else {
            AUDIO_GROUP
        };
        let (from, now) = (current.start.to_duration(), start.to_duration());
        let went_back = now < from;
        if leader > current.group {
            Some(leader)
        } else if went_back || now - from >= longest {
            Some(current.group.saturating_add(1))
        } else {
            None
        }
    }

    /// The newest group of the leader whose start passes the test.
    fn group_of_leader(&self, test: impl Fn(MediaTime) -> bool) -> u64 {
        let newest = self.boundaries.iter().rev().find(|(_, start)| test(*start));
        newest.map_or(self.first_group, |(group, _)| *group)
    }

    fn add_boundary(&mut self, group: u64, start: MediaTime) {
        // Times before a restart of the source say nothing about those after it.
        if self
            .boundaries
            .back()
            .is_some_and(|(_, last)| *last > start)
        {
            self.boundaries.clear();
        }
        if self.boundaries.len() == MAX_BOUNDARIES {
            self.boundaries.pop_front();
        }
        self.boundaries.push_back((group, start));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const FIRST: u64 = 1_746_104_606_044;

    fn track(id: u32, kind: TrackKind, timescale: u32) -> TrackInfo {
        TrackInfo {
            id,
            kind,
            codec: String::new(),
            timescale,
            width: None,
            height: None,
            samplerate: None,
            channels: None,
            framerate: None,
            bitrate: None,
            language: None,
            init: Bytes::new(),
        }
    }

    fn fragment(track_id: u32, keyframe: bool, decode_time: u64, duration: u64) -> Fragment {
        Fragment {
            track_id,
            data: Bytes::new(),
            keyframe,
            decode_time,
            presentation_time: 0,
            duration,
            samples: 1,
            even: true,
        }
    }

    /// Video 1 at 30 fps with a key frame each second and 48 kHz audio 2 in frames of 1024, in
    /// the order a muxer writes them.
    fn play(seconds: u64) -> Vec<(Fragment, Placement)> {
        let tracks = [
            track(1, TrackKind::Video, 30),
            track(2, TrackKind::Audio, 48_000),
        ];
        let mut grouper = Grouper::new(&tracks, FIRST);
        let mut fragments: Vec<_> = (0..seconds * 30)
            .map(|n| fragment(1, n % 30 == 0, n, 1))
            .collect();
        fragments.extend((0..seconds * 48_000 / 1024).map(|n| fragment(2, true, n * 1024, 1024)));
        fragments.sort_by_key(|f| f.decode_time * if f.track_id == 1 { 1600 } else { 1 });
        let place = |f: Fragment| {
            let placement = grouper.place(&f).unwrap();
            (f, placement)
        };
        fragments.into_iter().map(place).collect()
    }

    /// S2.3-01
    #[test]
    fn a_video_group_starts_at_each_key_frame_and_ids_rise_by_one() {
        let placed = play(3);
        let video: Vec<_> = placed.iter().filter(|(f, _)| f.track_id == 1).collect();
        for (n, (fragment, placement)) in (0u64..).zip(&video) {
            assert_eq!(placement.group, FIRST + n / 30);
            assert_eq!(placement.object, n % 30);
            assert_eq!(placement.starts_group(), fragment.keyframe);
            assert_eq!(placement.prior_group_gap, 0);
        }
    }

    #[test]
    fn equally_numbered_groups_overlap_in_time() {
        let placed = play(5);
        let firsts = |id: u32| {
            let mine = placed
                .iter()
                .filter(move |(f, p)| f.track_id == id && p.starts_group());
            mine.map(|(f, p)| (p.group, f.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        let (video, audio) = (firsts(1), firsts(2));
        assert_eq!(
            video.keys().collect::<Vec<_>>(),
            audio.keys().collect::<Vec<_>>()
        );
        for (group, picture) in &video {
            let sound = &audio[group];
            assert!(
                MediaTime::new(picture.decode_time, 30) < MediaTime::new(sound.end_time(), 48_000)
            );
            assert!(
                MediaTime::new(sound.decode_time, 48_000) < MediaTime::new(picture.end_time(), 30)
            );
        }
    }

    #[test]
    fn audio_alone_gets_a_group_per_second() {
        let mut grouper = Grouper::new(&[track(2, TrackKind::Audio, 48_000)], FIRST);
        let mut sizes = BTreeMap::new();
        for n in 0..500 {
            let placement = grouper.place(&fragment(2, true, n * 960, 960)).unwrap();
            *sizes.entry(placement.group).or_insert(0) += 1;
        }
        assert_eq!(sizes.len(), 10);
        assert!(sizes.values().all(|size| *size == 50));
    }

    #[test]
    fn video_waits_for_its_first_key_frame() {
        let mut grouper = Grouper::new(&[track(1, TrackKind::Video, 30)], FIRST);
        assert_eq!(grouper.place(&fragment(1, false, 0, 1)), None);
        assert_eq!(
            grouper.place(&fragment(1, true, 1, 1)).map(|p| p.group),
            Some(FIRST)
        );
        assert_eq!(grouper.place(&fragment(9, true, 1, 1)), None);
    }

    #[test]
    fn renditions_share_group_numbers_whichever_comes_first() {
        let tracks = [
            track(1, TrackKind::Video, 30),
            track(2, TrackKind::Video, 60),
        ];
        let mut grouper = Grouper::new(&tracks, FIRST);
        let mut group =
            |id, time| grouper.place(&fragment(id, true, time, 1)).unwrap().group - FIRST;
        assert_eq!((group(1, 0), group(2, 0)), (0, 0));
        assert_eq!((group(2, 60), group(1, 30)), (1, 1));
        assert_eq!((group(1, 60), group(1, 90)), (2, 3));
        // A rendition with a key frame fewer jumps, and says so.
        let late = grouper.place(&fragment(2, true, 180, 1)).unwrap();
        assert_eq!((late.group - FIRST, late.prior_group_gap), (3, 1));
    }

    #[test]
    fn a_video_that_stops_does_not_keep_one_audio_group_open() {
        let tracks = [
            track(1, TrackKind::Video, 30),
            track(2, TrackKind::Audio, 50),
        ];
        let mut grouper = Grouper::new(&tracks, FIRST);
        grouper.place(&fragment(1, true, 0, 1)).unwrap();
        let groups = (0..50 * 65).map(|n| grouper.place(&fragment(2, true, n, 1)).unwrap().group);
        assert_eq!(groups.max(), Some(FIRST + 2));
        // The numbers meet again once the video goes on.
        for n in 1..=3 {
            grouper.place(&fragment(1, true, 30 * (65 + n), 1)).unwrap();
        }
        let placement = grouper.place(&fragment(2, true, 50 * 70, 1)).unwrap();
        assert_eq!(placement.group, FIRST + 3);
    }

    #[test]
    fn a_source_that_starts_over_goes_on_with_new_groups() {
        let tracks = [
            track(1, TrackKind::Video, 30),
            track(2, TrackKind::Audio, 50),
        ];
        let mut grouper = Grouper::new(&tracks, FIRST);
        for n in 0..3 {
            grouper.place(&fragment(1, true, 30 * n, 1)).unwrap();
            grouper.place(&fragment(2, true, 50 * n, 1)).unwrap();
        }
        let video = grouper.place(&fragment(1, true, 0, 1)).unwrap();
        let audio = grouper.place(&fragment(2, true, 0, 1)).unwrap();
        assert_eq!((video.group, audio.group), (FIRST + 3, FIRST + 3));
    }
}
