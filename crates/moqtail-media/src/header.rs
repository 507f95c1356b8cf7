//! CMAF headers: one track's own, out of a header of many, and many tracks' out of theirs.

use std::collections::BTreeSet;

use bytes::Bytes;
use mp4_atom::{Mdhd, Mvhd, Tkhd, Trex};

use crate::boxes::{BoxRef, Children, copy_box, write_atom, write_box};
use crate::entry;
use crate::error::Error;
use crate::run::Defaults;
use crate::track::{self, Track};

/// Brands for inputs without an `ftyp` of their own that fits: ISO base media with movie
/// fragments, and CMAF.
fn write_ftyp(out: &mut Vec<u8>) -> Result<(), Error> {
    write_box(out, b"ftyp", |out| {
        out.extend_from_slice(b"iso6\0\0\0\0iso6cmfcmp41");
        Ok(())
    })
}

/// The header of one track of a fragmented stream: `ftyp` as it came, the `trak` byte for byte but for sample entries
/// that only QuickTime has. Such tracks are not encrypted, so it has nothing for decryption.
pub(crate) fn fragmented_header(
    ftyp: Option<&[u8]>,
    moov: &BoxRef<'_>,
    track: &Track<'_>,
) -> Result<Bytes, Error> {
    let mut out = Vec::new();
    match ftyp {
        Some(ftyp) => out.extend_from_slice(ftyp),
        None => write_ftyp(&mut out)?,
    }
    let mvhd = moov.need(b"mvhd")?;
    write_box(&mut out, b"moov", |out| {
        copy_box(out, &mvhd)?;
        copy_with_stsd(out, &track.trak)?;
        write_mvex(out, track.info.id, track.defaults.unwrap_or_default())
    })?;
    Ok(out.into())
}

/// The boxes of a `moov` for decryption modules.
fn pssh<'a>(moov: &BoxRef<'a>) -> impl Iterator<Item = BoxRef<'a>> {
    let children = moov.children().flatten();
    children.filter(|child| child.kind == *b"pssh")
}

/// The type of its handler, which tells the kind of a track.
fn handler<'a>(mdia: &BoxRef<'a>) -> Result<&'a [u8], Error> {
    Ok(mdia.need(b"hdlr")?.body.get(8..12).unwrap_or_default())
}

/// Copies a `trak` with its `stsd` as ISO has it.
fn copy_with_stsd(out: &mut Vec<u8>, trak: &BoxRef<'_>) -> Result<(), Error> {
    let mdia = trak.need(b"mdia")?;
    let handler = handler(&mdia)?;
    let stsd = mdia.need(b"minf")?.need(b"stbl")?.need(b"stsd")?;
    if !entry::is_quicktime(&stsd, handler) {
        return copy_box(out, trak);
    }
    copy_but(out, trak, &[b"mdia", b"minf", b"stbl", b"stsd"], &|out| {
        entry::write_stsd(out, &stsd, handler)
    })
}

/// Copies a box, but writes another one in place of the first that is at the end of this path.
fn copy_but(
    out: &mut Vec<u8>,
    from: &BoxRef<'_>,
    path: &[&[u8; 4]],
    write: &dyn Fn(&mut Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some((next, path)) = path.split_first() else {
        return write(out);
    };
    let mut is_written = false;
    write_box(out, &from.kind, |out| {
        for child in from.children() {
            let child = child?;
            if child.kind == **next && !std::mem::replace(&mut is_written, true) {
                copy_but(out, &child, path, write)?;
            } else {
                copy_box(out, &child)?;
            }
        }
        Ok(())
    })
}

fn write_mvex(out: &mut Vec<u8>, track_id: u32, defaults: Defaults) -> Result<(), Error> {
    write_box(out, b"mvex", |out| write_trex(out, track_id, defaults))
}

fn write_trex(out: &mut Vec<u8>, track_id: u32, defaults: Defaults) -> Result<(), Error> {
    let trex = Trex {
        track_id,
        default_sample_description_index: defaults.description,
        default_sample_duration: defaults.duration,
        default_sample_size: defaults.size,
        default_sample_flags: defaults.flags,
    };
    write_atom(out, &trex)
}

/// The header of one track of an ordinary file, as a fragmented stream would have it: without
/// durations, edit list and sample tables, which are for the file as a whole.
pub(crate) fn unfragmented_header(moov: &BoxRef<'_>, track: &Track<'_>) -> Result<Bytes, Error> {
    let mut out = Vec::new();
    write_ftyp(&mut out)?;
    let mut mvhd: Mvhd = moov.need(b"mvhd")?.decode()?;
    mvhd.duration = 0;
    let mut tkhd: Tkhd = track.trak.need(b"tkhd")?.decode()?;
    tkhd.duration = 0;
    let mdia = track.trak.need(b"mdia")?;
    write_box(&mut out, b"moov", |out| {
        write_atom(out, &mvhd)?;
        write_box(out, b"trak", |out| {
            write_atom(out, &tkhd)?;
            write_box(out, b"mdia", |out| write_mdia(out, &mdia))
        })?;
        write_mvex(out, track.info.id, Defaults::default())
    })?;
    Ok(out.into())
}

fn write_mdia(out: &mut Vec<u8>, mdia: &BoxRef<'_>) -> Result<(), Error> {
    let mut mdhd: Mdhd = mdia.need(b"mdhd")?.decode()?;
    mdhd.duration = 0;
    write_atom(out, &mdhd)?;
    let handler = handler(mdia)?;
    copy_box(out, &mdia.need(b"hdlr")?)?;
    let minf = mdia.need(b"minf")?;
    let stsd = minf.need(b"stbl")?.need(b"stsd")?;
    write_box(out, b"minf", |out| {
        for child in minf.children() {
            let child = child?;
            if child.kind != *b"stbl" {
                copy_box(out, &child)?;
            }
        }
        write_box(out, b"stbl", |out| {
            entry::write_stsd(out, &stsd, handler)?;
            write_atom(out, &mp4_atom::Stts::default())?;
            write_atom(out, &mp4_atom::Stsc::default())?;
            write_atom(out, &mp4_atom::Stsz::default())?;
            write_atom(out, &mp4_atom::Stco::default())
        })
    })
}

/// The header of one track on its own, taken apart.
pub(crate) struct SingleHeader<'a> {
    ftyp: Option<BoxRef<'a>>,
    mvhd: BoxRef<'a>,
    trak: BoxRef<'a>,
    pssh: Vec<BoxRef<'a>>,
    pub(crate) timescale: u32,
    pub(crate) defaults: Defaults,
    /// Whether only some fragments can be decoded on their own.
    pub(crate) is_video: bool,
    /// Kind and codec: the `hdlr` type and the `stsd`.
    codec: (&'a [u8], BoxRef<'a>),
}

