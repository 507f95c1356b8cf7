//! What draft 14 lets one side say, by what it has said and heard so far.

use std::collections::BTreeMap;

use crate::model::{
    ClientSetup, ControlMessage, Filter, FullTrackName, Location, MAX_VARINT, NamespacePrefix,
    RequestId, ServerSetup, TrackAlias, TrackNamespace,
};

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The side whose rules these are.
    Me,
    /// The other one.
    Peer,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Subscribe(FullTrackName),
    Publish(FullTrackName),
    Namespace(TrackNamespace),
    Fetch,
    TrackStatus,
    Prefix(NamespacePrefix),
}

/// Which objects a subscription asks for, and how, as far as this side knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) filter: Filter,
    pub(super) start: Location,
    pub(super) end_group: Option<u64>,
    pub(super) priority: u8,
    pub(super) forward: bool,
}

/// A request that has not ended, or is not answered.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) what: What,
    pub(super) by: By,
    /// Whether it was accepted.
    pub(super) answer: Option<bool>,
    /// By UNSUBSCRIBE, PUBLISH_DONE, PUBLISH_NAMESPACE_DONE or PUBLISH_NAMESPACE_CANCEL.
    pub(super) ended: bool,
    pub(super) alias: Option<TrackAlias>,
    pub(super) largest: Option<Location>,
    pub(super) asked: Asked,
}

impl Request {
    fn new(what: What, by: By) -> Self {
        let asked = Asked {
            filter: Filter::LargestObject,
            start: Location::default(),
            end_group: None,
            priority: 0,
            forward: false,
        };
        Self {
            what,
            by,
            answer: None,
            ended: false,
            alias: None,
            largest: None,
            asked,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.answer != Some(false) && !self.ended
    }

    /// Whether it is a subscription in which `by` is the publisher, and to which track.
    pub(super) fn published_by(&self, by: By) -> Option<&FullTrackName> {
        match &self.what {
            What::Publish(track) if self.by == by => Some(track),
            What::Subscribe(track) if self.by != by => Some(track),
            _ => None,
        }
    }

    /// Whether messages about the subscription can be sent by its `publisher`, or else by its subscriber: the one who asks
    /// need not wait for the answer.
    fn is_begun_for(&self, me: By) -> bool {
        self.is_live() && (self.by == me || self.answer == Some(true))
    }

    fn resolve(&mut self) {
        // draft-14 §9.7
        let first = match (self.asked.filter, self.largest) {
            (Filter::AbsoluteStart { start } | Filter::AbsoluteRange { start, .. }, _) => start,
            (_, None) => Location::default(),
            (Filter::LargestObject, Some(Location { group, object })) if object < MAX_VARINT => {
                Location::new(group, object + 1)
            }
            (_, Some(Location { group, .. })) if group < MAX_VARINT => Location::new(group + 1, 0),
            _ => Location::new(MAX_VARINT, MAX_VARINT),
        };
        self.asked.start = self.asked.start.max(first);
    }

    fn ask(&mut self, filter: Filter, priority: u8, forward: bool) {
        let (start, end_group) = match filter {
            Filter::AbsoluteStart { start } => (start, None),
            Filter::AbsoluteRange { start, end_group } => (start, Some(end_group)),
            _ => (Location::default(), None),
        };
        self.asked = Asked {
            filter,
            start,
            end_group,
            priority,
            forward,
        };
    }
}

type Verdict = Result<(), String>;

fn insist(legal: bool, why: &str) -> Verdict {
    if legal { Ok(()) } else { Err(why.to_owned()) }
}

/// What one side has said and heard.
#[derive(Debug)]
pub(super) struct Rules {
    /// 1: its Request IDs are odd.
    parity: u64,
    /// Who has said its SETUP.
    set_up: [bool; 2],
    made: [u64; 2],
    /// Exclusive limits of the Request IDs of both.
    limits: [u64; 2],
    blocked_at: Option<u64>,
    gone: [bool; 2],
    requests: BTreeMap<RequestId, Request>,
    /// How many requests of the peer other than SUBSCRIBE_UPDATE were answered.
    pub(super) answers: u64,
}

/// The parts of `message` if it makes a request; `None` as What: an update.
fn as_request(message: &ControlMessage, by: By) -> Option<(RequestId, Option<Request>)> {
    use ControlMessage as M;
    let request = |what| Some(Request::new(what, by));
    Some(match message {
        M::Subscribe(m) => {
            let mut request = Request::new(What::Subscribe(m.track.clone()), by);
            request.ask(m.filter, m.subscriber_priority, m.forward);
            (m.request_id, Some(request))
        }
        M::Publish(m) => {
            let request = Request {
                alias: Some(m.track_alias),
                largest: m.largest,
                ..Request::new(What::Publish(m.track.clone()), by)
            };
            (m.request_id, Some(request))
        }
        M::SubscribeUpdate(m) => (m.request_id, None),
        M::PublishNamespace(m) => (m.request_id, request(What::Namespace(m.namespace.clone()))),
        M::Fetch(m) => (m.request_id, request(What::Fetch)),
        M::TrackStatus(m) => (m.request_id, request(What::TrackStatus)),
        M::SubscribeNamespace(m) => (m.request_id, request(What::Prefix(m.prefix.clone()))),
        _ => return None,
    })
}

type IsKind = fn(&What) -> bool;

/// What `message` answers: the Request ID, whether it accepts, and the kind of request.
fn as_answer(message: &ControlMessage) -> Option<(RequestId, bool, IsKind)> {
    use ControlMessage as M;
    let subscribe: IsKind = |what| matches!(what, What::Subscribe(_));
    let publish: IsKind = |what| matches!(what, What::Publish(_));
    let namespace: IsKind = |what| matches!(what, What::Namespace(_));
    let status: IsKind = |what| matches!(what, What::TrackStatus);
    let prefix: IsKind = |what| matches!(what, What::Prefix(_));
    let fetch: IsKind = |what| matches!(what, What::Fetch);
    Some(match message {
        M::SubscribeOk(m) => (m.request_id, true, subscribe),
        M::SubscribeError(m) => (m.request_id, false, subscribe),
        M::PublishOk(m) => (m.request_id, true, publish),
        M::PublishError(m) => (m.request_id, false, publish),
        M::PublishNamespaceOk(id) => (*id, true, namespace),
        M::PublishNamespaceError(m) => (m.request_id, false, namespace),
        M::FetchOk(m) => (m.request_id, true, fetch),
        M::FetchError(m) => (m.request_id, false, fetch),
        M::TrackStatusOk(m) => (m.request_id, true, status),
        M::TrackStatusError(m) => (m.request_id, false, status),
        M::SubscribeNamespaceOk(id) => (*id, true, prefix),
        M::SubscribeNamespaceError(m) => (m.request_id, false, prefix),
        _ => return None,
    })
}

impl Rules {
    /// Those of the side with Request IDs of this parity, 0 of a client.
    pub(super) fn new(parity: u64) -> Self {
        Self {
            parity,
            set_up: [false; 2],
            made: [0; 2],
            limits: [0; 2],
            blocked_at: None,
            gone: [false; 2],
            requests: BTreeMap::new(),
            answers: 0,
        }
    }

