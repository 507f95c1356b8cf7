//! Just enough MP4 to compare what went in with what came out.

/// A movie fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Track id.
    pub track: u32,
    /// Decode time of the first sample in the track's units.
    pub decode_time: u64,
    /// The media bytes: content of its `mdat`.
    pub media: Vec<u8>,
    /// `moof` and `mdat` as they stand in the file.
    pub whole: Vec<u8>,
}

/// The fragments of a fragmented MP4, in order. An incomplete one at the end is left out.
///
/// # Panics
/// If a fragment lacks what every fragment of one track has.
pub fn chunks(file: &[u8]) -> Vec<Chunk> {
    let mut found = Vec::new();
    let mut moof: Option<&[u8]> = None;
    for (kind, whole, body) in boxes(file) {
        match &kind {
            b"moof" => moof = Some(whole),
            b"mdat" => {
                let Some(head) = moof.take() else { continue };
                let traf = find(head.get(8..).unwrap_or_default(), b"traf").expect("a traf");
                let tfhd = find(traf, b"tfhd").expect("a tfhd");
                let tfdt = find(traf, b"tfdt").expect("a tfdt");
                let decode_time = match tfdt.first() {
                    Some(1) => number(tfdt, 4, 8),
                    _ => number(tfdt, 4, 4),
                };
                found.push(Chunk {
                    track: u32::try_from(number(tfhd, 4, 4)).expect("32 bits"),
                    decode_time,
                    media: body.to_vec(),
                    whole: [head, whole].concat(),
                });
            }
            _ => {}
        }
    }
    found
}

/// Type, whole and content of each complete box with a 32-bit size.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let size = u32::from_be_bytes(*bytes.first_chunk()?);
        let kind = *bytes.get(4..)?.first_chunk()?;
        let (whole, rest) = bytes.split_at_checked(usize::try_from(size).ok()?.max(8))?;
        bytes = rest;
        Some((kind, whole, whole.get(8..)?))
    })
}

fn find<'a>(body: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(body)
        .find(|(found, ..)| found == kind)
        .map(|(_, _, body)| body)
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).expect("a complete field");
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes(), &kind[..], body].concat()
    }

    #[test]
    fn fragments_are_found_between_other_boxes() {
        let tfhd = boxed(b"tfhd", &[0, 0, 0, 0, 0, 0, 0, 2]);
        let tfdt = boxed(b"tfdt", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        let moof = boxed(b"moof", &boxed(b"traf", &[tfhd, tfdt].concat()));
        let mdat = boxed(b"mdat", b"media");
        let file = [
            boxed(b"ftyp", b"iso6"),
            moof.clone(),
            mdat.clone(),
            moof.clone(),
        ]
        .concat();
        let found = chunks(&file);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].track, found[0].decode_time), (2, 256));
        assert_eq!(found[0].media, b"media");
        assert_eq!(found[0].whole, [moof, mdat].concat());
    }
}
