//! The relay's subscriptions at publishers, and the tracks that these offer.

use std::time::Instant;

use super::{Action, Hub, Linger, SessionId, Track, TrackEnd, TrackId, Upstream, UpstreamId};
use crate::relay::{limits, state::may_go_on};
use crate::{
    model::{FullTrackName, Location, PublishDoneCode, PublishErrorCode, SubscribeErrorCode},
    session::RequestHandle,
};

impl Hub {
    /// A publisher answered SUBSCRIBE_OK.
    pub(crate) fn upstream_accepted(
        &mut self,
        id: UpstreamId,
        largest: Option<Location>,
        now: Instant,
    ) {
        let Some(upstream) = self.upstreams.get_mut(&id) else {
            return;
        };
        upstream.active = true;
        let (track, session) = (upstream.track, upstream.session);
        self.has_answered(session);
        // Others were asked in its place.
        let max = self.limits.max_publishers_per_track;
        let serving = |t: &Track| {
            self.places_of(t)
                .filter(|u| u.active && u.ends.is_none())
                .count()
        };
        if self.tracks.get(&track).map_or(0, serving) > max {
            if let Some(track) = self.tracks.get_mut(&track) {
                track.upstreams.retain(|upstream| *upstream != id);
            }
            return self.unsubscribe(id);
        }
        self.go_live(track, largest, now);
    }

    /// A publisher answered SUBSCRIBE_ERROR, or could not be asked.
    pub(crate) fn upstream_rejected(
        &mut self,
        id: UpstreamId,
        code: SubscribeErrorCode,
        now: Instant,
    ) {
        let Some(upstream) = self.upstreams.get(&id) else {
            return;
        };
        let (id_of_track, session) = (upstream.track, upstream.session);
        if let Some(track) = self.tracks.get_mut(&id_of_track) {
            track.refused(session, code);
        }
        self.upstream_lost(id, now);
        self.ask_later(id_of_track, now);
    }

    /// The session of a publisher is over.
    pub(super) fn upstream_vanished(&mut self, id: UpstreamId, now: Instant) {
        let Some(track) = self.upstreams.get(&id).map(|upstream| upstream.track) else {
            return;
        };
        self.upstream_lost(id, now);
        if self.is_given_up(track) {
            self.revive(track, now);
        } else if self.is_live(track) && self.tracks.get(&track).is_some_and(Track::has_served) {
            // There may be a publisher that found no place.
            self.ask_all(track);
        }
    }

    /// A publisher could not be asked because it offers the track itself, which is told next: who waits goes on waiting.
    pub(crate) fn upstream_offers(&mut self, id: UpstreamId, now: Instant) {
        if let Some(track) = self.remove_upstream(id) {
            self.ask_later(track, now);
            self.release(track);
        }
    }

    /// A publisher offered the track before it could be asked, which was told before. If that was refused, who waits may be
    /// served by others, or by it once it can be asked.
    pub(crate) fn upstream_superseded(&mut self, id: UpstreamId, now: Instant) {
        let track = self.upstreams.get(&id).map(|upstream| upstream.track);
        self.upstream_offers(id, now);
        if let Some(track) = track.filter(|track| !self.is_live(*track)) {
            self.ask_others(track);
            self.refuse_if_nobody_is_asked(track);
            self.release(track);
        }
    }

    /// A publisher answered something.
    pub(crate) fn upstream_answered(&mut self, id: UpstreamId) {
        if let Some(session) = self.upstreams.get(&id).map(|upstream| upstream.session) {
            self.has_answered(session);
        }
    }

    /// PUBLISH_DONE came, and streams of the subscription may still be on their way. Who subscribes from now on is not
    /// served by it: without another publisher the name stands for a new track (draft-14 §8.4). One that gave up only the
    /// subscription is asked to go on with the track at once, for its last streams may be waited for in vain.
    pub(crate) fn upstream_ends(&mut self, id: UpstreamId, status: PublishDoneCode, now: Instant) {
        let Some(upstream) = self.upstreams.get_mut(&id) else {
            return;
        };
        upstream.ends = Some(status);
        let id = upstream.track;
        self.leave_name(id);
        if !may_go_on(status) {
            return;
        }
        if let Some(track) = self.tracks.get_mut(&id) {
            track.ended_by_one = None;
        }
        if self.is_given_up(id) {
            self.revive(id, now);
        }
    }