    /// The Request ID of the next request.
    pub(super) fn next_id(&self) -> RequestId {
        RequestId(2 * self.made[By::Me as usize] + self.parity)
    }

    /// Requests that can be made with the limit that stands.
    pub(super) fn credit(&self) -> u64 {
        let left = self.limits[By::Me as usize].saturating_sub(self.next_id().0);
        left.div_ceil(2)
    }

    /// Exclusive limit that the peer was given.
    pub(super) fn given(&self) -> u64 {
        self.limits[By::Peer as usize]
    }

    /// Exclusive limit that this side was given.
    pub(super) fn limit(&self) -> u64 {
        self.limits[By::Me as usize]
    }

    pub(super) fn is_gone(&self, by: By) -> bool {
        self.gone[by as usize]
    }

    /// All requests that have not ended or are not answered.
    pub(super) fn requests(&self) -> impl DoubleEndedIterator<Item = (RequestId, &Request)> {
        self.requests.iter().map(|(id, request)| (*id, request))
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Request> {
        self.requests.get(&id)
    }

    /// Requests of one side that await their answer.
    pub(super) fn unanswered(&self, by: By) -> impl Iterator<Item = (RequestId, &Request)> {
        self.requests()
            .filter(move |(_, request)| request.by == by && request.answer.is_none())
    }

    /// Subscriptions whose `publisher` may say something about them, if that is me, or else the subscriber.
    pub(super) fn begun(&self, publisher: By) -> impl Iterator<Item = (RequestId, &Request)> {
        self.requests().filter(move |(_, request)| {
            request.published_by(publisher).is_some() && request.is_begun_for(By::Me)
        })
    }

    /// Whether draft 14 lets this side say `message` now.
    pub(super) fn check(&self, message: &ControlMessage) -> Verdict {
        use ControlMessage as M;
        // draft-14 §9.3
        let first = match message {
            M::ClientSetup(_) => self.parity == 0,
            M::ServerSetup(_) => self.parity == 1 && self.set_up[By::Peer as usize],
            _ => false,
        };
        if first {
            return insist(!self.set_up[By::Me as usize], "a second SETUP");
        }
        insist(self.set_up == [true; 2], "before both SETUP messages")?;
        if let Some((id, _)) = as_request(message, By::Me) {
            // draft-14 §9.1, §9.5
            insist(id == self.next_id(), "not the next Request ID")?;
            insist(id.0 < self.limit(), "no credit")?;
        }
        if let Some((id, _, kind)) = as_answer(message) {
            // draft-14 §5.1, §6.2
            let owed = self.requests.get(&id).is_some_and(|request| {
                request.by == By::Peer && request.answer.is_none() && kind(&request.what)
            });
            insist(owed, "an answer that is not owed")?;
        }
        match message {
            M::ClientSetup(_) | M::ServerSetup(_) => insist(false, "SETUP of the other side"),
            // draft-14 §9.4
            M::Goaway(m) => {
                insist(!self.is_gone(By::Me), "a second GOAWAY")?;
                let from_server = self.parity == 1;
                insist(from_server || m.new_session_uri.is_empty(), "a URI")
            }
            // draft-14 §9.5
            M::MaxRequestId(m) => insist(m.limit > self.given(), "MAX_REQUEST_ID not raised"),
            // draft-14 §9.6
            M::RequestsBlocked(m) => {
                insist(m.limit == self.limit(), "blocked at another limit")?;
                insist(self.credit() == 0, "blocked with credit")?;
                insist(self.blocked_at != Some(m.limit), "blocked twice")
            }
            M::Subscribe(m) => {
                self.check_new()?;
                check_filter(m.filter)?;
                // draft-14 §9.7
                let mut others = self.of_track(By::Peer, &m.track);
                let second = others.any(|r| r.by == By::Me || r.answer == Some(true));
                insist(!second, "a second subscription of the track")
            }
            M::Publish(m) => {
                self.check_new()?;
                let second = self.of_track(By::Me, &m.track).next().is_some();
                insist(!second, "the track is published in the session")?;
                self.check_alias(m.track_alias, &m.track)
            }
            M::SubscribeOk(m) => match self.requests.get(&m.request_id).map(|r| &r.what) {
                Some(What::Subscribe(track)) => self.check_alias(m.track_alias, track),
                _ => Ok(()),
            },
            M::PublishOk(m) => {
                check_filter(m.filter)?;
                let offer = self.requests.get(&m.request_id).filter(|r| !r.ended);
                // draft-14 §9.7
                let second = offer
                    .and_then(|offer| offer.published_by(By::Peer))
                    .is_some_and(|track| {
                        let mut others = self.of_track(By::Peer, track);
                        others.any(|other| other.answer == Some(true))
                    });
                insist(!second, "a second subscription of the track")
            }
            M::SubscribeUpdate(m) => {
                let request = self.begun_with(m.subscription, By::Peer)?;
                // draft-14 §9.10
                insist(m.start >= request.asked.start, "start lowered")?;
                let end = m.end_group.unwrap_or(MAX_VARINT);
                let raised = end > request.asked.end_group.unwrap_or(MAX_VARINT);
                insist(!raised, "end raised")?;
                insist(end >= m.start.group, "end before start")
            }
            M::Unsubscribe(id) => self.begun_with(*id, By::Peer).map(drop),
            M::PublishDone(m) => self.begun_with(m.request_id, By::Me).map(drop),
            M::PublishNamespace(m) => {
                self.check_new()?;
                let second = self.announced(By::Me, &m.namespace).next().is_some();
                insist(!second, "announced already")
            }
            M::PublishNamespaceDone(name) => {
                let known = self.announced(By::Me, name).next().is_some();
                insist(known, "not announced")
            }
            M::PublishNamespaceCancel(m) => {
                let mut of_peer = self.announced(By::Peer, &m.namespace);
                let accepted = of_peer.any(|request| request.answer == Some(true));
                insist(accepted, "not accepted")
            }
            M::Fetch(_) | M::TrackStatus(_) => self.check_new(),
            M::SubscribeNamespace(_) => {
                self.check_new()?;
                // draft-14 §9.28: no other one that could overlap
                let mut mine = self.requests.values().filter(|r| r.by == By::Me);
                insist(
                    !mine.any(|r| matches!(r.what, What::Prefix(_))),
                    "prefixes overlap",
                )
            }
            M::UnsubscribeNamespace(prefix) => {
                let what = What::Prefix(prefix.clone());
                let mut mine = self.requests.values().filter(|r| r.by == By::Me);
                insist(mine.any(|r| r.what == what), "no such prefix")
            }
            M::FetchCancel(id) => {
                let request = self.requests.get(id).filter(|r| r.by == By::Me);
                let fetch = request.is_some_and(|r| r.what == What::Fetch && !r.ended);
                insist(fetch, "no such FETCH")
            }
            _ => Ok(()),
        }
    }

    fn check_new(&self) -> Verdict {
        // draft-14 §9.4
        insist(!self.is_gone(By::Peer), "a new request after GOAWAY")
    }

    /// Live subscriptions of a track in which `publisher` is that.
    fn of_track(&self, publisher: By, track: &FullTrackName) -> impl Iterator<Item = &Request> {
        self.requests
            .values()
            .filter(move |r| r.is_live() && r.published_by(publisher) == Some(track))
    }

    fn check_alias(&self, alias: TrackAlias, track: &FullTrackName) -> Verdict {
        // draft-14 §9.8, §9.13
        let mut owners = self.requests.values().filter(|request| {
            request.is_live()
                && request.alias == Some(alias)
                && request
                    .published_by(By::Me)
                    .is_some_and(|other| other != track)
        });
        insist(owners.next().is_none(), "alias of another track")
    }

    /// The subscription with this ID about which this side may say something.
    fn begun_with(&self, id: RequestId, publisher: By) -> Result<&Request, String> {
        self.requests
            .get(&id)
            .filter(|r| r.published_by(publisher).is_some() && r.is_begun_for(By::Me))
            .ok_or_else(|| format!("about {id}, which is no such subscription or has ended"))
    }

    fn announced(&self, by: By, name: &TrackNamespace) -> impl Iterator<Item = &Request> {
        self.requests.values().filter(move |request| {
            request.by == by
                && request.is_live()
                && matches!(&request.what, What::Namespace(other) if other == name)
        })
    }

    /// `by` says a message. What this side hears about a request that has ended here is ignored.
    pub(super) fn note(&mut self, message: &ControlMessage, by: By) {
        use ControlMessage as M;
        let other = if by == By::Me { By::Peer } else { By::Me };
        if let Some((id, request)) = as_request(message, by) {
            self.made[by as usize] += 1;
            self.requests.extend(request.map(|request| (id, request)));
        }
        if let Some((id, accepted, kind)) = as_answer(message)
            && let Some(request) = self.requests.get_mut(&id)
            && request.by != by
            && kind(&request.what)
        {
            request.answer = Some(accepted);
            self.answers += u64::from(by == By::Me);
        }
        match message {
            M::ClientSetup(ClientSetup { parameters, .. })
            | M::ServerSetup(ServerSetup { parameters, .. }) => {
                self.set_up[by as usize] = true;
                self.limits[1 - by as usize] = parameters.max_request_id();
            }
            M::Goaway(_) => self.gone[by as usize] = true,
            M::MaxRequestId(m) => self.limits[1 - by as usize] = m.limit,
            M::RequestsBlocked(m) if by == By::Me => self.blocked_at = Some(m.limit),
            M::SubscribeOk(m) => self.change(m.request_id, |request| {
                request.alias = Some(m.track_alias);
                request.largest = m.largest;
                request.resolve();
            }),
            M::PublishOk(m) => self.change(m.request_id, |request| {
                request.ask(m.filter, m.subscriber_priority, m.forward);
                request.resolve();
            }),
            M::SubscribeUpdate(m) => self.change(m.subscription, |request| {
                let asked = &mut request.asked;
                asked.start = asked.start.max(m.start);
                asked.end_group = m.end_group;
                asked.priority = m.subscriber_priority;
                asked.forward = m.forward;
            }),
            M::Unsubscribe(id) => self.change(*id, |r| r.ended |= r.published_by(other).is_some()),
            M::FetchCancel(id) => self.change(*id, |r| r.ended |= r.what == What::Fetch),
            M::PublishDone(m) => self.change(m.request_id, |request| {
                request.ended |= request.published_by(by).is_some();
            }),
            M::PublishNamespaceDone(name) => self.end_namespace(name, by, false),
            M::PublishNamespaceCancel(m) => {
                self.end_namespace(&m.namespace, other, true);
            }
            _ => {}
        }
        self.requests.retain(|_, request| {
            let goes_on = match request.what {
                What::Subscribe(_) | What::Publish(_) | What::Namespace(_) => request.is_live(),
                _ => false,
            };
            request.answer.is_none() || goes_on
        });
    }

    fn change(&mut self, id: RequestId, change: impl FnOnce(&mut Request)) {
        if let Some(request) = self.requests.get_mut(&id) {
            change(request);
        }
    }

    /// Ends an announcement of `by`; one that was accepted, if that is meant.
    fn end_namespace(&mut self, name: &TrackNamespace, by: By, accepted: bool) {
        for request in self.requests.values_mut() {
            if request.by == by
                && matches!(&request.what, What::Namespace(other) if other == name)
                && (!accepted || request.answer == Some(true))
            {
                request.ended = true;
            }
        }
    }
}

fn check_filter(filter: Filter) -> Verdict {
    // draft-14 §9.7
    match filter {
        Filter::AbsoluteRange { start, end_group } => {
            insist(end_group >= start.group, "end before start")
        }
        _ => Ok(()),
    }
}
