//! Telling what did not arrive: once for each subscription, as there may be thousands of streams.

use moqtail::{
    client::ReadError,
    model::{FullTrackName, StreamCode},
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

    /// An object of this group is passed over.
    pub(super) fn object(&self, group: u64, error: &ReadError) {
        let size = match error {
            ReadError::TooLarge { len, .. } => format!("of {len} bytes"),
            _ => "too large".to_owned(),
        };
        self.link.tell(format_args!(
            "An object {size} in group {group} of {} is left out: {}. Have it published in smaller ones.",
            self.track,
            match error {
                ReadError::TooLarge { max, .. } => format!("{max} bytes are the limit"),
                error => plain(error),
            }
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