    /// Somebody watches, and all that serve the track gave their subscriptions up.
    fn is_given_up(&self, id: TrackId) -> bool {
        self.tracks.get(&id).is_some_and(|track| {
            let mut serving = self.upstreams_of(track).filter(|u| u.active).peekable();
            track.has_served() && serving.peek().is_some() && serving.all(Upstream::gave_up)
        })
    }

    /// Somebody came to a track that was given up while nobody watched.
    pub(super) fn go_on_for(&mut self, id: TrackId, now: Instant) {
        let is_asked = |track: &Track| {
            track.ask_at.is_some() || self.upstreams_of(track).any(|upstream| !upstream.active)
        };
        if self.is_given_up(id) && !self.tracks.get(&id).is_some_and(is_asked) {
            self.revive(id, now);
        }
    }

    pub(super) fn upstreams_of(&self, track: &Track) -> impl Iterator<Item = &Upstream> {
        track.upstreams.iter().filter_map(|u| self.upstreams.get(u))
    }

    /// Those among them that take up a place: all but those that gave up, or do not answer.
    pub(super) fn places_of(&self, track: &Track) -> impl Iterator<Item = &Upstream> {
        let waits_in_vain = |u: &Upstream| !u.active && self.silence_of(u.session).is_some();
        self.upstreams_of(track)
            .filter(move |u| !u.gave_up() && !waits_in_vain(u))
    }

    pub(super) fn is_asked(&self, track: &Track, session: SessionId) -> bool {
        let mut asked = self.upstreams_of(track).filter(|u| !u.gave_up());
        asked.any(|u| u.session == session)
    }

    fn has_answered(&mut self, session: SessionId) {
        if let Some(member) = self.sessions.get_mut(&session) {
            member.silent = None;
        }
    }

    /// Somebody has waited for the track until that was refused.
    pub(super) fn note_silence(&mut self, id: TrackId) {
        for upstream in self.tracks.get(&id).map_or(&[][..], |t| &t.upstreams) {
            let unanswered = self.upstreams.get(upstream).filter(|u| !u.active);
            if let Some(member) = unanswered.and_then(|u| self.sessions.get_mut(&u.session)) {
                self.silences += 1;
                member.silent = Some(self.silences);
            }
        }
    }

    /// Takes the track out of the directory if all that is left of it is on its way.
    fn leave_name(&mut self, id: TrackId) {
        let ends = |u: &UpstreamId| {
            let upstream = self.upstreams.get(u);
            let status = upstream.and_then(|upstream| upstream.ends);
            status.is_some_and(|status| !may_go_on(status))
        };
        let is_over = |track: &Track| track.upstreams.iter().all(ends);
        if self.tracks.get(&id).is_some_and(is_over) {
            self.take_name(id);
        }
    }

    /// A publisher ended the subscription with PUBLISH_DONE and all of its streams are in.
    pub(crate) fn upstream_done(
        &mut self,
        id: UpstreamId,
        status: PublishDoneCode,
        reason: &str,
        now: Instant,
    ) {
        let Some(session) = self.upstreams.get(&id).map(|upstream| upstream.session) else {
            return;
        };
        let Some(id) = self.remove_upstream(id) else {
            return;
        };
        if !self.is_live(id) {
            let end = (status, reason.to_owned());
            let ended = self.tracks.get_mut(&id).and_then(|t| t.ended_by_one.take());
            if !may_go_on(status) {
                self.end_unless_answered(id, end, now);
            } else if let Some(reason) = ended {
                self.end_unless_answered(id, (PublishDoneCode::TRACK_ENDED, reason), now);
            } else if self.tracks.get(&id).is_some_and(Track::has_served) {
                self.linger(id, end, now);
            } else {
                self.release(id);
            }
            return;
        }
        if may_go_on(status) {
            let goes_on = |track| self.is_asked(track, session);
            if !self.tracks.get(&id).is_some_and(goes_on) {
                self.ask_later(id, now);
            }
        } else if status == PublishDoneCode::TRACK_ENDED
            && self.outlives_all(session, id)
            && let Some(track) = self.tracks.get_mut(&id)
        {
            track.ended_by_one = Some(reason.to_owned());
        } else if self.is_given_up(id) {
            self.revive(id, now);
        }
        self.leave_name(id);
    }

