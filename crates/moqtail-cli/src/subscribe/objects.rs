//! `moqtail subscribe --track NAME`: the objects of one track, as they are.

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moqtail::{
    client::{Client, Object, SubscribeOptions, SubscriptionEnd},
    model::{Filter, FullTrackName, ObjectStatus, PublishDoneCode},
};
use serde::Serialize;

use super::{
    limit::Limit,
    ordered::{Late, Ordered},
    waiting::{Asker, NotSubscribed},
};
use crate::{args::Format, errors::CliError, link::Link, logging::say, output::Output};

/// How long a later group waits for an earlier one: streams overtake each other by little.
const PATIENCE: Duration = Duration::from_millis(200);

/// What to write where.
pub(super) struct Objects<'a> {
    pub(super) link: &'a Link,
    pub(super) track: FullTrackName,
    pub(super) options: SubscribeOptions,
    pub(super) wait: bool,
    pub(super) format: Format,
}

impl Objects<'_> {
    /// Writes objects to `out` until the track ends or `limit` is reached.
    pub(super) async fn run(mut self, out: &Path, limit: &mut Limit) -> Result<(), CliError> {
        let mut output = Output::open(out).await?;
        let mut asker = Asker::new(self.link, self.wait);
        let mut client: Option<Client> = None;
        loop {
            let session = match &client {
                Some(client) => client.clone(),
                None => client.insert(self.link.connect().await?).clone(),
            };
            let subscription = match asker
                .subscribe(&session, &self.track, self.options.clone())
                .await
            {
                Ok(subscription) => subscription,
                Err(NotSubscribed::Failed(error)) => return Err(error),
                Err(NotSubscribed::SessionEnded) => {
                    self.lost(&session).await?;
                    client = None;
                    continue;
                }
            };
            let mut objects = Ordered::new(subscription, PATIENCE, Late::Deliver);
            while let Some(object) = objects.next().await {
                let Some(bytes) = render(&object, self.format) else {
                    continue;
                };
                output.write(&bytes).await?;
                if limit.reached() {
                    return Ok(());
                }
            }
            match objects.end() {
                SubscriptionEnd::Done { status, reason } if is_end(status) => {
                    tracing::info!(%status, reason, "the track has ended");
                    return Ok(());
                }
                SubscriptionEnd::Done { status, reason } => {
                    say(format_args!(
                        "Subscribing again: the subscription ended with {status} {reason}."
                    ));
                }
                _ => {
                    self.lost(&session).await?;
                    client = None;
                }
            }
            // What was seen is not wanted again.
            self.options.filter = Filter::LargestObject;
        }
    }

    /// The session ended: fails, or says that there will be another one.
    async fn lost(&self, client: &Client) -> Result<(), CliError> {
        let reason = client.closed().await;
        let error = self.link.session_ended(&reason);
        if !self.link.may_reconnect(&reason) {
            return Err(error);
        }
        say(format_args!("Connecting again: {error}"));
        Ok(())
    }
}

/// The publisher will send no more, or the range that was asked for is complete.
pub(super) fn is_end(status: PublishDoneCode) -> bool {
    matches!(
        status,
        PublishDoneCode::TRACK_ENDED | PublishDoneCode::SUBSCRIPTION_ENDED
    )
}

/// One line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    group: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    subgroup: Option<u64>,
    object: u64,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// The bytes to write for an object; `None` where the form has no place for it.
fn render(object: &Object, format: Format) -> Option<Vec<u8>> {
    let normal = object.status == ObjectStatus::Normal;
    let payload = &object.payload;
    match format {
        Format::Raw => normal.then(|| payload.to_vec()),
        Format::Lines => normal.then(|| [payload, &b"\n"[..]].concat()),
        Format::Jsonl => {
            let text = std::str::from_utf8(payload).ok();
            let line = Line {
                group: object.group,
                subgroup: object.subgroup,
                object: object.object,
                bytes: payload.len(),
                status: status_name(object.status),
                text: text.filter(|_| normal),
                base64: text.is_none().then(|| STANDARD.encode(payload)),
            };
            let mut json = serde_json::to_vec(&line).ok()?;
            json.push(b'\n');
            Some(json)
        }
    }
}

fn status_name(status: ObjectStatus) -> Option<&'static str> {
    match status {
        ObjectStatus::Normal => None,
        ObjectStatus::DoesNotExist => Some("does-not-exist"),
        ObjectStatus::EndOfGroup => Some("end-of-group"),
        ObjectStatus::EndOfTrack => Some("end-of-track"),
    }
}
