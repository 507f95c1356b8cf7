//! The `esds` box: descriptors inside descriptors (ISO/IEC 14496-1 §7.2.6).
//!
//! Read here and not by `mp4_atom`, whose reader follows descriptors as deep as they claim to go.

use crate::error::Error;

/// Tags of the three descriptors that matter, each inside the one before.
const ES_DESCRIPTOR: u8 = 3;
const DECODER_CONFIG: u8 = 4;
const DECODER_SPECIFIC: u8 = 5;

/// What an `esds` says about its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Esds<'a> {
    /// MPEG-4 object type; 0x40 is AAC as MPEG-4 has it.
    pub(crate) object_type: u8,
    /// Bit/s; 0 when unknown.
    pub(crate) average_bitrate: u32,
    /// The decoder's own configuration; empty when there is none.
    pub(crate) specific: &'a [u8],
    pub(crate) audio: Option<AudioConfig>,
}

/// The start of an AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AudioConfig {
    /// Audio object type; 2 is AAC-LC.
    pub(crate) object_type: u32,
    /// Hz, of what comes out of the decoder; `None` for a reserved frequency index.
    pub(crate) samplerate: Option<u32>,
    /// `None` when the channels are described elsewhere in the stream.
    pub(crate) channels: Option<u32>,
}

impl<'a> Esds<'a> {
    /// Reads the body of an `esds` box.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let read = || {
            // Version and flags come first.
            let es = descriptor(body.get(4..)?, ES_DESCRIPTOR)?;
            let config = descriptor(after_es_head(es)?, DECODER_CONFIG)?;
            let (object_type, rest) = config.split_first()?;
            // Stream type, buffer size and maximum bit rate.
            let average = rest.get(8..)?.first_chunk::<4>()?;
            let specific = descriptor(rest.get(12..)?, DECODER_SPECIFIC);
            Some(Self {
                object_type: *object_type,
                average_bitrate: u32::from_be_bytes(*average),
                specific: specific.unwrap_or_default(),
                audio: specific.and_then(AudioConfig::parse),
            })
        };
        read().ok_or_else(|| Error::malformed("`esds` box does not hold a decoder configuration"))
    }
}

/// The body of the first descriptor with this tag among siblings.
fn descriptor(mut siblings: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (tag, rest) = siblings.split_first()?;
        let (size, rest) = size(rest)?;
        let (body, rest) = rest.split_at_checked(size)?;
        if *tag == wanted {
            return Some(body);
        }
        siblings = rest;
    }
}

/// A descriptor's size: up to four bytes of seven bits, the highest bit saying that more follow.
fn size(mut rest: &[u8]) -> Option<(usize, &[u8])> {
    let mut size = 0;
    for _ in 0..4 {
        let (byte, after) = rest.split_first()?;
        size = size << 7 | usize::from(byte & 0x7f);
        rest = after;
        if byte & 0x80 == 0 {
            return Some((size, rest));
        }
    }
    None
}

