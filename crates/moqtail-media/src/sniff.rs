//! Telling MP4 from everything else that gets piped in.

/// The boxes an MP4 or QuickTime stream can start with.
const FIRST_KINDS: [&[u8]; 14] = [
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"pdin",
    b"uuid", b"prft", b"emsg", b"pnot",
];

/// As many bytes as the header of a box has, so that they are there however the input is split.
const LOOK_AT: usize = 8;

/// Names what the input is, for the one error message a newcomer sees most.
pub(crate) fn guess_format(start: &[u8]) -> &'static str {
    match start.get(..LOOK_AT).unwrap_or(start) {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "Matroska or WebM",
        [0x47, ..] => "MPEG-TS",
        [b'F', b'L', b'V', ..] => "FLV",
        [b'O', b'g', b'g', b'S', ..] => "Ogg",
        [b'R', b'I', b'F', b'F', ..] => "RIFF (WAV or AVI)",
        [b'D', b'K', b'I', b'F', ..] => "IVF",
        [0, 0, 0, 1, ..] | [0, 0, 1, ..] => "a raw H.264 or H.265 stream",
        [b'I', b'D', b'3', ..] => "MP3",
        [0xff, second, ..] if second & 0xf0 == 0xf0 => "raw AAC or MP3",
        text if text
            .iter()
            .all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) =>
        {
            "text"
        }
        _ => "something unknown",
    }
}

/// Whether a stream of MP4 or QuickTime boxes can start with a box of this type.
pub(crate) fn starts_mp4(kind: &[u8]) -> bool {
    FIRST_KINDS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_does_not_change_the_guess() {
        for (start, format) in [
            (&b"WEBVTT\n\n"[..], "text"),
            (b"\x00\x01\x02\x03\x04\x05\x06\x07", "something unknown"),
            (b"OggS\x00\x02\x00\x00", "Ogg"),
        ] {
            let more = [start, b"\xfftext"].concat();
            assert_eq!((guess_format(start), guess_format(&more)), (format, format));
        }
    }
}
