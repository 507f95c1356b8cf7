//! The ISO BMFF box grammar: headers, children, and writing.
//!
//! Containers are walked here, one known level at a time, and copied byte for byte, so that no
//! nesting depth is under the input's control and nothing a header carries is lost. Leaf boxes
//! are decoded by `mp4_atom`.

use crate::error::{Error, FourCc};

/// The head of a box: `size`, `type` and, for large boxes, a 64-bit size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: [u8; 4],
    /// Bytes before the body: 8 or 16.
    pub(crate) len: usize,
    /// Bytes of the whole box; `None` when it runs to the end of the input.
    pub(crate) total: Option<u64>,
}

impl Header {
    /// Reads a head; `None` when `data` is still too short to tell.
    pub(crate) fn parse(data: &[u8]) -> Result<Option<Self>, Error> {
        let Some((size, rest)) = data.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some((kind, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let (len, total) = match u32::from_be_bytes(*size) {
            0 => (8, None),
            1 => match rest.first_chunk::<8>() {
                Some(size) => (16, Some(u64::from_be_bytes(*size))),
                None => return Ok(None),
            },
            size => (8, Some(u64::from(size))),
        };
        if total.is_some_and(|total| total < len as u64) {
            let kind = FourCc(*kind);
            return Err(Error::malformed(format!(
                "`{kind}` box shorter than its own head"
            )));
        }
        Ok(Some(Self {
            kind: *kind,
            len,
            total,
        }))
    }

    /// Bytes of the whole box where it has to say them, because it is not known where the input ends.
    pub(crate) fn claimed(&self) -> Result<u64, Error> {
        self.total.ok_or_else(|| {
            let kind = FourCc(self.kind);
            let why = format!("`{kind}` box without a length, whose end nobody can tell");
            Error::malformed(why)
        })
    }
}

/// A box inside a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BoxRef<'a> {
    pub(crate) kind: [u8; 4],
    /// Head and body.
    pub(crate) raw: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> BoxRef<'a> {
    /// Takes the box at the start of `data`, leaving the rest.
    pub(crate) fn split(data: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let Some(head) = Header::parse(data)? else {
            return Err(Error::malformed("a box head is cut off"));
        };
        let total = match head.total {
            Some(total) => usize::try_from(total).unwrap_or(usize::MAX),
            None => data.len(),
        };
        let (Some((raw, rest)), kind) = (data.split_at_checked(total), head.kind) else {
            let kind = FourCc(head.kind);
            return Err(Error::malformed(format!(
                "`{kind}` box runs past the end of its parent"
            )));
        };
        let body = raw.get(head.len..).unwrap_or_default();
        Ok((Self { kind, raw, body }, rest))
    }

    /// Takes the one box that `data` is.
    pub(crate) fn whole(data: &'a [u8]) -> Result<Self, Error> {
        Ok(Self::split(data)?.0)
    }

    /// The boxes inside this one, from byte `from` of the body on.
    pub(crate) fn children_from(&self, from: usize) -> Children<'a> {
        Children {
            rest: self.body.get(from..).unwrap_or_default(),
        }
    }

    /// The boxes inside this one.
    pub(crate) fn children(&self) -> Children<'a> {
        self.children_from(0)
    }

    /// The first child of this type.
    pub(crate) fn find(&self, kind: &[u8; 4]) -> Result<Option<Self>, Error> {
        for child in self.children() {
            let child = child?;
            if child.kind == *kind {
                return Ok(Some(child));
            }
        }
        Ok(None)
    }

    /// The first child of this type, which must be there.
    pub(crate) fn need(&self, kind: &[u8; 4]) -> Result<Self, Error> {
        self.find(kind)?.ok_or_else(|| {
            let (kind, parent) = (FourCc(*kind), FourCc(self.kind));
            Error::malformed(format!("`{parent}` has no `{kind}` box"))
        })
    }

    /// Decodes this box, which must hold no boxes itself, as `T`.
    pub(crate) fn decode<T: mp4_atom::Atom>(&self) -> Result<T, Error> {
        let mut body = self.body;
        T::decode_body(&mut body).map_err(|error| {
            Error::malformed(format!(
                "`{}` box does not decode: {error}",
                FourCc(self.kind)
            ))
        })
    }
}