    /// All that served the track are gone for good. Who is asked already may go on with it, as one does that moves to
    /// another network and stops on the old one (draft-14 §8.4.1).
    fn end_unless_answered(&mut self, id: TrackId, end: TrackEnd, now: Instant) {
        match self.tracks.get_mut(&id) {
            Some(track) if track.has_served() && !track.upstreams.is_empty() => {
                track.linger = Some(Linger {
                    until: now.checked_add(self.limits.upstream_timeout),
                    end,
                    asked_only: true,
                });
                self.arm(id);
            }
            _ => self.end_track(id, end.0, &end.1),
        }
    }

    /// Whether `session` came after all that serve the track, so that each of them may be what it was before it died
    /// unnoticed and started again. What it gave up itself is no other one.
    fn outlives_all(&self, session: SessionId, id: TrackId) -> bool {
        self.tracks.get(&id).is_some_and(|track| {
            self.upstreams_of(track)
                .filter(|upstream| upstream.active)
                .filter(|upstream| !(upstream.gave_up() && upstream.session == session))
                .all(|upstream| upstream.session < session)
        })
    }

    /// The publisher broke the data model: the track ends for everybody, and all its publishers are left with
    /// UNSUBSCRIBE (draft-14 §2.5).
    pub(crate) fn upstream_malformed(&mut self, id: UpstreamId, reason: &str) {
        if let Some(upstream) = self.upstreams.get(&id) {
            self.end_track(upstream.track, PublishDoneCode::MALFORMED_TRACK, reason);
        }
    }

    /// PUBLISH came and is allowed.
    pub(crate) fn publish_requested(
        &mut self,
        session: SessionId,
        handle: RequestHandle,
        name: FullTrackName,
        largest: Option<Location>,
        now: Instant,
    ) {
        let Some(member) = self.sessions.get(&session) else {
            return;
        };
        let known = self.names.get(&name).copied();
        // Its own SUBSCRIBE is over, or there would be no offer (draft-14 §5.1); the end of it is told next.
        let others = |upstream: &&Upstream| upstream.session != session;
        let no_place = |track: &Track| {
            self.has_no_place(
                self.places_of(track).filter(others).count(),
                self.upstreams_of(track).filter(others).count(),
            )
        };
        let full = if known
            .and_then(|id| self.tracks.get(&id))
            .is_some_and(no_place)
        {
            let reason = "the track has as many publishers as it may";
            Some((PublishErrorCode::UNINTERESTED, reason))
        } else if member.published >= self.limits.max_published_per_session {
            let reason = "the session offers as many tracks as it may";
            Some((PublishErrorCode::INTERNAL_ERROR, reason))
        } else if known.is_none() && self.tracks.len() >= self.limits.max_tracks {
            let reason = "relay holds as many tracks as it may";
            Some((PublishErrorCode::INTERNAL_ERROR, reason))
        } else {
            None
        };
        if let Some((code, reason)) = full {
            self.actions.push_back(Action::RejectPublish {
                session,
                handle,
                code,
                reason,
            });
            return;
        }
        self.has_answered(session);
        let track = known.unwrap_or_else(|| self.create_track(name));
        // draft-14 §8.4: Forward is 1 if at least one subscriber wants objects.
        let forward = self.tracks.get(&track).is_some_and(|t| t.wants_forward());
        let upstream = self.add_upstream(track, session, true, forward);
        self.actions.push_back(Action::AcceptPublish {
            session,
            handle,
            upstream,
            track,
            forward,
        });
        self.go_live(track, largest, now);
    }

