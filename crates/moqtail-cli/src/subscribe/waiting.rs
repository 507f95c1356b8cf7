//! Subscribing to what may not be there yet.

use moqtail::{
    client::{Client, SubscribeError, SubscribeOptions, Subscription, SubscriptionEnd},
    model::{FullTrackName, PublishDoneCode, SubscribeErrorCode},
    session::CallError,
};
use moqtail_media::CATALOG_TRACK;

use crate::{
    backoff::Backoff,
    errors::{CliError, plain},
    link::Link,
};

/// Why there is no subscription.
#[derive(Debug)]
pub(crate) enum NotSubscribed {
    /// The session is gone, or takes no requests any more; another one may do.
    SessionEnded,
    /// All of the range was published before.
    RangePassed(CliError),
    /// Waiting does not help, or is not wanted.
    Failed(CliError),
}

/// Asks for one broadcast's tracks, again and again while it has not started.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    link: &'a Link,
    /// Whether to wait for what is not there.
    wait: bool,
    /// Whether to wait on when nobody says whether it is there.
    unanswered: bool,
    told: bool,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(link: &'a Link, wait: bool) -> Self {
        Self {
            link,
            wait,
            unanswered: wait,
            told: false,
        }
    }

    /// The same for whom it is a failure when nobody answers.
    pub(crate) fn needs_answer(self) -> Self {
        Self {
            unanswered: false,
            ..self
        }
    }

    /// Subscribes to `track`, when it is there. Cancel safe.
    pub(crate) async fn subscribe(
        &mut self,
        client: &Client,
        track: &FullTrackName,
        options: SubscribeOptions,
    ) -> Result<Subscription, NotSubscribed> {
        let mut backoff = Backoff::new();
        loop {
            let error = match client.subscribe(track.clone(), options.clone()).await {
                Ok(subscription) => {
                    self.told = false;
                    tracing::info!(%track, "subscribed");
                    return Ok(subscription);
                }
                Err(error) => error,
            };
            match Next::after(&error) {
                Next::Session => return Err(NotSubscribed::SessionEnded),
                Next::Nothing => {
                    let refused = self.refused(track, &error);
                    return Err(match error {
                        SubscribeError::Rejected {
                            code: SubscribeErrorCode::INVALID_RANGE,
                            ..
                        } => NotSubscribed::RangePassed(refused),
                        _ => NotSubscribed::Failed(refused),
                    });
                }
                Next::Again => tracing::debug!(%track, %error, "not there yet"),
            }
            let waits = match error {
                SubscribeError::TimedOut => self.unanswered,
                _ => self.wait,
            };
            if !waits {
                return Err(NotSubscribed::Failed(self.missing(track, &error)));
            }
            if !self.told {
                self.told = true;
                self.link.tell(self.waiting(track, &error));
            }
            tokio::select! {
                () = backoff.wait() => {}
                // Asking again in this session would be in vain.
                _ = client.closed() => return Err(NotSubscribed::SessionEnded),
                _ = client.goaway() => return Err(NotSubscribed::SessionEnded),
            }
        }
    }

    /// What follows from how the subscription to `track` ended.
    pub(super) fn turn(
        &self,
        track: &FullTrackName,
        end: SubscriptionEnd,
    ) -> Result<Turn, CliError> {
        match end {
            SubscriptionEnd::Done {
                status: PublishDoneCode::TRACK_ENDED | PublishDoneCode::SUBSCRIPTION_ENDED,
                ..
            } => Ok(Turn::Ended),
            SubscriptionEnd::Done {
                status: status @ (PublishDoneCode::EXPIRED | PublishDoneCode::GOING_AWAY),
                reason,
            } => {
                tracing::info!(%status, reason, "the subscription has ended; subscribing again");
                Ok(Turn::Again)
            }
            SubscriptionEnd::Done { status, reason } => {
                let cut = cut(track, status, &reason);
                if !self.wait {
                    return Err(cut);
                }
                self.link.tell(format_args!("Subscribing again: {cut}"));
                Ok(Turn::Again)
            }
            // A publisher that was started again may count from the beginning.
            SubscriptionEnd::Malformed(why) if self.wait => {
                self.link.tell(format_args!(
                    "The track {track} is malformed: {}. Subscribing to it again.",
                    plain(why)
                ));
                Ok(Turn::Again)
            }
            SubscriptionEnd::Malformed(why) => Err(CliError::MalformedTrack {
                track: track.to_string(),
                reason: plain(why),
            }),
            _ => Ok(Turn::SessionEnded),
        }
    }

    /// The line for who waits for `track`.
    fn waiting(&self, track: &FullTrackName, error: &SubscribeError) -> String {
        let authority = self.link.authority();
        match error {
            SubscribeError::TimedOut => {
                format!("Waiting: nobody answers for {track} at {authority}.")
            }
            _ => format!(
                "Waiting: broadcast {} is not at {authority} yet{}.",
                track.namespace(),
                or_lacks(track)
            ),
        }
    }

    /// The failure for who does not wait for it.
    fn missing(&self, track: &FullTrackName, error: &SubscribeError) -> CliError {
        let authority = self.link.authority();
        match error {
            SubscribeError::TimedOut => CliError::Unanswered {
                track: track.to_string(),
                authority,
            },
            _ => CliError::NotFound {
                broadcast: track.namespace().to_string(),
                authority,
                or_lacks: or_lacks(track),
            },
        }
    }

    fn refused(&self, track: &FullTrackName, error: &SubscribeError) -> CliError {
        let next = match error {
            SubscribeError::Rejected {
                code: SubscribeErrorCode::INVALID_RANGE,
                ..
            } => "Choose a range that has not passed with `--filter`.",
            _ => "Ask the relay's operator for access.",
        };
        CliError::Refused {
            authority: self.link.authority(),
            what: format!("the subscription to {track}"),
            reason: plain(error),
            next,
        }
    }
}