/// Iterates over sibling boxes. Fewer than eight bytes at the end are padding, as some muxers
/// leave it, and are ignored.
#[derive(Debug, Clone)]
pub(crate) struct Children<'a> {
    rest: &'a [u8],
}

impl<'a> Children<'a> {
    /// The boxes of a buffer that is not itself a box.
    pub(crate) fn of(data: &'a [u8]) -> Self {
        Self { rest: data }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<BoxRef<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < 8 {
            return None;
        }
        match BoxRef::split(self.rest) {
            Ok((child, rest)) => {
                self.rest = rest;
                Some(Ok(child))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Appends a box whose body `fill` writes.
pub(crate) fn write_box(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    fill(out)?;
    let size = u32::try_from(out.len() - start)
        .map_err(|_| Error::malformed(format!("`{}` box over 4 GiB", FourCc(*kind))))?;
    if let Some(head) = out.get_mut(start..start + 4) {
        head.copy_from_slice(&size.to_be_bytes());
    }
    Ok(())
}

/// Appends a box as it came; where it had no length, with the one it turned out to have, so that it
/// does not take in what is written after it.
pub(crate) fn copy_box(out: &mut Vec<u8>, from: &BoxRef<'_>) -> Result<(), Error> {
    if from.raw.starts_with(&[0; 4]) {
        return write_box(out, &from.kind, |out| {
            out.extend_from_slice(from.body);
            Ok(())
        });
    }
    out.extend_from_slice(from.raw);
    Ok(())
}

/// Appends a leaf box that `mp4_atom` writes.
pub(crate) fn write_atom<T: mp4_atom::Atom>(out: &mut Vec<u8>, atom: &T) -> Result<(), Error> {
    let kind: [u8; 4] = T::KIND.into();
    write_box(out, &kind, |out| {
        // An atom addresses what it writes from the start of the buffer it is given.
        let mut body = Vec::new();
        atom.encode_body(&mut body).map_err(|error| {
            Error::malformed(format!("`{}` box cannot be written: {error}", FourCc(kind)))
        })?;
        out.extend_from_slice(&body);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_box(&mut out, kind, |out| {
            out.extend_from_slice(body);
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn a_head_needs_eight_or_sixteen_bytes() {
        let small = boxed(b"free", b"abc");
        for cut in 0..8 {
            assert_eq!(Header::parse(&small[..cut]).unwrap(), None);
        }
        let head = Header::parse(&small).unwrap().unwrap();
        assert_eq!((head.len, head.total), (8, Some(11)));

        let mut large = vec![0, 0, 0, 1];
        large.extend_from_slice(b"mdat");
        large.extend_from_slice(&20u64.to_be_bytes());
        for cut in 0..16 {
            assert_eq!(Header::parse(&large[..cut]).unwrap(), None);
        }
        let head = Header::parse(&large).unwrap().unwrap();
        assert_eq!((head.len, head.total), (16, Some(20)));
    }

    #[test]
    fn a_size_below_the_head_is_malformed() {
        assert!(Header::parse(&[0, 0, 0, 7, b'f', b'r', b'e', b'e']).is_err());
        let mut large = vec![0, 0, 0, 1];
        large.extend_from_slice(b"mdat");
        large.extend_from_slice(&15u64.to_be_bytes());
        assert!(Header::parse(&large).is_err());
    }

    #[test]
    fn a_copy_of_a_box_without_a_length_has_one() {
        let whole = boxed(b"free", b"abc");
        let mut endless = whole.clone();
        endless[..4].fill(0);
        for raw in [&whole, &endless] {
            let mut copy = Vec::new();
            copy_box(&mut copy, &BoxRef::whole(raw).unwrap()).unwrap();
            assert_eq!(copy, whole);
        }
    }

    #[test]
    fn children_stop_at_an_overrun_and_ignore_padding() {
        let mut body = boxed(b"free", b"abc");
        body.extend_from_slice(&[0; 4]);
        let parent = boxed(b"udta", &body);
        let parent = BoxRef::whole(&parent).unwrap();
        assert_eq!(parent.children().count(), 1);

        let mut body = boxed(b"free", b"abc");
        body[3] = 200;
        let parent = boxed(b"udta", &body);
        let all: Vec<_> = BoxRef::whole(&parent).unwrap().children().collect();
        assert_eq!(all.len(), 1);
        assert!(all[0].is_err());
    }
}
