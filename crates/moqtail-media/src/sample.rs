//! A small broadcast to try things with.

static SAMPLE: &[u8] = include_bytes!("../assets/sample.mp4");

/// An ordinary MP4 of 8 s that loops without a seam: H.264 baseline, 640x360 at 30 frames per
/// second with a key frame each second and a running clock, and mono AAC at 48 kHz with a beep
/// each second. Play it with [`Mp4File`](crate::Mp4File). `assets/make-sample.sh` made it.
pub fn sample() -> &'static [u8] {
    SAMPLE
}
