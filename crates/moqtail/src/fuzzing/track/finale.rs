//! The end of a world: everything flows off, is judged, ends, and leaves.

use super::{judge::judge, wire::End, world::World};
use crate::model::{PublishDoneCode, StreamCode};
use crate::track::Spared;

impl World {
    /// Everything flows off and ends, and what was read is looked at.
    pub(super) fn end(mut self) {
        self.tick();
        self.open_all();
        self.expect_rest();
        judge(&self, true);
        self.write(|log| log.end(PublishDoneCode::TRACK_ENDED, "over"));
        for sending in std::mem::take(&mut self.sendings) {
            self.write(|log| sending.reset(log, StreamCode::CANCELLED));
        }
        self.expect_rest();
        match self.wire.gone {
            true => {
                for id in self.alive() {
                    let code = StreamCode::CANCELLED;
                    self.delivery.detach(id, code, &mut self.wire);
                }
                self.take_events();
            }
            false => self.close(),
        }
        for stream in &self.wire.streams {
            assert!(stream.released, "a stream is never given back");
        }
        assert_eq!(self.delivery.staged(), 0, "something stays taken out");
        assert_eq!(self.delivery.waiting_datagrams(), 0, "a datagram waits on");
        judge(&self, true);
        self.leave();
    }

    /// Nothing holds the streams up any more.
    fn open_all(&mut self) {
        self.wire.give_credit(usize::MAX);
        self.wire.give_room(usize::MAX);
        self.wire.window = usize::MAX;
        for key in self.wire.named(End::Open) {
            self.wire.open_window(key, usize::MAX);
        }
    }

    /// All subscriptions end once their streams are over; no time passes for that but what a reset waits for.
    fn close(&mut self) {
        self.now += self.setting.delivery.reset_delay;
        self.serve();
        for key in self.wire.named(End::Finished) {
            self.wire.acknowledge(key);
        }
        self.serve();
        assert_eq!(self.alive(), [], "a subscription never ends");
        assert!(self.delivery.is_delivered(), "there was more to do");
    }

    /// Nothing stays in the log when everybody is gone.
    fn leave(&mut self) {
        for publisher in std::mem::take(&mut self.publishers) {
            self.write(|log| log.remove_publisher(publisher));
        }
        self.log.with(|log| {
            log.evict_before(u64::MAX, Spared::Nothing);
            assert_eq!((log.bytes(), log.pinned()), (0, 0), "something stays");
        });
    }
}
