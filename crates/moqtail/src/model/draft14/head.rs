//! Reading what stands before a payload when it may come in pieces.

use std::borrow::Cow;

use super::coding::{Reader, Stop};
use crate::model::DecodeError;

/// How a kind of head is read.
///
/// For objects all of it is inlined down to the caller of the decoder: to pass a head through memory takes longer than to
/// read it.
pub(super) trait ReadHead {
    type Value;

    /// Reads the head at the start of the bytes. May run several times, on ever more of them.
    fn read(&self, r: &mut Reader<'_>) -> Result<Self::Value, Stop>;
}

/// Keeps the start of a head until the rest has come. A head that lies whole in one piece is read where it lies.
#[derive(Debug, Default)]
pub(super) struct HeadBuffer {
    /// Not empty only while a head is unfinished.
    partial: Vec<u8>,
    /// Why the last reading stopped: it waits for more bytes, or there was an error, which is final.
    stop: Option<Stop>,
}

/// A head that was read.
pub(super) struct Head<'a, T> {
    pub(super) value: T,
    /// All its bytes, where they lie or put together.
    pub(super) bytes: Cow<'a, [u8]>,
}

impl HeadBuffer {
    /// Bytes of an unfinished head.
    pub(super) fn len(&self) -> usize {
        self.partial.len()
    }

    /// The error if no more bytes can come.
    pub(super) fn at_end(&self) -> Result<(), DecodeError> {
        match &self.stop {
            None => Ok(()),
            Some(stop) => Err(stop.clone().at_end()),
        }
    }

    /// Takes one head off the front of `input`; `None`: all of `input` was taken and more is needed. `base` is the offset
    /// of the head's first byte.
    #[inline(always)]
    pub(super) fn read<'a, H: ReadHead>(
        &mut self,
        input: &mut &'a [u8],
        base: u64,
        head: &H,
    ) -> Result<Option<Head<'a, H::Value>>, DecodeError> {
        if self.stop.is_some() {
            return self.read_pieces(input, base, head);
        }
        if input.is_empty() {
            return Ok(None);
        }
        let mut r = Reader::new(input, base);
        match head.read(&mut r) {
            Ok(value) => {
                *input = r.rest();
                let bytes = Cow::Borrowed(r.since(0));
                Ok(Some(Head { value, bytes }))
            }
            Err(stop) => {
                self.stopped(stop)?;
                self.partial.extend_from_slice(std::mem::take(input));
                Ok(None)
            }
        }
    }

    /// Takes only bytes that are known to belong to the head.
    #[cold]
    fn read_pieces<'a, H: ReadHead>(
        &mut self,
        input: &mut &'a [u8],
        base: u64,
        head: &H,
    ) -> Result<Option<Head<'a, H::Value>>, DecodeError> {
        loop {
            match &mut self.stop {
                None => {}
                Some(Stop::Invalid(error)) => return Err(error.clone()),
                Some(Stop::Short { missing, .. }) => {
                    let (piece, rest) = input.split_at(input.len().min(*missing));
                    *input = rest;
                    *missing -= piece.len();
                    self.partial.extend_from_slice(piece);
                    if *missing > 0 {
                        return Ok(None);
                    }
                }
            }
            match head.read(&mut Reader::new(&self.partial, base)) {
                Ok(value) => {
                    self.stop = None;
                    let bytes = Cow::Owned(std::mem::take(&mut self.partial));
                    return Ok(Some(Head { value, bytes }));
                }
                Err(stop) => self.stopped(stop)?,
            }
        }
    }

    #[cold]
    fn stopped(&mut self, stop: Stop) -> Result<(), DecodeError> {
        let error = match &stop {
            Stop::Short { .. } => Ok(()),
            Stop::Invalid(error) => {
                self.partial = Vec::new();
                Err(error.clone())
            }
        };
        self.stop = Some(stop);
        error
    }
}
