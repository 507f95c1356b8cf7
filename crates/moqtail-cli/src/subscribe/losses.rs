//! Telling what did not arrive: once for each subscription, as there may be thousands of streams.

use moqtail::{
    client::ReadError,
    model::{FullTrackName, Location, StreamCode},
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
}

impl<'a> Losses<'a> {
    /// Nothing yet. `late_are_given_up`: the subscription asks for a delivery timeout.
    pub(super) fn new(link: &'a Link, track: &FullTrackName, late_are_given_up: bool) -> Self {
        Self {
            link,
            track: track.clone(),
            late_are_given_up,
            told: false,
        }
    }

    /// The rest of a stream of this group is lost.
    pub(super) fn stream(&mut self, group: u64, error: &ReadError) {
        tracing::info!(group, %error, "a stream ended early");
        if self.told || self.is_told_elsewhere(error) {
            return;
        }
        self.told = true;
        self.link.tell(format_args!(
            "Objects of {} are lost, in group {group} at first: {}. Check the network, or look at the log of the relay.",
            self.track,
            plain(error)
        ));
    }

    /// An object of this group is passed over, the one that follows `last` in its stream.
    pub(super) fn object(&self, group: u64, last: Option<Location>, error: &ReadError) {
        let place = match last {
            Some(last) => format!("behind {last}"),
            None => format!("at the start of a stream of group {group}"),
        };
        let what = match error {
            ReadError::TooLarge { len, max } => format!("has {len} bytes, more than {max}"),
            error => format!("is too large: {}", plain(error)),
        };
        self.link.tell(format_args!(
            "Leaving out the object {place} of {}: it {what}. Have it published in smaller ones.",
            self.track
        ));
    }

    /// Whether it is no loss, or what ends with this stream has a line of its own.
    fn is_told_elsewhere(&self, error: &ReadError) -> bool {
        let (ReadError::Stream(cause) | ReadError::Partial { cause, .. }) = error else {
            return true;
        };
        match cause {
            StreamError::Reset(code) => match StreamCode(u64::from(*code)) {
                StreamCode::DELIVERY_TIMEOUT => self.late_are_given_up,
                code => code == StreamCode::SESSION_CLOSED,
            },
            StreamError::Connection(_) => true,
            _ => false,
        }
    }
}
