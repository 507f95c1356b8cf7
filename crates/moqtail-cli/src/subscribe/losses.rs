//! Telling what did not arrive: once for each subscription, as there may be thousands of streams.

use moqtail::{
    client::{ReadError, SubscriptionEnd},
    model::{FullTrackName, Location, PublishDoneCode, StreamCode},
    transport::StreamError,
};

use crate::{errors::plain, link::Link};

/// What one subscription lost.
pub(crate) struct Losses<'a> {
    link: &'a Link,
    track: FullTrackName,
    /// Objects that are late were to be given up.
    late_are_given_up: bool,
    told: bool,
    /// An object that is too large was told of.
    told_object: bool,
    /// The line for streams that a relay cancelled: with the subscription, if nothing more of it comes.
    pending: Option<String>,
}

impl<'a> Losses<'a> {
    /// Nothing yet. `late_are_given_up`: the subscription asks for a delivery timeout.
    pub(super) fn new(link: &'a Link, track: &FullTrackName, late_are_given_up: bool) -> Self {
        Self {
            link,
            track: track.clone(),
            late_are_given_up,
            told: false,
            told_object: false,
            pending: None,
        }
    }

    /// The rest of a stream of this group is lost.
    pub(super) fn stream(&mut self, group: u64, error: &ReadError) {
        tracing::info!(group, %error, "a stream ended early");
        if self.told || self.is_told_elsewhere(error) {
            return;
        }
        let line = format!(
            "Objects of {} are lost, in group {group} at first: {}. Check the network, or look at the log of the relay.",
            self.track,
            plain(error)
        );
        match reset_code(error) {
            Some(StreamCode::CANCELLED) => _ = self.pending.get_or_insert(line),
            _ => self.tell(line),
        }
    }

    /// An object came: the subscription goes on.
    pub(super) fn delivered(&mut self) {
        if let Some(line) = self.pending.take() {
            self.tell(line);
        }
    }

    /// The subscription is over, and all was delivered.
    pub(super) fn ended(&mut self, end: &SubscriptionEnd) {
        let pending = self.pending.take();
        // Other ends have a line of their own.
        if let SubscriptionEnd::Done {
            status:
                PublishDoneCode::TRACK_ENDED
                | PublishDoneCode::SUBSCRIPTION_ENDED
                | PublishDoneCode::EXPIRED
                | PublishDoneCode::GOING_AWAY,
            ..
        } = end
            && let Some(line) = pending
        {
            self.tell(line);
        }
    }

    fn tell(&mut self, line: String) {
        if !std::mem::replace(&mut self.told, true) {
            self.link.tell(line);
        }
    }

    /// An object of this group is passed over, the one that follows `last` in its stream.
    /// Told of the first of a subscription.
    pub(super) fn object(&mut self, group: u64, last: Option<Location>, error: &ReadError) {
        if std::mem::replace(&mut self.told_object, true) {
            return;
        }
        let place = match last {
            Some(last) => format!("behind {last}"),
            None => format!("at the start of a stream of group {group}"),
        };
        let what = match error {
            ReadError::TooLarge { len, max } => format!("has {len} bytes, more than {max}"),
            error => format!("is too large: {}", plain(error)),
        };
        self.link.tell(format_args!(
            "Leaving out the object {place} of {}, and others like it: it {what}. Have it published in smaller ones.",
            self.track
        ));
    }

    /// Whether it is no loss, or what ends with this stream has a line of its own.
    fn is_told_elsewhere(&self, error: &ReadError) -> bool {
        match error {
            ReadError::Stream(StreamError::Connection(_))
            | ReadError::Partial {
                cause: StreamError::Connection(_),
                ..
            } => true,
            ReadError::Stream(_) | ReadError::Partial { .. } => match reset_code(error) {
                Some(StreamCode::DELIVERY_TIMEOUT) => self.late_are_given_up,
                code => code == Some(StreamCode::SESSION_CLOSED),
            },
            _ => true,
        }
    }
}

/// The code that the stream was reset with, if it was.
fn reset_code(error: &ReadError) -> Option<StreamCode> {
    match error {
        ReadError::Stream(StreamError::Reset(code))
        | ReadError::Partial {
            cause: StreamError::Reset(code),
            ..
        } => Some(StreamCode(u64::from(*code))),
        _ => None,
    }
}
