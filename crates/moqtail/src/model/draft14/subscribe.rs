//! Messages of subscriptions asked for by the subscriber, and of TRACK_STATUS (draft-14 §9.7 to §9.11, §9.20 to §9.22).

use super::coding::wire_fields;
use crate::model::{RequestError, Subscribe, SubscribeOk, SubscribeUpdate};

wire_fields!(Subscribe {
    request_id: "Request ID",
    track: "Full Track Name",
    subscriber_priority: "Subscriber Priority",
    group_order: "Group Order",
    forward: "Forward",
    filter: "Filter Type",
    parameters: "Parameters",
});

wire_fields!(SubscribeOk {
    request_id: "Request ID",
    track_alias: "Track Alias",
    expires_ms: "Expires",
    group_order: "Group Order",
    largest: "Largest Location",
    parameters: "Parameters",
});

// Every *_ERROR message has these fields.
wire_fields!(RequestError<C> {
    request_id: "Request ID",
    code: "Error Code",
    reason: "Error Reason",
});

wire_fields!(SubscribeUpdate {
    request_id: "Request ID",
    subscription: "Subscription Request ID",
    start: "Start Location",
    end_group: "End Group",
    subscriber_priority: "Subscriber Priority",
    forward: "Forward",
    parameters: "Parameters",
});