/// What else may be the cause when there is no such track: a relay says the same of both.
fn or_lacks(track: &FullTrackName) -> String {
    match track.name().as_ref() == CATALOG_TRACK.as_bytes() {
        true => String::new(),
        false => format!(", or there is no {track}"),
    }
}

/// Why some of a track may not have come before the end of its subscription.
pub(super) fn unfinished(track: &FullTrackName, end: &SubscriptionEnd) -> Option<String> {
    match end {
        SubscriptionEnd::Done {
            status: PublishDoneCode::TRACK_ENDED | PublishDoneCode::SUBSCRIPTION_ENDED,
            ..
        } => None,
        SubscriptionEnd::Done { status, reason } => Some(plain(cut(track, *status, reason))),
        SubscriptionEnd::Malformed(why) => Some(plain(why)),
        _ => Some("the session ended first".to_owned()),
    }
}

/// What to say of a subscription that the other side ended before the track did.
fn cut(track: &FullTrackName, status: PublishDoneCode, reason: &str) -> CliError {
    let track = track.to_string();
    let reason = match reason.is_empty() {
        true => status.to_string(),
        false => format!("{status}, {}", plain(reason)),
    };
    let next = match status {
        PublishDoneCode::TOO_FAR_BEHIND => {
            return CliError::Cut {
                track,
                reason,
                next: "Use a faster network, or give up what is late with `--delivery-timeout`.",
            };
        }
        // A relay says so, too, when the publisher is gone.
        PublishDoneCode::INTERNAL_ERROR => "Check that its publisher is running.",
        PublishDoneCode::UNAUTHORIZED => "Ask the relay's operator for access.",
        PublishDoneCode::MALFORMED_TRACK => "Tell whoever publishes it.",
        _ => "Look at the log of the relay.",
    };
    CliError::EndedEarly {
        track,
        reason,
        next,
    }
}

/// What to do when a subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing: the track or the range that was asked for has ended.
    Ended,
    /// Subscribe again; not at once where the subscription did not last.
    Again,
    /// Connect again.
    SessionEnded,
}

/// What can follow when there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The track can still appear.
    Again,
    /// Only another session takes requests.
    Session,
    /// Asking again changes nothing.
    Nothing,
}

impl Next {
    fn after(error: &SubscribeError) -> Self {
        match error {
            // After GOAWAY the session is still there for a moment, but takes no requests.
            SubscribeError::SessionEnded
            | SubscribeError::Session(CallError::GoingAway | CallError::Closed) => Self::Session,
            SubscribeError::Rejected {
                code:
                    SubscribeErrorCode::TRACK_DOES_NOT_EXIST
                    | SubscribeErrorCode::TIMEOUT
                    | SubscribeErrorCode::INTERNAL_ERROR,
                ..
            }
            | SubscribeError::TimedOut => Self::Again,
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_too_slow_is_told_of_missing_objects() {
        let track = "live#video".parse().unwrap();
        let gone = cut(
            &track,
            PublishDoneCode::INTERNAL_ERROR,
            "the publisher is gone",
        );
        assert_eq!(
            gone.to_string(),
            "The subscription to live#video ended: INTERNAL_ERROR (0x0), the publisher is gone. \
             Check that its publisher is running."
        );
        let slow = cut(&track, PublishDoneCode::TOO_FAR_BEHIND, "");
        assert!(slow.to_string().contains("objects are missing"), "{slow}");
    }

    #[test]
    fn what_may_pass_is_waited_for() {
        let rejected = |code| SubscribeError::Rejected {
            code,
            reason: String::new(),
        };
        for (error, next) in [
            (
                rejected(SubscribeErrorCode::TRACK_DOES_NOT_EXIST),
                Next::Again,
            ),
            (rejected(SubscribeErrorCode::TIMEOUT), Next::Again),
            (SubscribeError::TimedOut, Next::Again),
            (SubscribeError::SessionEnded, Next::Session),
            (CallError::GoingAway.into(), Next::Session),
            (CallError::Closed.into(), Next::Session),
            (CallError::QueueFull.into(), Next::Nothing),
            (rejected(SubscribeErrorCode::UNAUTHORIZED), Next::Nothing),
        ] {
            assert_eq!(Next::after(&error), next, "{error}");
        }
    }
}
