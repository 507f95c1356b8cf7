//! Messages, answers and options with ordinary values, for tests to change where it matters.

use moqtail::{
    model::{
        ClientSetup, ControlMessage, Filter, FullTrackName, GroupOrder, Location, Parameters,
        Publish, PublishDone, PublishDoneCode, PublishNamespace, PublishOk, RequestError,
        RequestId, ServerSetup, SetupParameter, SetupParameters, StreamHeader, SubgroupHeader,
        SubgroupId, Subscribe, SubscribeOk, SubscribeUpdate, TrackAlias, TrackNamespace, VERSION,
    },
    session::{PublishAnswer, PublishOptions, SubscribeAnswer, SubscribeOptions},
};

/// A track name from its text form, `namespace#name`.
///
/// # Panics
/// The text is no track name.
pub fn track(text: &str) -> FullTrackName {
    text.parse().expect("track name")
}

/// A namespace from its text form.
///
/// # Panics
/// The text is no namespace.
pub fn namespace(text: &str) -> TrackNamespace {
    text.parse().expect("namespace")
}

/// CLIENT_SETUP for draft 14.
pub fn client_setup(parameters: Vec<SetupParameter>) -> ControlMessage {
    let parameters = SetupParameters(parameters);
    ControlMessage::ClientSetup(ClientSetup {
        versions: vec![VERSION],
        parameters,
    })
}

/// SERVER_SETUP for draft 14.
pub fn server_setup(parameters: Vec<SetupParameter>) -> ControlMessage {
    let parameters = SetupParameters(parameters);
    ControlMessage::ServerSetup(ServerSetup {
        version: VERSION,
        parameters,
    })
}

/// SUBSCRIBE from the largest object on.
pub fn subscribe(id: u64, name: &str) -> Subscribe {
    Subscribe {
        request_id: RequestId(id),
        track: track(name),
        subscriber_priority: 128,
        group_order: None,
        forward: true,
        filter: Filter::LargestObject,
        parameters: Parameters::default(),
    }
}

/// SUBSCRIBE_OK of a track at {7, 3}.
pub fn subscribe_ok(id: u64, alias: u64) -> SubscribeOk {
    SubscribeOk {
        request_id: RequestId(id),
        track_alias: TrackAlias(alias),
        expires_ms: 0,
        group_order: GroupOrder::Ascending,
        largest: Some(Location::new(7, 3)),
        parameters: Parameters::default(),
    }
}

/// SUBSCRIBE_UPDATE that leaves a subscription of a track at {7, 3} open-ended.
pub fn subscribe_update(id: u64, subscription: u64) -> SubscribeUpdate {
    SubscribeUpdate {
        request_id: RequestId(id),
        subscription: RequestId(subscription),
        start: Location::new(7, 4),
        end_group: None,
        subscriber_priority: 128,
        forward: true,
        parameters: Parameters::default(),
    }
}

/// PUBLISH of a track at {7, 3}, sending at once.
pub fn publish(id: u64, name: &str, alias: u64) -> Publish {
    Publish {
        request_id: RequestId(id),
        track: track(name),
        track_alias: TrackAlias(alias),
        group_order: GroupOrder::Ascending,
        largest: Some(Location::new(7, 3)),
        forward: true,
        parameters: Parameters::default(),
    }
}

/// PUBLISH_OK from the largest object on.
pub fn publish_ok(id: u64) -> PublishOk {
    PublishOk {
        request_id: RequestId(id),
        forward: true,
        subscriber_priority: 128,
        group_order: GroupOrder::Ascending,
        filter: Filter::LargestObject,
        parameters: Parameters::default(),
    }
}

/// PUBLISH_DONE because the track has ended.
pub fn publish_done(id: u64, stream_count: u64) -> ControlMessage {
    ControlMessage::PublishDone(PublishDone {
        request_id: RequestId(id),
        status: PublishDoneCode::TRACK_ENDED,
        stream_count,
        reason: "over".into(),
    })
}

/// PUBLISH_NAMESPACE without parameters.
pub fn publish_namespace(id: u64, name: &str) -> ControlMessage {
    ControlMessage::PublishNamespace(PublishNamespace {
        request_id: RequestId(id),
        namespace: namespace(name),
        parameters: Parameters::default(),
    })
}

/// The fields of an error message.
pub fn refusal<C>(id: u64, code: C) -> RequestError<C> {
    RequestError {
        request_id: RequestId(id),
        code,
        reason: "no".into(),
    }
}

/// SUBGROUP_HEADER of group 8, subgroup 0.
pub fn subgroup(alias: u64) -> StreamHeader {
    StreamHeader::Subgroup(SubgroupHeader {
        track_alias: TrackAlias(alias),
        group: 8,
        subgroup: SubgroupId::Zero,
        publisher_priority: 128,
        extensions: false,
        end_of_group: false,
    })
}

/// A call to subscribe from the largest object on.
pub fn subscribe_options(name: &str) -> SubscribeOptions {
    SubscribeOptions::new(track(name))
}

/// A call to publish a track at {7, 3}, sending at once.
pub fn publish_options(name: &str, alias: u64) -> PublishOptions {
    PublishOptions {
        track: track(name),
        alias: TrackAlias(alias),
        group_order: GroupOrder::Ascending,
        largest: Some(Location::new(7, 3)),
        forward: true,
        parameters: Parameters::default(),
    }
}

/// The answer to a SUBSCRIBE of a track at {7, 3}.
pub fn subscribe_answer(alias: u64) -> SubscribeAnswer {
    SubscribeAnswer {
        alias: TrackAlias(alias),
        expires: None,
        group_order: GroupOrder::Ascending,
        largest: Some(Location::new(7, 3)),
        parameters: Parameters::default(),
    }
}

/// The answer to a PUBLISH: from the largest object on.
pub fn publish_answer() -> PublishAnswer {
    PublishAnswer {
        forward: true,
        priority: 128,
        group_order: GroupOrder::Ascending,
        filter: Filter::LargestObject,
        parameters: Parameters::default(),
    }
}
