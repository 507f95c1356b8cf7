//! Media that is made for tests, and what has to hold for media that arrived.

use std::{
    io::Read,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{ffmpeg, ffprobe};

/// Frames per second of every test picture.
pub const FRAME_RATE: usize = 30;

/// Codecs of a test stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codecs {
    /// H.264 and AAC.
    H264Aac,
    /// VP9 and Opus.
    Vp9Opus,
}

impl Codecs {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::H264Aac => &[
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
                "-pix_fmt",
                "yuv420p",
                "-c:a",
                "aac",
            ],
            Self::Vp9Opus => &[
                "-c:v",
                "libvpx-vp9",
                "-deadline",
                "realtime",
                "-cpu-used",
                "8",
                "-c:a",
                "libopus",
            ],
        }
    }
}

/// An ffmpeg command that makes a test picture and a tone of this length with a key frame each second. What follows
/// are options and the output.
pub fn test_media(seconds: u32, codecs: Codecs, realtime: bool) -> Command {
    let picture = format!("testsrc2=size=320x180:rate={FRAME_RATE}:duration={seconds}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let mut command = ffmpeg([]);
    for source in [&picture, &tone] {
        if realtime {
            command.arg("-re");
        }
        command.args(["-f", "lavfi", "-i", source]);
    }
    command
        .args(["-g", &FRAME_RATE.to_string()])
        .args(codecs.arguments());
    command
}

/// A live stream out of ffmpeg, kept as it passes. Dropping it ends ffmpeg.
#[derive(Debug)]
pub struct Live {
    ffmpeg: Child,
    output: ChildStdout,
    kept: Arc<Mutex<Vec<u8>>>,
}

/// What passed through a [`Live`] stream so far.
#[derive(Clone, Debug)]
pub struct Passed(Arc<Mutex<Vec<u8>>>);

impl Passed {
    /// All bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Live {
    /// Starts ffmpeg in real time, in the form that the README tells people to publish.
    ///
    /// # Panics
    /// If ffmpeg does not start.
    pub fn start(seconds: u32, codecs: Codecs) -> (Self, Passed) {
        let mut command = test_media(seconds, codecs, true);
        command
            .args(moqtail_media::FFMPEG_FLAGS.split_whitespace())
            .arg("-");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut ffmpeg = command.spawn().expect("ffmpeg is installed");
        let output = ffmpeg.stdout.take().expect("stdout is a pipe");
        let kept = Arc::default();
        (
            Self {
                ffmpeg,
                output,
                kept: Arc::clone(&kept),
            },
            Passed(kept),
        )
    }
}

impl Read for Live {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.output.read(buffer)?;
        let passed = buffer.get(..read).unwrap_or_default();
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(passed);
        Ok(read)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.ffmpeg.kill();
        let _ = self.ffmpeg.wait();
    }
}

/// Number of packets of video and audio in a file that plays: both tracks are there, the picture starts with a key frame,
/// and decode times only rise.
///
/// # Panics
/// If that does not hold.
pub fn playable(file: &Path) -> (usize, usize) {
    let video = ffprobe(file, "v:0", "dts,flags");
    let audio = ffprobe(file, "a:0", "dts,flags");
    let key = video
        .first()
        .and_then(|packet| packet.get(1))
        .map(String::as_str);
    assert!(
        key.is_some_and(|flags| flags.starts_with('K')),
        "{file:?} starts with {key:?}"
    );
    for packets in [&video, &audio] {
        assert!(!packets.is_empty(), "{file:?} lacks a track");
        let times: Vec<i64> = packets
            .iter()
            .map(|packet| {
                packet
                    .first()
                    .and_then(|dts| dts.parse().ok())
                    .expect("each packet has a time")
            })
            .collect();
        let back = times.windows(2).find(|pair| pair[0] >= pair[1]);
        assert!(back.is_none(), "decode times of {file:?} go back: {back:?}");
    }
    (video.len(), audio.len())
}
