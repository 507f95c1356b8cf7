//! `moqtail subscribe --track NAME`: the objects of one track, as they are.

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moqtail::{
    client::{Client, Object, SubscribeOptions},
    model::{Filter, FullTrackName, Location, ObjectStatus},
};
use serde::Serialize;

use super::{
    following::keep_following,
    limit::Limit,
    losses::Losses,
    ordered::{Late, Ordered},
    waiting::{Asker, NotSubscribed, Turn},
};
use crate::{args::Format, errors::CliError, link::Link, output::Output};

/// How long what has come waits for an object before it: streams overtake each other by little.
const PATIENCE: Duration = Duration::from_millis(200);

/// What to write where.
pub(super) struct Objects<'a> {
    pub(super) link: &'a Link,
    pub(super) track: FullTrackName,
    pub(super) options: SubscribeOptions,
    pub(super) wait: bool,
    pub(super) format: Format,
    /// What came last.
    pub(super) last: Option<Location>,
}

impl Objects<'_> {
    /// Writes objects to `out` until the track ends, `limit` is reached or `stop` is ready.
    pub(super) async fn run(
        mut self,
        out: &Path,
        limit: &mut Limit,
        stop: impl Future,
    ) -> Result<(), CliError> {
        let mut output = Output::open(out).await?;
        let following = keep_following(self.link, async |client| {
            self.follow(client, &mut output, limit).await
        });
        tokio::select! {
            biased;
            followed = following => return followed,
            _ = stop => {}
        }
        output.finish().await
    }

    /// Writes the objects of one subscription.
    async fn follow(
        &mut self,
        client: &Client,
        output: &mut Output,
        limit: &mut Limit,
    ) -> Result<Turn, CliError> {
        let mut asker = Asker::new(self.link, self.wait);
        let subscription = match asker
            .subscribe(client, &self.track, self.options.clone())
            .await
        {
            Ok(subscription) => subscription,
            Err(NotSubscribed::SessionEnded) => return Ok(Turn::SessionEnded),
            Err(NotSubscribed::RangePassed(error)) => return self.passed(error),
            Err(NotSubscribed::Failed(error)) => return Err(error),
        };
        let losses = Losses::new(
            self.link,
            &self.track,
            self.options.delivery_timeout.is_some(),
        );
        let mut objects = Ordered::new(subscription, losses, PATIENCE, Late::Deliver);
        while let Some(object) = objects.next().await {
            self.last = Some(object.location());
            self.options.filter = rest(self.options.filter, object.location());
            let Some(bytes) = render(&object, self.format) else {
                continue;
            };
            let enough = limit.reached();
            output.write(bytes).await?;
            if enough {
                return Ok(Turn::Ended);
            }
        }
        asker.turn(&self.track, objects.end())
    }

    /// All of the range was published before it was asked for: where some of it has come, while there was no session.
    fn passed(&self, error: CliError) -> Result<Turn, CliError> {
        let last = self.last.ok_or(error)?;
        self.link.tell(format_args!(
            "The range has passed: what of it came after {last} while there was no session is missing."
        ));
        Ok(Turn::Ended)
    }
}

/// The filter for what is still wanted once `seen` has come: the rest of a range, else what is new.
fn rest(filter: Filter, seen: Location) -> Filter {
    match filter {
        Filter::AbsoluteRange { end_group, .. } => Filter::AbsoluteRange {
            start: Location::new(seen.group, seen.object + 1),
            end_group,
        },
        _ => Filter::LargestObject,
    }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use moqtail::model::{DatagramBody, Extensions, ObjectDatagram, TrackAlias};

    use super::*;

    fn object(body: DatagramBody) -> Object {
        let datagram = ObjectDatagram {
            track_alias: TrackAlias(0),
            group: 7,
            object: 3,
            object_id_absent: false,
            publisher_priority: 128,
            end_of_group: false,
            extensions: Extensions::default(),
            body,
        };
        datagram.into()
    }

    fn rendered(body: DatagramBody, format: Format) -> Option<String> {
        render(&object(body), format).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_payload_is_text_if_it_can_be() {
        let payload = |bytes: &'static [u8]| DatagramBody::Payload(Bytes::from_static(bytes));
        assert_eq!(
            rendered(payload(b"a \"b\""), Format::Jsonl).unwrap(),
            "{\"group\":7,\"object\":3,\"bytes\":5,\"text\":\"a \\\"b\\\"\"}\n"
        );
        assert_eq!(
            rendered(payload(b"\xff"), Format::Jsonl).unwrap(),
            "{\"group\":7,\"object\":3,\"bytes\":1,\"base64\":\"/w==\"}\n"
        );
        assert_eq!(rendered(payload(b"a"), Format::Raw).unwrap(), "a");
        assert_eq!(rendered(payload(b"a"), Format::Lines).unwrap(), "a\n");
    }

    #[test]
    fn a_status_is_no_payload() {
        let end = || DatagramBody::Status(ObjectStatus::EndOfGroup);
        assert_eq!(
            rendered(end(), Format::Jsonl).unwrap(),
            "{\"group\":7,\"object\":3,\"bytes\":0,\"status\":\"end-of-group\"}\n"
        );
        assert_eq!(rendered(end(), Format::Raw), None);
        assert_eq!(rendered(end(), Format::Lines), None);
    }

    #[test]
    fn after_a_break_only_the_rest_of_a_range_is_wanted() {
        let start = Location::new(5, 0);
        let range = Filter::AbsoluteRange {
            start,
            end_group: 9,
        };
        assert_eq!(
            rest(range, Location::new(6, 2)),
            Filter::AbsoluteRange {
                start: Location::new(6, 3),
                end_group: 9
            }
        );
        assert_eq!(rest(Filter::NextGroupStart, start), Filter::LargestObject);
    }
}
