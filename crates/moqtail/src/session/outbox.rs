//! What waits to be given to the shell.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{
    error::SessionError,
    event::{Close, Event, Output, StreamKey},
};
use crate::model::{ControlMessage, EncodeError, StreamCode, encode_control};

#[derive(Debug)]
enum Item {
    Control(BytesMut),
    Other(Output),
}

/// Outputs in order; control messages that follow each other are joined.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    items: VecDeque<Item>,
    /// Control bytes that the shell has not yet reported as written.
    unwritten: usize,
}

impl Outbox {
    /// Queues a control message. On error nothing is queued.
    pub(super) fn send(&mut self, message: &ControlMessage) -> Result<(), EncodeError> {
        if let Some(Item::Control(bytes)) = self.items.back_mut() {
            let before = bytes.len();
            encode_control(message, bytes)?;
            self.unwritten += bytes.len() - before;
        } else {
            let mut bytes = BytesMut::new();
            encode_control(message, &mut bytes)?;
            self.unwritten += bytes.len();
            self.items.push_back(Item::Control(bytes));
        }
        tracing::trace!(message = message.name(), "send");
        Ok(())
    }

    pub(super) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    pub(super) fn stop(&mut self, stream: StreamKey) {
        self.push(Output::StopStream {
            stream,
            code: StreamCode::CANCELLED,
        });
    }

    pub(super) fn push(&mut self, output: Output) {
        self.items.push_back(Item::Other(output));
    }

    /// Queues the end of the session.
    pub(super) fn close(&mut self, error: &SessionError) {
        self.push(Output::Close(Close {
            code: error.code(),
            reason: error.reason(),
            blame: error.blame(),
            tolerance: error.tolerance(),
        }));
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        Some(match self.items.pop_front()? {
            Item::Control(bytes) => Output::Control(bytes.freeze()),
            Item::Other(output) => output,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn written(&mut self, len: usize) {
        self.unwritten = self.unwritten.saturating_sub(len);
    }

    /// Control bytes given out or queued, and not written.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten
    }
}
