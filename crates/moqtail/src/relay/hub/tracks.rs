//! The life of a track in the hub: created, live, lingering, ended, dropped.

use std::time::Instant;

use super::{Action, Downstream, Hub, LargestSource, SessionId, Track, TrackId, Upstream, limits};
use crate::model::{FullTrackName, Location, PublishDoneCode, SubscribeErrorCode, TrackAlias};

impl Hub {
    /// Ends waits that took too long, and goes on with what was left for later. To be called again as long as
    /// [`Hub::deadline`] is not after `now`.
    pub(crate) fn timeout(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.remove(&(at, id));
            let live = self.is_live(id);
            let Some(track) = self.tracks.get_mut(&id) else {
                continue;
            };
            track.armed = None;
            let answers = track.answer_at.take().is_some();
            if let Some((status, reason)) = track.take_end(now) {
                self.end_track(id, status, &reason);
            } else if answers && live {
                self.answer_waiting(id, LargestSource::Log, now);
                self.ask_again(id, now);
                // Others have their turn before the next ones.
                return;
            } else {
                let overdue = track.take_overdue(now);
                if track.kept_until.take_if(|until| *until <= now).is_some() {
                    self.set_kept(id, false);
                }
                if !overdue.is_empty() {
                    self.note_silence(id);
                    self.ask_others(id);
                }
                self.keep_asking(id, &overdue, now);
                let reason = "no publisher answered in time";
                self.refuse(id, overdue, SubscribeErrorCode::TIMEOUT, reason);
                self.release(id);
                self.ask_again(id, now);
            }
        }
        // Last, so that nothing is asked for that nobody waits for any more.
        self.go_on(now);
    }

    /// Asks publishers that refused, if it is time.
    fn ask_again(&mut self, id: TrackId, now: Instant) {
        if let Some(track) = self.tracks.get_mut(&id)
            && track.ask_at.take_if(|at| *at <= now).is_some()
        {
            track.revived = Some(now);
            self.arm(id);
            // Those that found no place yet come first.
            self.ask_all(id);
            let places = |track| self.places_of(track).count();
            let places = self.tracks.get(&id).map_or(0, places);
            if places < self.limits.max_publishers_per_track
                && let Some(track) = self.tracks.get_mut(&id)
            {
                track.forget_refusals();
                self.ask_all(id);
            }
        }
    }

    /// Nobody waits any longer, but a slow answer may serve who asks next.
    fn keep_asking(&mut self, id: TrackId, overdue: &[Downstream], now: Instant) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        let room = self
            .upstreams_of(track)
            .all(|upstream| upstream.kept || self.may_keep(upstream.session));
        let grace = self.limits.answer_grace;
        if !overdue.is_empty()
            && track.is_unwanted()
            && room
            && !grace.is_zero()
            && let Some(track) = self.tracks.get_mut(&id)
        {
            track.kept_until = now.checked_add(grace);
            self.set_kept(id, true);
        }
    }

    /// Whether a publisher may be left with one more request that nobody waits for.
    pub(super) fn may_keep(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|member| {
            // Half of what a publisher takes stays free for those who wait.
            let free = member.upstreams.len() <= self.limits.max_upstreams_per_session / 2;
            free && member.kept < limits::KEPT_TRACKS
        })
    }

    /// Counts the track among those that its publishers may answer for although nobody waits.
    pub(super) fn set_kept(&mut self, id: TrackId, kept: bool) {
        for upstream in self.tracks.get(&id).map_or(&[][..], |t| &t.upstreams) {
            let Some(upstream) = self.upstreams.get_mut(upstream) else {
                continue;
            };
            let before = std::mem::replace(&mut upstream.kept, kept);
            if let Some(member) = self.sessions.get_mut(&upstream.session) {
                member.kept += usize::from(kept);
                member.kept -= usize::from(before);
            }
        }
    }

    pub(super) fn is_live(&self, id: TrackId) -> bool {
        self.tracks.get(&id).is_some_and(|track| {
            track
                .upstreams
                .iter()
                .any(|u| self.upstreams.get(u).is_some_and(|u| u.active))
        })
    }

    pub(super) fn create_track(&mut self, name: FullTrackName) -> TrackId {
        let id = TrackId(self.next_track);
        self.next_track += 1;
        self.tracks.insert(id, Track::new(name.clone()));
        self.names.insert(name.clone(), id);
        let alias = TrackAlias(id.0);
        self.actions.push_back(Action::CreateTrack {
            track: id,
            name,
            alias,
        });
        id
    }

    /// Notes when the track is next looked at.
    pub(super) fn arm(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let deadline = track.deadline();
        let before = std::mem::replace(&mut track.armed, deadline);
        if before == deadline {
            return;
        }
        if let Some(at) = before {
            self.deadlines.remove(&(at, id));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, id));
        }
    }

    /// A publisher serves the track: waiting subscribers are accepted (draft-14 §8.3).
    pub(super) fn go_live(&mut self, id: TrackId, largest: Option<Location>, now: Instant) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let upstreams = track.upstreams.iter().filter_map(|u| self.upstreams.get(u));
        if upstreams.filter(|upstream| upstream.active).count() <= 1 {
            track.refusals = 0;
        }
        track.linger = None;
        track.refusal = None;
        track.forget_refusals();
        track.ended_by_one = None;
        self.answer_waiting(id, LargestSource::Upstream(largest), now);
    }

    /// Accepts as many as have their turn. Later ones begin where the log is then, which knows what the publisher told.
    fn answer_waiting(&mut self, id: TrackId, largest: LargestSource, now: Instant) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        for (subscriber, request) in track.take_waiting(limits::ANSWERS) {
            track.serve(subscriber, request.forward);
            let (session, handle) = subscriber;
            if let Some(member) = self.sessions.get_mut(&session) {
                member.waiting -= 1;
            }
            self.actions.push_back(Action::AcceptSubscribe {
                session,
                handle,
                track: id,
                request,
                largest,
            });
        }
        track.answer_at = track.has_waiting().then_some(now);
        self.arm(id);
    }

    pub(super) fn refuse_waiting(
        &mut self,
        id: TrackId,
        code: SubscribeErrorCode,
        reason: &'static str,
    ) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.forget_refusals();
        let waiting = track.take_waiting(usize::MAX).into_iter();
        let waiting = waiting.map(|(subscriber, _)| subscriber).collect();
        self.refuse(id, waiting, code, reason);
    }

    /// Refuses subscribers that waited, and were taken out of the track.
    fn refuse(
        &mut self,
        id: TrackId,
        subscribers: Vec<Downstream>,
        code: SubscribeErrorCode,
        reason: &'static str,
    ) {
        for subscriber in subscribers {
            self.downstreams.remove(&subscriber);
            if let Some(member) = self.sessions.get_mut(&subscriber.0) {
                member.subscriptions -= 1;
                member.waiting -= 1;
            }
            self.reject(subscriber, code, reason);
        }
        self.arm(id);
        self.forward_upstream(id);
    }

    /// Seals the log and lets the subscribers have the rest of it.
    pub(super) fn end_track(&mut self, id: TrackId, status: PublishDoneCode, reason: &str) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if track.ended {
            return;
        }
        track.ended = true;
        track.linger = None;
        track.ask_at = None;
        track.kept_until = None;
        self.take_name(id);
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let publishers = std::mem::take(&mut track.upstreams);
        let reason = reason.to_owned();
        self.actions.push_back(Action::EndTrack {
            track: id,
            status,
            reason,
        });
        for upstream in publishers {
            self.unsubscribe(upstream);
        }
        self.refuse_waiting(
            id,
            SubscribeErrorCode::TRACK_DOES_NOT_EXIST,
            "track not found: it ended",
        );
        self.release(id);
    }

    /// Takes the track out of the directory, in which its name may stand for a later one already.
    pub(super) fn take_name(&mut self, id: TrackId) {
        if let Some(track) = self.tracks.get(&id)
            && self.names.get(&track.name) == Some(&id)
        {
            self.names.remove(&track.name);
        }
    }

    /// Lets go of upstream subscriptions that nobody needs, and of a track without anybody.
    pub(super) fn release(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if !track.is_unwanted() {
            return;
        }
        let may_answer = track.kept_until.is_some();
        let is_needed = |upstream: &Upstream| upstream.published || may_answer && upstream.kept;
        let (kept, unneeded): (Vec<_>, Vec<_>) = track
            .upstreams
            .iter()
            .partition(|u| self.upstreams.get(u).is_some_and(is_needed));
        track.upstreams = kept;
        if !may_answer || track.upstreams.is_empty() {
            // Nobody is left to linger for.
            track.linger = None;
            track.answer_at = None;
            track.ask_at = None;
            track.kept_until = None;
        }
        let gone = track.upstreams.is_empty();
        self.arm(id);
        for upstream in unneeded {
            self.unsubscribe(upstream);
        }
        if gone {
            self.take_name(id);
            self.tracks.remove(&id);
            self.actions.push_back(Action::DropTrack { track: id });
        }
    }
}
