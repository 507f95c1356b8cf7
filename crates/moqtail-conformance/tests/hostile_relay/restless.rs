//! A relay that ends each session as soon as it has begun.

use std::time::{Duration, Instant};

use moqtail_conformance::{Carrier, RawListener, messages, types};

use crate::{
    over_both_carriers,
    programs::{finished, publisher, subscribe},
};

/// A session termination code (draft-14 §3.4).
const INTERNAL_ERROR: u32 = 0x1;

/// Sessions, and the least time that lies between the first and the last of them: half of steps that double from 250 ms.
const SESSIONS: usize = 5;
const LEAST: Duration = Duration::from_millis((250 + 500 + 1000 + 2000) / 2);

over_both_carriers! {
    async fn sessions_that_end_at_once_are_opened_less_and_less_often(carrier: Carrier) {
        let listener = RawListener::bind(carrier)?;
        for publishes in [true, false] {
            let program = if publishes { publisher(&listener) } else { subscribe(&listener, &[]) };
            let (mut begin, mut relays) = (None, Vec::new());
            for _ in 0..SESSIONS {
                let mut relay = listener.accept().await?;
                begin.get_or_insert_with(Instant::now);
                relay.answer_setup(messages::server_setup_granting(messages::GENEROUS)).await?;
                let first = if publishes { types::PUBLISH_NAMESPACE } else { types::SUBSCRIBE };
                relay.expect(first).await?;
                relay.close(INTERNAL_ERROR, "not now").await?;
                relays.push(relay);
            }
            let elapsed = begin.unwrap().elapsed();
            assert!(elapsed >= LEAST, "{SESSIONS} sessions in {elapsed:?}");
            program.terminate();
            let end = finished(program).await;
            let told = end.stderr.iter().filter(|line| line.contains("not now"));
            assert_eq!(told.count(), 1, "{:#?}", end.stderr);
        }
        Ok(())
    }
}
