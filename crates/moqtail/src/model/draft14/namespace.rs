//! Messages about namespaces (draft-14 §9.23 to §9.31).

use super::coding::wire_fields;
use crate::model::{PublishNamespace, PublishNamespaceCancel, SubscribeNamespace};

wire_fields!(PublishNamespace {
    request_id: "Request ID",
    namespace: "Track Namespace",
    parameters: "Parameters",
});

wire_fields!(PublishNamespaceCancel {
    namespace: "Track Namespace",
    code: "Error Code",
    reason: "Error Reason",
});

wire_fields!(SubscribeNamespace {
    request_id: "Request ID",
    prefix: "Track Namespace Prefix",
    parameters: "Parameters",
});
