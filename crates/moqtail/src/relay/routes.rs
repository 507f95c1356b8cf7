//! Which session publishes which namespace, found by prefix (draft-14 §8.4).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::SessionId;
use crate::model::TrackNamespace;

/// Number of an announcement; later ones are higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Announcement(u64);

/// Every namespace that is announced.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    root: Node,
    announcements: u64,
}

/// A tree over namespace fields; each node lists its publishers in the order of their announcements.
#[derive(Debug, Default)]
struct Node {
    publishers: BTreeMap<Announcement, SessionId>,
    children: BTreeMap<Bytes, Self>,
}

impl Routes {
    /// Notes that `session` publishes `namespace`.
    pub(crate) fn insert(
        &mut self,
        namespace: &TrackNamespace,
        session: SessionId,
    ) -> Announcement {
        let mut node = &mut self.root;
        for field in namespace.fields() {
            node = node.children.entry(field.clone()).or_default();
        }
        self.announcements += 1;
        let announcement = Announcement(self.announcements);
        node.publishers.insert(announcement, session);
        announcement
    }

    /// Forgets one announcement; nodes that say nothing any more go with it.
    pub(crate) fn remove(&mut self, namespace: &TrackNamespace, announcement: Announcement) {
        self.root.remove_below(namespace.fields(), announcement);
    }

    /// Nobody announces anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.publishers.is_empty() && self.root.children.is_empty()
    }

    /// Sessions that published `namespace` or a prefix of it: the longest match first, then the newest; each once.
    pub(crate) fn matching(&self, namespace: &TrackNamespace) -> impl Iterator<Item = SessionId> {
        let mut path = vec![&self.root];
        let mut node = &self.root;
        for field in namespace.fields() {
            let Some(child) = node.children.get(field) else {
                break;
            };
            path.push(child);
            node = child;
        }
        let mut found = BTreeSet::new();
        path.into_iter()
            .rev()
            .flat_map(|node| node.publishers.values().rev())
            .copied()
            .filter(move |session| found.insert(*session))
    }
}

impl Node {
    fn remove_below(&mut self, fields: &[Bytes], announcement: Announcement) {
        let [first, rest @ ..] = fields else {
            self.publishers.remove(&announcement);
            return;
        };
        let Some(child) = self.children.get_mut(first) else {
            return;
        };
        child.remove_below(rest, announcement);
        if child.publishers.is_empty() && child.children.is_empty() {
            self.children.remove(first);
        }
    }
}
