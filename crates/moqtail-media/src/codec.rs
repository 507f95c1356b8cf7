//! Codec strings and parameters, read from a sample entry (RFC 6381 and the codecs' own rules).

use mp4_atom::{Av1c, Avcc, Btrt, Dops, Hvcc, VpcC};

use crate::aac::Esds;
use crate::boxes::BoxRef;
use crate::error::{Error, FourCc};

/// Bytes of a `VisualSampleEntry` before its boxes.
const VISUAL_HEAD: usize = 78;
/// Bytes of an `AudioSampleEntry` before its boxes.
const AUDIO_HEAD: usize = 28;

/// What a sample entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodecInfo {
    /// The codec string for catalogs and players.
    pub(crate) codec: String,
    pub(crate) media: Media,
    /// Average bit rate in bit/s, when the entry declares one.
    pub(crate) bitrate: Option<u64>,
}

/// The half of a sample entry that differs by kind of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Video { width: u16, height: u16 },
    Audio { samplerate: u32, channels: u32 },
}

/// Reads a sample entry; `Ok(None)` when its codec is not one of ours.
pub(crate) fn describe(entry: &BoxRef<'_>) -> Result<Option<CodecInfo>, Error> {
    let described = match &entry.kind {
        b"avc1" | b"avc3" => video(entry, b"avcC", avc)?,
        b"hvc1" | b"hev1" => video(entry, b"hvcC", hevc)?,
        b"vp09" => video(entry, b"vpcC", vp9)?,
        b"av01" => video(entry, b"av1C", av1)?,
        b"mp4a" => aac(entry)?,
        b"Opus" => opus(entry)?,
        _ => return Ok(None),
    };
    Ok(Some(described))
}

/// The child of this type among the boxes after a sample entry's fixed part.
fn config<'a>(entry: &BoxRef<'a>, head: usize, kind: &[u8; 4]) -> Result<BoxRef<'a>, Error> {
    optional(entry, head, kind)?.ok_or_else(|| {
        let (kind, entry) = (FourCc(*kind), FourCc(entry.kind));
        Error::malformed(format!("`{entry}` sample entry has no `{kind}` box"))
    })
}

fn optional<'a>(
    entry: &BoxRef<'a>,
    head: usize,
    kind: &[u8; 4],
) -> Result<Option<BoxRef<'a>>, Error> {
    for child in entry.children_from(head) {
        let child = child?;
        if child.kind == *kind {
            return Ok(Some(child));
        }
    }
    Ok(None)
}

fn declared_bitrate(entry: &BoxRef<'_>, head: usize) -> Result<Option<u64>, Error> {
    let Some(btrt) = optional(entry, head, b"btrt")? else {
        return Ok(None);
    };
    let btrt: Btrt = btrt.decode()?;
    let rate = if btrt.avg_bitrate > 0 {
        btrt.avg_bitrate
    } else {
        btrt.max_bitrate
    };
    Ok((rate > 0).then_some(u64::from(rate)))
}

fn be16(entry: &BoxRef<'_>, at: usize) -> Result<u16, Error> {
    let bytes = entry
        .body
        .get(at..)
        .and_then(|rest| rest.first_chunk::<2>());
    let bytes = bytes.ok_or_else(|| {
        Error::malformed(format!("`{}` sample entry is cut off", FourCc(entry.kind)))
    })?;
    Ok(u16::from_be_bytes(*bytes))
}