/// What follows the fixed and the optional fields of an ES descriptor.
fn after_es_head(es: &[u8]) -> Option<&[u8]> {
    let flags = es.get(2)?;
    let mut rest = es.get(3..)?;
    if flags & 0x80 != 0 {
        rest = rest.get(2..)?;
    }
    if flags & 0x40 != 0 {
        let (len, url) = rest.split_first()?;
        rest = url.get(usize::from(*len)..)?;
    }
    if flags & 0x20 != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

impl AudioConfig {
    fn parse(data: &[u8]) -> Option<Self> {
        let mut bits = Bits { data, at: 0 };
        let mut object_type = bits.take(5)?;
        if object_type == 31 {
            object_type = 32 + bits.take(6)?;
        }
        let mut samplerate = bits.samplerate()?;
        let mut channels = match bits.take(4)? {
            0 => None,
            7 => Some(8),
            n => Some(n),
        };
        if matches!(object_type, SBR | PS) {
            samplerate = bits.samplerate()?;
        }
        if object_type == PS && channels == Some(1) {
            channels = Some(2);
        }
        (object_type > 0).then_some(Self {
            object_type,
            samplerate,
            channels,
        })
    }
}

/// Object types of HE-AAC: the rate of the core comes first, then that of the output. With parametric stereo, one
/// channel becomes two.
const SBR: u32 = 5;
const PS: u32 = 29;

/// Sample rates by sampling frequency index, in Hz.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Bits from the highest down.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn samplerate(&mut self) -> Option<Option<u32>> {
        Some(match self.take(4)? {
            15 => Some(self.take(24)?),
            index => RATES.get(index as usize).copied(),
        })
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.data.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(tag: u8, body: &[u8]) -> Vec<u8> {
        let size = body.len();
        let mut out = vec![
            tag,
            0x80 | (size >> 14) as u8,
            0x80 | (size >> 7) as u8,
            size as u8 & 0x7f,
        ];
        out.extend_from_slice(body);
        out
    }

    fn esds(es_head: &[u8], specific: &[u8]) -> Vec<u8> {
        let mut config = vec![0x40, 0x15, 0, 0, 0, 0, 1, 0xf4, 0, 0, 1, 0x77, 0];
        config.extend(wrap(DECODER_SPECIFIC, specific));
        let mut es = es_head.to_vec();
        es.extend(wrap(6, b"other"));
        es.extend(wrap(DECODER_CONFIG, &config));
        let mut body = vec![0; 4];
        body.extend(wrap(ES_DESCRIPTOR, &es));
        body
    }

    #[test]
    fn aac_lc_stereo() {
        let expected = AudioConfig {
            object_type: 2,
            samplerate: Some(44_100),
            channels: Some(2),
        };
        for head in [
            &[0, 1, 0][..],
            &[0, 1, 0x80, 0, 2],
            &[0, 1, 0x40, 3, b'u', b'r', b'l'],
            &[0, 1, 0x20, 0, 3],
        ] {
            let body = esds(head, &[0x12, 0x10]);
            let esds = Esds::parse(&body).unwrap();
            assert_eq!(esds.specific, [0x12, 0x10]);
            assert_eq!((esds.object_type, esds.average_bitrate), (0x40, 96_000));
            assert_eq!(esds.audio, Some(expected));
        }
    }

    #[test]
    fn he_aac_is_what_comes_out_of_the_decoder() {
        // 24 kHz in one channel, then 48 kHz, over a core of type 2.
        for (object_type, channels) in [(5u32, 1), (29, 2)] {
            let bits = object_type << 27 | 6 << 23 | 1 << 19 | 3 << 15 | 2 << 10;
            let audio = AudioConfig::parse(&bits.to_be_bytes()).unwrap();
            assert_eq!(audio.object_type, object_type);
            assert_eq!(audio.samplerate, Some(48_000));
            assert_eq!(audio.channels, Some(channels));
        }
    }

    #[test]
    fn escapes_of_the_audio_configuration() {
        // Object type 31 escapes to 6 bits, frequency index 15 to 24 bits: type 42, 48 kHz, 6.
        let bits = "11111 001010 1111 000000001011101110000000 0110".replace(' ', "");
        let bytes: Vec<u8> = bits
            .as_bytes()
            .chunks(8)
            .map(|byte| (0..8).fold(0, |sum, n| sum << 1 | u8::from(byte.get(n) == Some(&b'1'))))
            .collect();
        let audio = AudioConfig::parse(&bytes).unwrap();
        assert_eq!((audio.object_type, audio.samplerate), (42, Some(48_000)));
        assert_eq!(audio.channels, Some(6));
        // 7 stands for eight channels, 0 for a description elsewhere.
        assert_eq!(AudioConfig::parse(&[0x11, 0xb8]).unwrap().channels, Some(8));
        assert_eq!(AudioConfig::parse(&[0x11, 0x80]).unwrap().channels, None);
    }

    #[test]
    fn every_cut_is_an_error_or_lacks_the_audio_configuration() {
        let whole = esds(&[0, 1, 0], &[0x12, 0x10]);
        for cut in 0..whole.len() {
            assert!(Esds::parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(Esds::parse(&esds(&[0, 1, 0], &[0x12])).unwrap().audio, None);
    }

    #[test]
    fn descriptors_within_descriptors_are_not_followed() {
        let mut nested = Vec::new();
        for _ in 0..5000 {
            let mut body = vec![0, 0, 0];
            body.extend_from_slice(&nested);
            nested = wrap(ES_DESCRIPTOR, &body);
        }
        let mut body = vec![0; 4];
        body.extend_from_slice(&nested);
        assert!(Esds::parse(&body).is_err());
    }
}
