//! Ordinary MP4 files as live fragments, with the sample broadcast.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Cursor;
use std::time::Duration;

use moqtail_media::{Error, Limits, Mp4File, TimedFragment, TrackKind, Unsuitable, sample};

fn all(file: &mut Mp4File<Cursor<&[u8]>>) -> Vec<TimedFragment> {
    std::iter::from_fn(|| file.next_fragment().unwrap()).collect()
}

fn open() -> Mp4File<Cursor<&'static [u8]>> {
    Mp4File::open(Cursor::new(sample())).unwrap()
}

#[test]
fn the_sample_describes_itself() {
    let file = open();
    let [video, audio] = file.init().tracks.as_slice() else {
        panic!("two tracks")
    };
    assert_eq!(video.kind, TrackKind::Video);
    assert_eq!(video.codec, "avc1.42c01e");
    assert_eq!(
        (video.width, video.height, video.framerate),
        (Some(640), Some(360), Some(30.0))
    );
    assert_eq!(audio.kind, TrackKind::Audio);
    assert_eq!(audio.codec, "mp4a.40.2");
    assert_eq!((audio.samplerate, audio.channels), (Some(48_000), Some(1)));
    for track in &file.init().tracks {
        let bitrate = track.bitrate.unwrap();
        assert!((40_000..400_000).contains(&bitrate), "{bitrate}");
    }
}

#[test]
fn every_sample_is_a_fragment_in_decode_order() {
    let mut file = open();
    let tracks = file.init().tracks.clone();
    let fragments = all(&mut file);
    assert!(
        fragments
            .windows(2)
            .all(|pair| pair[0].time <= pair[1].time)
    );
    for (track, count) in tracks.iter().zip([240, 375]) {
        let mine: Vec<_> = fragments
            .iter()
            .map(|timed| &timed.fragment)
            .filter(|fragment| fragment.track_id == track.id)
            .collect();
        assert_eq!(mine.len(), count);
        for pair in mine.windows(2) {
            assert_eq!(pair[0].end_time(), pair[1].decode_time);
        }
        let keys = mine.iter().filter(|fragment| fragment.keyframe).count();
        assert_eq!(
            keys,
            if track.kind == TrackKind::Video {
                8
            } else {
                375
            }
        );
    }
    let last = fragments.last().unwrap().time;
    assert!((Duration::from_millis(7_900)..Duration::from_millis(8_050)).contains(&last));
}

#[test]
fn the_edit_list_moves_both_tracks_equally() {
    let fragments = all(&mut open());
    let first = |id| {
        fragments
            .iter()
            .find(|timed| timed.fragment.track_id == id)
            .unwrap()
    };
    // 1024 samples of encoder priming come before the sound that belongs to the first picture.
    assert_eq!(first(2).time, Duration::ZERO);
    let video = first(1).time;
    assert!((Duration::from_micros(21_333)..Duration::from_micros(21_400)).contains(&video));
}

#[test]
fn repeating_keeps_decode_times_rising_on_all_tracks() {
    let mut file = open().repeating(true);
    let once = 240 + 375;
    let mut last = [0u64; 3];
    let mut due = Duration::ZERO;
    for n in 0..once * 3 {
        let timed = file.next_fragment().unwrap().unwrap();
        let fragment = &timed.fragment;
        let end = &mut last[fragment.track_id as usize];
        assert!(fragment.decode_time >= *end, "fragment {n}");
        *end = fragment.end_time();
        assert!(timed.time >= due, "fragment {n}");
        due = timed.time;
    }
    let video = last[1] as f64 / 15_360.0;
    let audio = last[2] as f64 / 48_000.0;
    assert!(
        (video - audio).abs() < 0.05,
        "the tracks drifted apart: {video} {audio}"
    );
    assert!(due > Duration::from_secs(23));
}

#[test]
fn without_repeating_it_ends() {
    let mut file = open();
    assert_eq!(all(&mut file).len(), 240 + 375);
    assert_eq!(file.next_fragment().unwrap(), None);
}

#[test]
fn a_file_that_is_cut_off_fails_where_it_ends() {
    let cut = &sample()[..sample().len() - 1000];
    let mut file = Mp4File::open(Cursor::new(cut)).unwrap();
    let mut delivered = 0;
    let error = loop {
        match file.next_fragment() {
            Ok(Some(_)) => delivered += 1,
            Ok(None) => panic!("the end of a cut file went unnoticed"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
    assert!(delivered > 600, "{delivered}");

    let error = Mp4File::open(Cursor::new(&sample()[..2000])).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn a_file_that_is_cut_off_before_its_header_is_told_so() {
    // As cameras write it: media first, and the header when the recording ends.
    let mut file = b"\0\0\0\x10ftypisom\0\0\0\0\0\0\x10\0mdat".to_vec();
    file.resize(16 + 1000, 0);
    let error = Mp4File::open(Cursor::new(&file[..])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the input ended inside a `mdat` box, 3096 bytes short; the source was cut off"
    );
}

#[test]
fn other_files_are_refused() {
    let error = Mp4File::open(Cursor::new(&b"\x1a\x45\xdf\xa3 matroska header"[..])).unwrap_err();
    assert!(
        matches!(error, Error::Unsuitable(Unsuitable::NotMp4(_))),
        "{error}"
    );
    let error = Mp4File::open(Cursor::new(&sample()[..32])).unwrap_err();
    assert!(
        matches!(error, Error::Unsuitable(Unsuitable::NoHeader)),
        "{error}"
    );
}

#[test]
fn limits_hold() {
    let open = |limits| Mp4File::open_with_limits(Cursor::new(sample()), limits);
    let mut limits = Limits::default();
    limits.max_index = 1000;
    assert!(open(limits).unwrap_err().to_string().contains("max_index"));
    let mut limits = Limits::default();
    limits.max_file_samples = 300;
    assert!(
        open(limits)
            .unwrap_err()
            .to_string()
            .contains("max_file_samples")
    );
    let mut limits = Limits::default();
    limits.max_tracks = 1;
    assert!(open(limits).unwrap_err().to_string().contains("max_tracks"));
    let mut limits = Limits::default();
    limits.max_mdat = 100;
    let mut file = open(limits).unwrap();
    let error = loop {
        match file.next_fragment() {
            Ok(timed) => assert!(timed.is_some(), "a large sample went unnoticed"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("max_mdat"), "{error}");
}

#[test]
fn samples_of_another_sample_entry_name_it() {
    let mut file = sample().to_vec();
    let at = file.windows(4).position(|kind| kind == b"stsc").unwrap();
    // Version and flags, the number of runs, and two fields of the first one come before.
    file[at + 20..at + 24].copy_from_slice(&2u32.to_be_bytes());
    let mut file = Mp4File::open(Cursor::new(&file[..])).unwrap();
    let fragments = all(&mut file);
    let named = fragments.iter().filter(|timed| {
        let data = &timed.fragment.data;
        let at = data.windows(4).position(|kind| kind == b"tfhd").unwrap() + 4;
        // `sample-description-index-present`, and behind the track id the index.
        data[at + 3] & 2 != 0 && data[at + 8..at + 12] == [0, 0, 0, 2]
    });
    let tracks: Vec<_> = named.map(|timed| timed.fragment.track_id).collect();
    assert!(!tracks.is_empty() && tracks.iter().all(|track| *track == 1));
}