fn video(
    entry: &BoxRef<'_>,
    kind: &[u8; 4],
    name: fn(&str, &BoxRef<'_>) -> Result<String, Error>,
) -> Result<CodecInfo, Error> {
    let media = Media::Video {
        width: be16(entry, 24)?,
        height: be16(entry, 26)?,
    };
    let config = config(entry, VISUAL_HEAD, kind)?;
    let prefix = FourCc(entry.kind).to_string();
    Ok(CodecInfo {
        codec: name(&prefix, &config)?,
        media,
        bitrate: declared_bitrate(entry, VISUAL_HEAD)?,
    })
}

/// `avc1.PPCCLL`: profile, constraint flags and level in hexadecimal.
fn avc(prefix: &str, config: &BoxRef<'_>) -> Result<String, Error> {
    let avcc: Avcc = config.decode()?;
    Ok(format!(
        "{prefix}.{:02x}{:02x}{:02x}",
        avcc.avc_profile_indication, avcc.profile_compatibility, avcc.avc_level_indication
    ))
}

/// `hvc1.P.C.TL.F…`: profile space and profile, compatibility flags from the lowest bit up, tier
/// and level, then the constraint bytes without trailing zeros (ISO/IEC 14496-15 annex E).
fn hevc(prefix: &str, config: &BoxRef<'_>) -> Result<String, Error> {
    let hvcc: Hvcc = config.decode()?;
    let space = match hvcc.general_profile_space {
        1 => "A",
        2 => "B",
        3 => "C",
        _ => "",
    };
    let compatibility = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let mut codec = format!(
        "{prefix}.{space}{}.{compatibility:x}.{tier}{}",
        hvcc.general_profile_idc, hvcc.general_level_idc
    );
    let flags = &hvcc.general_constraint_indicator_flags;
    let used = flags
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    for byte in flags.iter().take(used) {
        codec.push_str(&format!(".{byte:x}"));
    }
    Ok(codec)
}

/// `vp09.PP.LL.DD.CC.cp.tc.mc.FF`, all two decimal digits.
fn vp9(prefix: &str, config: &BoxRef<'_>) -> Result<String, Error> {
    let vpcc: VpcC = config.decode()?;
    Ok(format!(
        "{prefix}.{:02}.{:02}.{:02}.{:02}.{:02}.{:02}.{:02}.{:02}",
        vpcc.profile,
        vpcc.level,
        vpcc.bit_depth,
        vpcc.chroma_subsampling,
        vpcc.color_primaries,
        vpcc.transfer_characteristics,
        vpcc.matrix_coefficients,
        u8::from(vpcc.video_full_range_flag)
    ))
}

/// `av01.P.LLT.DD`: profile, level and tier, bit depth.
fn av1(prefix: &str, config: &BoxRef<'_>) -> Result<String, Error> {
    let av1c: Av1c = config.decode()?;
    let tier = if av1c.seq_tier_0 { 'H' } else { 'M' };
    let depth = match (av1c.high_bitdepth, av1c.twelve_bit) {
        (true, true) => 12,
        (true, false) => 10,
        (false, _) => 8,
    };
    Ok(format!(
        "{prefix}.{}.{:02}{tier}.{depth:02}",
        av1c.seq_profile, av1c.seq_level_idx_0
    ))
}

/// The fixed part of an audio sample entry: channels and sample rate in Hz (0 when it does not
/// fit the 16 bits).
fn audio_head(entry: &BoxRef<'_>) -> Result<(u32, u32), Error> {
    Ok((u32::from(be16(entry, 16)?), u32::from(be16(entry, 24)?)))
}

/// `mp4a.40.N` with N the audio object type; other MPEG-4 object types are named by their code.
fn aac(entry: &BoxRef<'_>) -> Result<CodecInfo, Error> {
    let (mut channels, mut samplerate) = audio_head(entry)?;
    let esds = Esds::parse(config(entry, AUDIO_HEAD, b"esds")?.body)?;
    let mut codec = format!("mp4a.{:x}", esds.object_type);
    if let Some(audio) = esds.audio {
        codec.push_str(&format!(".{}", audio.object_type));
        // Writers commonly leave 2 in the sample entry, so the decoder's own configuration wins.
        channels = audio.channels.unwrap_or(channels);
        samplerate = audio.samplerate.unwrap_or(samplerate);
    }
    let declared = declared_bitrate(entry, AUDIO_HEAD)?;
    let average = (esds.average_bitrate > 0).then_some(u64::from(esds.average_bitrate));
    Ok(CodecInfo {
        codec,
        media: Media::Audio {
            samplerate,
            channels,
        },
        bitrate: declared.or(average),
    })
}

fn opus(entry: &BoxRef<'_>) -> Result<CodecInfo, Error> {
    let dops: Dops = config(entry, AUDIO_HEAD, b"dOps")?.decode()?;
    Ok(CodecInfo {
        codec: "opus".to_owned(),
        // Opus always decodes at 48 kHz, whatever the encoder was fed.
        media: Media::Audio {
            samplerate: 48_000,
            channels: dops.output_channel_count.into(),
        },
        bitrate: declared_bitrate(entry, AUDIO_HEAD)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::{write_atom, write_box};

    fn entry(kind: &[u8; 4], head: usize, atom: &impl mp4_atom::Atom) -> Vec<u8> {
        let mut out = Vec::new();
        write_box(&mut out, kind, |out| {
            out.resize(out.len() + head, 0);
            write_atom(out, atom)
        })
        .unwrap();
        out
    }

    fn codec(kind: &[u8; 4], head: usize, atom: &impl mp4_atom::Atom) -> CodecInfo {
        let raw = entry(kind, head, atom);
        describe(&BoxRef::whole(&raw).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn avc_codec_string() {
        let avcc = Avcc {
            configuration_version: 1,
            avc_profile_indication: 0x64,
            profile_compatibility: 0,
            avc_level_indication: 0x28,
            length_size: 4,
            ..Default::default()
        };
        assert_eq!(codec(b"avc1", VISUAL_HEAD, &avcc).codec, "avc1.640028");
        assert_eq!(codec(b"avc3", VISUAL_HEAD, &avcc).codec, "avc3.640028");
    }

    #[test]
    fn hevc_codec_string() {
        let hvcc = Hvcc {
            configuration_version: 1,
            general_profile_idc: 1,
            general_profile_compatibility_flags: [0x60, 0, 0, 0],
            general_constraint_indicator_flags: [0x90, 0, 0, 0, 0, 0],
            general_level_idc: 93,
            ..Default::default()
        };
        assert_eq!(codec(b"hvc1", VISUAL_HEAD, &hvcc).codec, "hvc1.1.6.L93.90");
    }

    #[test]
    fn vp9_and_av1_codec_strings() {
        let vpcc = VpcC {
            level: 21,
            chroma_subsampling: 1,
            ..Default::default()
        };
        assert_eq!(
            codec(b"vp09", VISUAL_HEAD, &vpcc).codec,
            "vp09.00.21.08.01.01.01.01.00"
        );
        let av1c = Av1c {
            seq_level_idx_0: 4,
            high_bitdepth: true,
            ..Default::default()
        };
        assert_eq!(codec(b"av01", VISUAL_HEAD, &av1c).codec, "av01.0.04M.10");
    }

    #[test]
    fn opus_is_48_khz() {
        let dops = Dops {
            output_channel_count: 2,
            pre_skip: 312,
            input_sample_rate: 44_100,
            output_gain: 0,
            channel_mapping: None,
        };
        let info = codec(b"Opus", AUDIO_HEAD, &dops);
        assert_eq!(info.codec, "opus");
        assert_eq!(
            info.media,
            Media::Audio {
                samplerate: 48_000,
                channels: 2
            }
        );
    }

    #[test]
    fn unknown_and_unconfigured_entries() {
        let raw = entry(b"tmcd", 8, &Btrt::default());
        assert_eq!(describe(&BoxRef::whole(&raw).unwrap()).unwrap(), None);
        let raw = entry(b"avc1", VISUAL_HEAD, &Btrt::default());
        assert!(describe(&BoxRef::whole(&raw).unwrap()).is_err());
        let raw = entry(b"avc1", 10, &Btrt::default());
        assert!(describe(&BoxRef::whole(&raw).unwrap()).is_err());
    }
}
