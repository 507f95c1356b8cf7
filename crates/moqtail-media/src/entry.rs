//! Sample entries (`stsd`): a part of fixed length, then boxes. QuickTime's sound descriptions are longer, and keep their
//! boxes elsewhere.

use crate::aac::Esds;
use crate::boxes::{BoxRef, Children, copy_box, write_box};
use crate::error::{Error, FourCc};

/// Bytes of a `VisualSampleEntry` before its boxes.
const VISUAL_HEAD: usize = 78;
/// Bytes of an `AudioSampleEntry` before its boxes.
const AUDIO_HEAD: usize = 28;
/// Bytes that versions 1 and 2 of QuickTime's sound description add.
const SOUND_1: usize = 16;
const SOUND_2: usize = 36;

/// A sample entry of a track.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleEntry<'a> {
    whole: BoxRef<'a>,
    /// Bytes before the boxes.
    head: usize,
    /// The version of a QuickTime sound description; 0 for all else.
    sound: u16,
}

impl<'a> SampleEntry<'a> {
    /// An entry of a `stsd` of this version, of a track with this handler.
    pub(crate) fn new(whole: BoxRef<'a>, handler: &[u8], stsd_version: u8) -> Self {
        let version = match (handler, stsd_version) {
            // In a `stsd` of version 1, the entry is as ISO has it whatever its version.
            (b"soun", 0) => field(&whole, 8).map_or(0, u16::from_be_bytes),
            _ => 0,
        };
        let (head, sound) = match (handler, version) {
            (b"vide", _) => (VISUAL_HEAD, 0),
            (b"soun", 1) => (AUDIO_HEAD + SOUND_1, 1),
            (b"soun", 2) => (AUDIO_HEAD + SOUND_2, 2),
            (b"soun", _) => (AUDIO_HEAD, 0),
            _ => (whole.body.len(), 0),
        };
        Self { whole, head, sound }
    }

    /// The entries of a `stsd`.
    pub(crate) fn all(
        stsd: &BoxRef<'a>,
        handler: &[u8],
    ) -> impl Iterator<Item = Result<Self, Error>> {
        // Version, flags and the number of entries come first.
        let version = stsd.body.first().copied().unwrap_or(0);
        let entries = stsd.children_from(8);
        entries.map(move |entry| Ok(Self::new(entry?, handler, version)))
    }

    pub(crate) fn kind(&self) -> [u8; 4] {
        self.whole.kind
    }

    fn children(&self) -> Children<'a> {
        self.whole.children_from(self.head)
    }

    /// The box of this type, also where QuickTime puts it.
    pub(crate) fn find(&self, kind: &[u8; 4]) -> Result<Option<BoxRef<'a>>, Error> {
        let mut wave = None;
        for child in self.children() {
            let child = child?;
            if child.kind == *kind {
                return Ok(Some(child));
            }
            if child.kind == *b"wave" {
                wave = Some(child);
            }
        }
        wave.map_or(Ok(None), |wave| wave.find(kind))
    }

    /// The box of this type, which must be there.
    pub(crate) fn need(&self, kind: &[u8; 4]) -> Result<BoxRef<'a>, Error> {
        self.find(kind)?.ok_or_else(|| {
            let (kind, entry) = (FourCc(*kind), FourCc(self.kind()));
            Error::malformed(format!("`{entry}` sample entry has no `{kind}` box"))
        })
    }

    fn fixed<const N: usize>(&self, at: usize) -> Result<[u8; N], Error> {
        field(&self.whole, at).ok_or_else(|| {
            let entry = FourCc(self.kind());
            Error::malformed(format!("`{entry}` sample entry is cut off"))
        })
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> Result<(u16, u16), Error> {
        let at = |at| self.fixed(at).map(u16::from_be_bytes);
        Ok((at(24)?, at(26)?))
    }

    /// Number of channels, and sample rate in Hz (0 when it does not fit the 16 bits).
    pub(crate) fn sound(&self) -> Result<(u32, u32), Error> {
        if self.sound == 2 {
            let rate = f64::from_be_bytes(self.fixed(32)?);
            return Ok((u32::from_be_bytes(self.fixed(40)?), rate as u32));
        }
        let at = |at| self.fixed(at).map(u16::from_be_bytes);
        Ok((at(16)?.into(), at(24)?.into()))
    }

    /// Writes the entry as ISO has it, which players expect of a fragmented stream.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.sound == 0 {
            return copy_box(out, &self.whole);
        }
        let (channels, rate) = self.sound()?;
        let reserved_and_reference: [u8; 8] = self.fixed(0)?;
        write_box(out, &self.kind(), |out| {
            out.extend_from_slice(&reserved_and_reference);
            out.extend_from_slice(&[0; 8]);
            let channels = u16::try_from(channels).unwrap_or(u16::MAX);
            let rate = u16::try_from(rate).unwrap_or(0);
            // A sample of 16 bits, as always, and a rate with 16 bits behind the point.
            for field in [channels, 16, 0, 0, rate, 0] {
                out.extend_from_slice(&field.to_be_bytes());
            }
            if let Some(esds) = self.find(b"esds")? {
                copy_box(out, &esds)?;
            }
            for child in self.children() {
                let child = child?;
                if !matches!(&child.kind, b"esds" | b"wave" | b"chan" | &[0, 0, 0, 0]) {
                    copy_box(out, &child)?;
                }
            }
            Ok(())
        })
    }

    /// What samples depend on: all but bit rates and buffer sizes, which an encoder that is started again may tell otherwise.
    fn form(&self) -> Result<Vec<u8>, Error> {
        let mut out = self
            .whole
            .body
            .get(..self.head)
            .unwrap_or_default()
            .to_vec();
        write_form(&mut out, self.children())?;
        Ok(out)
    }
}

