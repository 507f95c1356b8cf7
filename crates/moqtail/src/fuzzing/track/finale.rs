//! The end of a world: everything flows off, is judged, ends, and leaves.

use super::{judge::judge, wire::End, world::World};
use crate::model::{PublishDoneCode, StreamCode};
use crate::track::Spared;

impl World {
    /// Everything flows off and ends, and what was read is looked at.
    pub(super) fn end(mut self) {
        self.history.now += 1;
        self.open_all();
        self.serve();
        judge(&self, true);
        self.write(|log| log.end(PublishDoneCode::TRACK_ENDED, "over"));
        for sending in std::mem::take(&mut self.sendings) {
            self.write(|log| sending.reset(log, StreamCode::CANCELLED));
        }
        self.serve();
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
        judge(&self, true);
        self.leave();
    }

    /// Nothing holds the streams up any more.
    fn open_all(&mut self) {
        self.wire.credit = usize::MAX;
        self.wire.window = usize::MAX;
        self.delivery.credit();
        for key in self.wire.named(End::Open) {
            self.wire.open_window(key, usize::MAX);
            self.delivery.woken(key, &mut self.wire);
        }
        self.take_events();
    }

    /// All subscriptions end once their streams are over; no time passes for that but what a reset waits for.
    fn close(&mut self) {
        self.now += self.setting.delivery.reset_delay;
        self.serve();
        let finished = self.wire.named(End::Finished);
        assert_eq!(
            self.delivery.awaits_closing(),
            !self.alive().is_empty(),
            "nobody would ask for what is over"
        );
        for (number, key) in finished.into_iter().enumerate() {
            // Others may be over with the ones before.
            if self.wire.acknowledge(key) {
                match number % 2 {
                    0 => self.delivery.over(key, &mut self.wire),
                    _ => self.delivery.woken(key, &mut self.wire),
                }
            }
        }
        self.take_events();
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
