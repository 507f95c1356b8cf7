//! Messages of subscriptions offered by the publisher, and PUBLISH_DONE (draft-14 §9.12 to §9.15).

use super::coding::wire_fields;
use crate::model::{Publish, PublishDone, PublishOk};

wire_fields!(PublishDone {
    request_id: "Request ID",
    status: "Status Code",
    stream_count: "Stream Count",
    reason: "Error Reason",
});

wire_fields!(Publish {
    request_id: "Request ID",
    track: "Full Track Name",
    track_alias: "Track Alias",
    group_order: "Group Order",
    largest: "Largest Location",
    forward: "Forward",
    parameters: "Parameters",
});

wire_fields!(PublishOk {
    request_id: "Request ID",
    forward: "Forward",
    subscriber_priority: "Subscriber Priority",
    group_order: "Group Order",
    filter: "Filter Type",
    parameters: "Parameters",
});
