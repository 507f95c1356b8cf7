//! Reading what stands before a payload when it may come in pieces.

use bytes::{Buf as _, Bytes};

use super::coding::{Reader, Stop};
use crate::model::{DecodeError, DecodeErrorKind};

/// Keeps the start of a head until the rest has come. A head that lies whole in one piece is read where it lies.
#[derive(Debug, Default)]
pub(super) struct HeadBuffer {
    /// Not empty only while a head is unfinished.
    partial: Vec<u8>,
    /// Least number of further bytes with which reading can go on, and the field that waits for them.
    missing: usize,
    field: &'static str,
    field_offset: u64,
    /// The first error, which is final.
    failed: Option<DecodeError>,
}

/// A head that was read.
pub(super) struct Head<T> {
    pub(super) value: T,
    /// The part of the head that the reading function asked to keep.
    pub(super) kept: Bytes,
    /// Bytes of the whole head.
    pub(super) len: usize,
}

impl HeadBuffer {
    /// Bytes of an unfinished head.
    pub(super) fn len(&self) -> usize {
        self.partial.len()
    }

    /// The error if no more bytes can come.
    pub(super) fn at_end(&self) -> Result<(), DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.partial.is_empty() {
            return Ok(());
        }
        Err(DecodeError {
            kind: DecodeErrorKind::UnexpectedEnd,
            field: self.field,
            offset: self.field_offset,
        })
    }

    /// Takes one head off the front of `input`; `None`: all of `input` was taken and more is needed.
    ///
    /// `read` gives the value, and start and end of the head's bytes to keep. It may run several times on a growing start
    /// of the head. `base` is the offset of the head's first byte.
    #[inline]
    pub(super) fn read<T>(
        &mut self,
        input: &mut Bytes,
        base: u64,
        read: impl Fn(&mut Reader<'_>) -> Result<(T, (usize, usize)), Stop>,
    ) -> Result<Option<Head<T>>, DecodeError> {
        if !self.partial.is_empty() || self.failed.is_some() {
            return self.read_pieces(input, base, read);
        }
        let mut reader = Reader::new(input, base);
        match read(&mut reader) {
            Ok((value, (start, end))) => {
                let len = reader.consumed();
                let kept = if start == end {
                    Bytes::new()
                } else {
                    input.slice(start..end)
                };
                input.advance(len);
                Ok(Some(Head { value, kept, len }))
            }
            Err(stop) => {
                self.stopped(stop)?;
                self.partial.extend_from_slice(input);
                input.clear();
                Ok(None)
            }
        }
    }

    /// Takes only bytes that are known to belong to the head.
    #[cold]
    fn read_pieces<T>(
        &mut self,
        input: &mut Bytes,
        base: u64,
        read: impl Fn(&mut Reader<'_>) -> Result<(T, (usize, usize)), Stop>,
    ) -> Result<Option<Head<T>>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            let piece = input.split_to(self.missing.min(input.len()));
            self.partial.extend_from_slice(&piece);
            self.missing -= piece.len();
            if self.missing > 0 {
                return Ok(None);
            }
            match read(&mut Reader::new(&self.partial, base)) {
                Ok((value, (start, end))) => {
                    let len = self.partial.len();
                    let kept = if start == end {
                        self.partial.clear();
                        Bytes::new()
                    } else {
                        Bytes::from(std::mem::take(&mut self.partial)).slice(start..end)
                    };
                    return Ok(Some(Head { value, kept, len }));
                }
                Err(stop) => self.stopped(stop)?,
            }
        }
    }

    #[cold]
    fn stopped(&mut self, stop: Stop) -> Result<(), DecodeError> {
        match stop {
            Stop::Short {
                field,
                offset,
                missing,
            } => {
                self.field = field;
                self.field_offset = offset;
                self.missing = missing;
                Ok(())
            }
            Stop::Invalid(error) => {
                self.partial = Vec::new();
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }
}
