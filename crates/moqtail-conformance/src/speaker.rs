//! A raw peer that counts its requests and remembers what it has said.

use std::collections::BTreeSet;

use crate::{
    failure::Failure,
    message::Message,
    peer::{Frame, RawPeer},
};

/// A raw peer that says one message after the other and keeps the rules.
#[derive(Debug)]
pub struct Speaker {
    /// The peer.
    pub peer: RawPeer,
    said: BTreeSet<u64>,
    next: u64,
}

impl Speaker {
    /// Speaks through `peer`, whose first Request ID is this: 0 for a client, 1 for a server.
    pub fn new(peer: RawPeer, first: u64) -> Self {
        Self {
            peer,
            said: BTreeSet::new(),
            next: first,
        }
    }

    /// Types of the messages that were sent.
    pub fn said(&self) -> &BTreeSet<u64> {
        &self.said
    }

    /// The next Request ID.
    pub fn id(&mut self) -> u64 {
        self.next += 2;
        self.next - 2
    }

    /// Sends a message whose answer comes later, if there is one.
    ///
    /// # Errors
    /// The session is closed.
    pub async fn say(&mut self, message: Message) -> Result<(), Failure> {
        self.said.insert(message.kind);
        self.peer.send(message).await
    }

    /// Sends a message and waits for one of type `answer`.
    ///
    /// # Errors
    /// None came.
    pub async fn ask(&mut self, message: Message, answer: u64) -> Result<Frame, Failure> {
        self.say(message).await?;
        self.peer.expect_among(answer).await
    }

    /// Sends a message to which no answer is due, and insists that the session goes on.
    ///
    /// # Errors
    /// It does not.
    pub async fn tell(&mut self, message: Message) -> Result<(), Failure> {
        let name = message.name;
        self.say(message).await?;
        let id = self.id();
        match self.peer.reaction(id).await? {
            None => Ok(()),
            Some(close) => Err(Failure::Ended {
                close,
                instead: format!("going on after {name}"),
            }),
        }
    }
}