    /// Sends SUBSCRIBE for the track to a publisher that is not yet asked.
    pub(super) fn ask(&mut self, id: TrackId, session: SessionId) {
        let (Some(track), Some(member)) = (self.tracks.get(&id), self.sessions.get(&session))
        else {
            return;
        };
        // Not for what only waits to be read out: its name may stand for another track.
        if self.is_asked(track, session)
            || self.names.get(&track.name) != Some(&id)
            || self.has_no_place(self.places_of(track).count(), track.upstreams.len())
            || member.upstreams.len() >= self.limits.max_upstreams_per_session
        {
            return;
        }
        let name = track.name.clone();
        // draft-14 §9.7: a relay asks with Forward 1 whatever its subscribers said.
        let upstream = self.add_upstream(id, session, false, true);
        self.actions.push_back(Action::SubscribeUpstream {
            session,
            upstream,
            track: id,
            name,
        });
    }

    /// Whether a track has as many publishers as it may. As many again may have given up while their last streams are on
    /// their way, or not answer.
    fn has_no_place(&self, publishers: usize, with_the_others: usize) -> bool {
        let max = self.limits.max_publishers_per_track;
        publishers >= max || with_the_others >= max.saturating_mul(2)
    }

    fn add_upstream(
        &mut self,
        track: TrackId,
        session: SessionId,
        published: bool,
        forward: bool,
    ) -> UpstreamId {
        let id = UpstreamId(self.next_upstream);
        self.next_upstream += 1;
        let upstream = Upstream {
            session,
            track,
            published,
            active: published,
            kept: false,
            ends: None,
            forward,
        };
        self.upstreams.insert(id, upstream);
        if let Some(track) = self.tracks.get_mut(&track) {
            track.upstreams.push(id);
        }
        if let Some(member) = self.sessions.get_mut(&session) {
            member.upstreams.insert(id);
            member.published += usize::from(published);
        }
        id
    }

    /// Forgets an upstream subscription; the track no longer counts on it.
    fn remove_upstream(&mut self, id: UpstreamId) -> Option<TrackId> {
        let upstream = self.forget_upstream(id)?;
        let track = self.tracks.get_mut(&upstream.track)?;
        track.upstreams.retain(|u| *u != id);
        Some(upstream.track)
    }

    fn forget_upstream(&mut self, id: UpstreamId) -> Option<Upstream> {
        let upstream = self.upstreams.remove(&id)?;
        if let Some(member) = self.sessions.get_mut(&upstream.session) {
            member.upstreams.remove(&id);
            member.published -= usize::from(upstream.published);
            member.kept -= usize::from(upstream.kept);
        }
        Some(upstream)
    }

    /// A publisher refused or vanished without PUBLISH_DONE.
    pub(super) fn upstream_lost(&mut self, upstream: UpstreamId, now: Instant) {
        let Some(id) = self.remove_upstream(upstream) else {
            return;
        };
        if self.is_live(id) {
            self.leave_name(id);
            if self.is_given_up(id) {
                self.ask_all(id);
            }
            return;
        }
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        // The one that is gone may have died long before, come back, and ended the track already.
        if let Some(reason) = track.ended_by_one.take() {
            let end = (PublishDoneCode::TRACK_ENDED, reason);
            return self.end_unless_answered(id, end, now);
        }
        if track.has_served() && track.linger.is_none() && !track.ended {
            let reason = "the publisher is gone and did not come back".to_owned();
            self.linger(id, (PublishDoneCode::INTERNAL_ERROR, reason), now);
        } else {
            // There may be a publisher that found no place beside the one that is gone.
            let (wanted, kept) = (!track.is_unwanted(), track.kept_until.is_some());
            match track.waits_for_asked() {
                false if wanted => self.ask_all(id),
                false if kept => self.ask_for_nobody(id),
                _ => {}
            }
            self.refuse_if_nobody_is_asked(id);
        }
        self.release(id);
    }

