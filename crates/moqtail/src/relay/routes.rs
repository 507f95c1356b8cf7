//! Which session publishes which namespace, found by prefix (draft-14 §8.4).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::SessionId;
use crate::{model::TrackNamespace, session::RequestHandle};

/// A tree over namespace fields; each node lists its publishers in the order of their announcements.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    publishers: Vec<(SessionId, RequestHandle)>,
    children: BTreeMap<Bytes, Self>,
}

impl Routes {
    /// Notes that `session` publishes `namespace` by the request `handle`.
    pub(crate) fn insert(
        &mut self,
        namespace: &TrackNamespace,
        session: SessionId,
        handle: RequestHandle,
    ) {
        let mut node = self;
        for field in namespace.fields() {
            node = node.children.entry(field.clone()).or_default();
        }
        node.publishers.push((session, handle));
    }

    /// Forgets one announcement; nodes that say nothing any more go with it.
    pub(crate) fn remove(
        &mut self,
        namespace: &TrackNamespace,
        session: SessionId,
        handle: RequestHandle,
    ) {
        self.remove_below(namespace.fields(), session, handle);
    }

    fn remove_below(&mut self, fields: &[Bytes], session: SessionId, handle: RequestHandle) {
        let [first, rest @ ..] = fields else {
            self.publishers.retain(|p| *p != (session, handle));
            return;
        };
        let Some(child) = self.children.get_mut(first) else {
            return;
        };
        child.remove_below(rest, session, handle);
        if child.publishers.is_empty() && child.children.is_empty() {
            self.children.remove(first);
        }
    }

    /// Every session that published `namespace` or a prefix of it: the longest match first, then the newest; each once.
    pub(crate) fn matching(&self, namespace: &TrackNamespace) -> Vec<SessionId> {
        let mut path = vec![self];
        let mut node = self;
        for field in namespace.fields() {
            let Some(child) = node.children.get(field) else {
                break;
            };
            path.push(child);
            node = child;
        }
        let mut found = Vec::new();
        for (session, _) in path
            .iter()
            .rev()
            .flat_map(|node| node.publishers.iter().rev())
        {
            if !found.contains(session) {
                found.push(*session);
            }
        }
        found
    }
}
