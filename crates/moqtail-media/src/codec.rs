//! Codec strings and parameters, read from a sample entry (RFC 6381 and the codecs' own rules).

use mp4_atom::{Av1c, Avcc, Btrt, Dops, Hvcc, VpcC};

use crate::aac::Esds;
use crate::boxes::BoxRef;
use crate::entry::SampleEntry;
use crate::error::{Error, FourCc};

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
pub(crate) fn describe(entry: &SampleEntry<'_>) -> Result<Option<CodecInfo>, Error> {
    let described = match &entry.kind() {
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

fn declared_bitrate(entry: &SampleEntry<'_>) -> Result<Option<u64>, Error> {
    let Some(btrt) = entry.find(b"btrt")? else {
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

fn video(
    entry: &SampleEntry<'_>,
    kind: &[u8; 4],
    name: fn(&str, &BoxRef<'_>) -> Result<String, Error>,
) -> Result<CodecInfo, Error> {
    let (width, height) = entry.size()?;
    let config = entry.need(kind)?;
    let prefix = FourCc(entry.kind()).to_string();
    Ok(CodecInfo {
        codec: name(&prefix, &config)?,
        media: Media::Video { width, height },
        bitrate: declared_bitrate(entry)?,
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

/// The object type of MPEG-4 audio, the only one that has audio object types.
const MPEG4_AUDIO: u8 = 0x40;

/// `mp4a.40.N` with N the audio object type; other MPEG-4 object types are named by their code.
fn aac(entry: &SampleEntry<'_>) -> Result<CodecInfo, Error> {
    let (mut channels, mut samplerate) = entry.sound()?;
    let esds = Esds::parse(entry.need(b"esds")?.body)?;
    let mut codec = format!("mp4a.{:x}", esds.object_type);
    if let Some(audio) = esds.audio {
        if esds.object_type == MPEG4_AUDIO {
            codec.push_str(&format!(".{}", audio.object_type));
        }
        // Writers commonly leave 2 in the sample entry, so the decoder's own configuration wins.
        channels = audio.channels.unwrap_or(channels);
        samplerate = audio.samplerate.unwrap_or(samplerate);
    }
    let declared = declared_bitrate(entry)?;
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

fn opus(entry: &SampleEntry<'_>) -> Result<CodecInfo, Error> {
    let dops: Dops = entry.need(b"dOps")?.decode()?;
    Ok(CodecInfo {
        codec: "opus".to_owned(),
        // Opus always decodes at 48 kHz, whatever the encoder was fed.
        media: Media::Audio {
            samplerate: 48_000,
            channels: dops.output_channel_count.into(),
        },
        bitrate: declared_bitrate(entry)?,
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

    const VISUAL_HEAD: usize = 78;
    const AUDIO_HEAD: usize = 28;

    fn codec(kind: &[u8; 4], head: usize, atom: &impl mp4_atom::Atom) -> CodecInfo {
        read(&entry(kind, head, atom)).unwrap().unwrap()
    }

    /// Reads an entry of a track of its kind.
    fn read(raw: &[u8]) -> Result<Option<CodecInfo>, Error> {
        let is_video = raw.get(4..8) != Some(b"Opus") && raw.get(4..8) != Some(b"mp4a");
        let handler = if is_video { b"vide" } else { b"soun" };
        describe(&SampleEntry::new(BoxRef::whole(raw)?, handler, 0))
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
        assert_eq!(read(&raw).unwrap(), None);
        let raw = entry(b"avc1", VISUAL_HEAD, &Btrt::default());
        assert!(read(&raw).is_err());
        let raw = entry(b"avc1", 10, &Btrt::default());
        assert!(read(&raw).is_err());
    }

    /// An `esds` of this object type, with a configuration of AAC-LC in stereo at 44.1 kHz.
    fn esds(object_type: u8) -> Vec<u8> {
        let specific = [5, 2, 0x12, 0x10];
        let mut config = vec![4, 17, object_type];
        config.resize(15, 0);
        config.extend(specific);
        let mut body = vec![0, 0, 0, 0, 3, 22, 0, 1, 0];
        body.extend(config);
        let mut out = Vec::new();
        write_box(&mut out, b"esds", |out| {
            out.extend(body);
            Ok(())
        })
        .unwrap();
        out
    }

    fn sound(version: u16, extra: usize, boxes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_box(&mut out, b"mp4a", |out| {
            out.extend([0; 8]);
            out.extend(version.to_be_bytes());
            out.resize(8 + AUDIO_HEAD + extra, 0);
            out.extend(boxes);
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn only_mpeg4_audio_has_audio_object_types() {
        for (object_type, codec) in [(0x40, "mp4a.40.2"), (0x67, "mp4a.67"), (0x6b, "mp4a.6b")] {
            let info = read(&sound(0, 0, &esds(object_type))).unwrap().unwrap();
            assert_eq!(info.codec, codec);
            let (samplerate, channels) = (44_100, 2);
            assert_eq!(
                info.media,
                Media::Audio {
                    samplerate,
                    channels
                }
            );
        }
    }

    #[test]
    fn sound_descriptions_of_quicktime_are_longer() {
        let mut wave = Vec::new();
        write_box(&mut wave, b"wave", |out| {
            out.extend(esds(0x40));
            out.extend([0, 0, 0, 8, 0, 0, 0, 0]);
            Ok(())
        })
        .unwrap();
        for (version, extra) in [(1, 16), (2, 36)] {
            let raw = sound(version, extra, &wave);
            assert_eq!(read(&raw).unwrap().unwrap().codec, "mp4a.40.2");
            // In a `stsd` of version 1 the entry is one of ISO.
            let raw = sound(version, 0, &esds(0x40));
            let entry = SampleEntry::new(BoxRef::whole(&raw).unwrap(), b"soun", 1);
            assert_eq!(describe(&entry).unwrap().unwrap().codec, "mp4a.40.2");
        }
    }
}
