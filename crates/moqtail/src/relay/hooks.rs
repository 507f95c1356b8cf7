//! Where an embedder decides who may do what.

use crate::model::{AuthToken, FullTrackName, TrackNamespace};

/// A session as hooks see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Number of the session in this relay.
    pub id: u64,
    /// PATH with its query; empty for the root.
    pub path: String,
    /// Tokens of CLIENT_SETUP that were sent by value.
    pub tokens: Vec<AuthToken>,
}

/// Answer of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Refuse with UNAUTHORIZED.
    Deny,
}

/// Decisions of the embedder (draft-14 §8.3, §8.4). Called on control messages, never per object; each must return at once.
/// No lock of the relay is held: a hook may ask it.
pub trait Hooks: Send + Sync + 'static {
    /// A client finished SETUP; denied, it is closed with UNAUTHORIZED.
    fn connect(&self, _session: &SessionInfo) -> Verdict {
        Verdict::Allow
    }

    /// PUBLISH_NAMESPACE.
    fn publish_namespace(&self, _session: &SessionInfo, _namespace: &TrackNamespace) -> Verdict {
        Verdict::Allow
    }

    /// PUBLISH.
    fn publish(&self, _session: &SessionInfo, _track: &FullTrackName) -> Verdict {
        Verdict::Allow
    }

    /// SUBSCRIBE.
    fn subscribe(&self, _session: &SessionInfo, _track: &FullTrackName) -> Verdict {
        Verdict::Allow
    }
}

/// Allows everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Hooks for AllowAll {}