impl<'a> SingleHeader<'a> {
    /// Reads initialization data, which must describe one track, of any codec.
    pub(crate) fn parse(init: &'a [u8]) -> Result<Self, Error> {
        let (mut ftyp, mut moov) = (None, None);
        for child in Children::of(init) {
            let child = child?;
            match &child.kind {
                b"ftyp" => ftyp = Some(child),
                b"moov" => moov = Some(child),
                _ => {}
            }
        }
        let moov = moov.ok_or_else(|| Error::malformed("initialization data has no `moov`"))?;
        let trak = moov.need(b"trak")?;
        if moov
            .children()
            .filter(|child| child.as_ref().is_ok_and(|c| c.kind == *b"trak"))
            .count()
            > 1
        {
            return Err(Error::malformed(
                "initialization data of one track describes several",
            ));
        }
        let tkhd: Tkhd = trak.need(b"tkhd")?.decode()?;
        let mdia = trak.need(b"mdia")?;
        let mdhd: Mdhd = mdia.need(b"mdhd")?.decode()?;
        if mdhd.timescale == 0 {
            return Err(Error::malformed("a track has timescale 0"));
        }
        let kind = handler(&mdia)?;
        let stsd = mdia.need(b"minf")?.need(b"stbl")?.need(b"stsd")?;
        let defaults = track::fragment_defaults(&moov)?;
        let defaults = defaults
            .iter()
            .find(|(id, _)| *id == tkhd.track_id)
            .map(|(_, d)| *d);
        Ok(Self {
            ftyp,
            mvhd: moov.need(b"mvhd")?,
            trak,
            pssh: pssh(&moov).collect(),
            timescale: mdhd.timescale,
            defaults: defaults.unwrap_or_default(),
            is_video: kind == b"vide",
            codec: (kind, stsd),
        })
    }

    /// What fragments depend on, in bytes that are equal only if it is.
    pub(crate) fn form(&self) -> Bytes {
        let Defaults {
            description,
            duration,
            size,
            flags,
        } = self.defaults;
        let (kind, stsd) = self.codec;
        let numbers = [self.timescale, description, duration, size, flags].map(u32::to_be_bytes);
        let stsd = entry::form(&stsd, kind);
        [numbers.as_flattened(), kind, &stsd].concat().into()
    }
}

/// One header for several tracks, which get the ids 1, 2, … in this order.
pub(crate) fn merged_header(tracks: &[SingleHeader<'_>]) -> Result<Bytes, Error> {
    let Some(first) = tracks.first() else {
        return Err(Error::NoUsableTrack {
            found: "none at all".to_owned(),
        });
    };
    let mut out = Vec::new();
    match first.ftyp {
        Some(ftyp) => copy_box(&mut out, &ftyp)?,
        None => write_ftyp(&mut out)?,
    }
    let numbered = || (1u32..).zip(tracks);
    write_box(&mut out, b"moov", |out| {
        copy_box(out, &first.mvhd)?;
        for (id, track) in numbered() {
            write_box(out, b"trak", |out| copy_trak(out, &track.trak, id))?;
        }
        write_box(out, b"mvex", |out| {
            numbered().try_for_each(|(id, track)| write_trex(out, id, track.defaults))
        })?;
        // Those of the tracks of one broadcast are the same.
        let mut written = BTreeSet::new();
        let all = tracks.iter().flat_map(|track| &track.pssh);
        for pssh in all.filter(|pssh| written.insert(pssh.raw)) {
            copy_box(out, pssh)?;
        }
        Ok(())
    })?;
    Ok(out.into())
}

/// Copies the body of a `trak` under another track id.
fn copy_trak(out: &mut Vec<u8>, trak: &BoxRef<'_>, id: u32) -> Result<(), Error> {
    for child in trak.children() {
        let child = child?;
        copy_box(out, &child)?;
        let body = out.len() - child.body.len();
        if child.kind == *b"tkhd" {
            // Version, flags and two times, of 32 or, in version 1, 64 bits.
            let at = if child.body.first() == Some(&1) {
                20
            } else {
                12
            };
            let field = out.get_mut(body + at..body + at + 4);
            let field = field.ok_or_else(|| Error::malformed("`tkhd` is cut off"))?;
            field.copy_from_slice(&id.to_be_bytes());
        }
    }
    Ok(())
}