fn write_form(out: &mut Vec<u8>, children: Children<'_>) -> Result<(), Error> {
    for child in children {
        let child = child?;
        if child.kind == *b"wave" {
            // One level and no more: how deep boxes nest is up to the input.
            let mut inside = child.children();
            let write = |out: &mut _| inside.try_for_each(|inner| write_box_form(out, &inner?));
            write_box(out, b"wave", write)?;
        } else {
            write_box_form(out, &child)?;
        }
    }
    Ok(())
}

fn write_box_form(out: &mut Vec<u8>, child: &BoxRef<'_>) -> Result<(), Error> {
    match &child.kind {
        b"btrt" => Ok(()),
        b"esds" => {
            let esds = Esds::parse(child.body)?;
            write_box(out, b"esds", |out| {
                out.push(esds.object_type);
                out.extend_from_slice(esds.specific);
                Ok(())
            })
        }
        _ => copy_box(out, child),
    }
}

fn field<const N: usize>(entry: &BoxRef<'_>, at: usize) -> Option<[u8; N]> {
    entry.body.get(at..)?.first_chunk().copied()
}

/// Whether an entry is of a form that only QuickTime has.
pub(crate) fn is_quicktime(stsd: &BoxRef<'_>, handler: &[u8]) -> bool {
    SampleEntry::all(stsd, handler).any(|entry| entry.is_ok_and(|entry| entry.sound != 0))
}

/// Writes a `stsd` with its entries as ISO has them.
pub(crate) fn write_stsd(
    out: &mut Vec<u8>,
    stsd: &BoxRef<'_>,
    handler: &[u8],
) -> Result<(), Error> {
    if !is_quicktime(stsd, handler) {
        return copy_box(out, stsd);
    }
    write_box(out, b"stsd", |out| {
        out.extend_from_slice(stsd.body.get(..8).unwrap_or_default());
        SampleEntry::all(stsd, handler).try_for_each(|entry| entry?.write(out))
    })
}

/// What samples depend on in a `stsd`, in bytes that are equal only if it is.
pub(crate) fn form(stsd: &BoxRef<'_>, handler: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in SampleEntry::all(stsd, handler) {
        let written = entry.and_then(|entry| {
            let form = entry.form()?;
            write_box(&mut out, &entry.kind(), |out| {
                out.extend_from_slice(&form);
                Ok(())
            })
        });
        // What is not understood may all matter.
        if written.is_err() {
            return stsd.raw.to_vec();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `stsd` of one `mp4a` with a sound description of QuickTime's version 1, with these boxes.
    fn stsd(boxes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let entry = |out: &mut Vec<u8>| {
            write_box(out, b"mp4a", |out| {
                out.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
                out.resize(out.len() + AUDIO_HEAD + SOUND_1 - 10, 0);
                out.extend(boxes);
                Ok(())
            })
        };
        write_box(&mut out, b"stsd", |out| {
            out.extend([0, 0, 0, 0, 0, 0, 0, 1]);
            entry(out)
        })
        .unwrap();
        out
    }

    #[test]
    fn boxes_within_boxes_are_not_followed() {
        let mut nested = Vec::new();
        // Heads, each claiming to hold all that follow.
        for depth in (0..60_000u32).rev() {
            nested.extend((8 * (depth + 1)).to_be_bytes());
            nested.extend(b"wave");
        }
        let raw = stsd(&nested);
        let stsd = BoxRef::whole(&raw).unwrap();
        assert!(!form(&stsd, b"soun").is_empty());
        write_stsd(&mut Vec::new(), &stsd, b"soun").unwrap();
    }

    #[test]
    fn a_sound_description_of_quicktime_becomes_one_of_iso() {
        let (mut esds, mut wave) = (Vec::new(), Vec::new());
        write_box(&mut esds, b"esds", |out| {
            out.extend([1, 2, 3]);
            Ok(())
        })
        .unwrap();
        write_box(&mut wave, b"wave", |out| {
            out.extend(&esds);
            out.extend([0, 0, 0, 8, 0, 0, 0, 0]);
            Ok(())
        })
        .unwrap();
        let raw = stsd(&wave);
        let mut written = Vec::new();
        write_stsd(&mut written, &BoxRef::whole(&raw).unwrap(), b"soun").unwrap();
        let written = BoxRef::whole(&written).unwrap();
        let entry = SampleEntry::all(&written, b"soun").next().unwrap().unwrap();
        assert_eq!((entry.kind(), entry.sound), (*b"mp4a", 0));
        assert_eq!(entry.need(b"esds").unwrap().raw, esds);
        assert_eq!(entry.children().count(), 1);
    }
}