    fn refuse_if_nobody_is_asked(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if !track.upstreams.is_empty() {
            return;
        }
        if let Some((status, reason)) = track.take_end_without_answer() {
            return self.end_track(id, status, &reason);
        }
        let code = track
            .refusal
            .unwrap_or(SubscribeErrorCode::TRACK_DOES_NOT_EXIST);
        self.refuse_waiting(id, code, "track not found: no publisher has it");
    }

    /// Nobody serves the track: its subscribers stay for a while, and publishers are asked.
    fn linger(&mut self, id: TrackId, end: TrackEnd, now: Instant) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.linger = Some(Linger {
            until: now.checked_add(self.limits.publisher_linger),
            end,
            asked_only: false,
        });
        self.revive(id, now);
    }

    /// Asks publishers to go on with a track that nobody serves any more.
    fn revive(&mut self, id: TrackId, now: Instant) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.ask_at = None;
        track.forget_refusals();
        // One that ends each subscription at once is not asked as often as that.
        let is_early = |at: Instant| now.saturating_duration_since(at) < limits::REVIVAL_REST;
        if track.revived.is_some_and(is_early) {
            self.arm(id);
            self.ask_later(id, now);
        } else {
            track.revived = Some(now);
            self.arm(id);
            self.ask_all(id);
        }
    }

    /// Sends SUBSCRIBE for the track to the publishers that announced it and are not yet asked, as many as find a place.
    pub(super) fn ask_all(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        for publisher in self.publishers_of(track.name.namespace(), Some(track)) {
            self.ask(id, publisher);
        }
    }

    /// The same if somebody waits.
    pub(super) fn ask_others(&mut self, id: TrackId) {
        let asks = |track: &Track| track.has_waiting() && !track.waits_for_asked();
        if self.tracks.get(&id).is_some_and(asks) {
            self.ask_all(id);
        }
    }

    /// The same for whoever asks next, of those who may be left with it.
    fn ask_for_nobody(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        for publisher in self.publishers_of(track.name.namespace(), Some(track)) {
            if self.may_keep(publisher) {
                self.ask(id, publisher);
                self.set_kept(id, true);
            }
        }
    }

    /// A publisher refused. It is asked again as long as somebody watches: soon while nobody else serves the track, less
    /// and less often beside another publisher.
    fn ask_later(&mut self, id: TrackId, now: Instant) {
        let retry = self.limits.publisher_retry;
        let served = self.is_live(id) && !self.is_given_up(id);
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let waits = track.waits_for_asked();
        if !track.has_served() || track.ended || waits || track.ask_at.is_some() || retry.is_zero()
        {
            return;
        }
        let wait = if served {
            let doubled = track.refusals.min(limits::MAX_DOUBLINGS);
            track.refusals = doubled + 1;
            retry.saturating_mul(1 << doubled)
        } else {
            retry
        };
        track.ask_at = now.checked_add(wait);
        self.arm(id);
    }

    /// Leaves a publisher, which the track was taken from already.
    pub(super) fn unsubscribe(&mut self, id: UpstreamId) {
        if let Some(upstream) = self.forget_upstream(id)
            && self.sessions.contains_key(&upstream.session)
        {
            let session = upstream.session;
            self.actions.push_back(Action::UnsubscribeUpstream {
                session,
                upstream: id,
            });
        }
    }

    /// The publisher goes on with Forward State 1, for it could not be told to begin again later.
    pub(crate) fn upstream_forwards(&mut self, id: UpstreamId) {
        if let Some(upstream) = self.upstreams.get_mut(&id) {
            upstream.forward = true;
        }
    }

    /// Tells publishers that came by PUBLISH whether anybody wants objects.
    pub(super) fn forward_upstream(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        let wanted = track.wants_forward();
        for upstream_id in &track.upstreams {
            let Some(upstream) = self.upstreams.get_mut(upstream_id) else {
                continue;
            };
            let here = self.sessions.contains_key(&upstream.session);
            if here && upstream.published && upstream.forward != wanted {
                upstream.forward = wanted;
                self.actions.push_back(Action::ForwardUpstream {
                    session: upstream.session,
                    upstream: *upstream_id,
                    forward: wanted,
                });
            }
        }
    }
}
