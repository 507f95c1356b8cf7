//! What every carrier of a session must do, run over raw QUIC, WebTransport and the in-memory twin.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests spawn tasks that they wait for, and fail by panicking"
)]

mod carrier;
mod closing;
mod connect;
mod datagrams;
mod io;
mod raw;
mod restarts;
mod streams;
mod webtransport;
mod webtransport_handshake;

/// Runs each named test once per carrier.
macro_rules! contract {
    ($($file:ident::$test:ident)*) => {
        contract!(@over_quic crate::carrier::Quic, $($file::$test)*);
        contract!(@over_webtransport crate::carrier::WebTransport, $($file::$test)*);
        contract!(@in_memory crate::carrier::Memory, $($file::$test)*);
    };
    (@$carrier:ident $type:ty, $($file:ident::$test:ident)*) => {
        mod $carrier {
            $(
                #[tokio::test]
                async fn $test() {
                    $crate::carrier::in_time($crate::$file::$test::<$type>()).await;
                }
            )*
        }
    };
}

contract! {
    streams::a_bidirectional_stream_echoes
    streams::content_arrives_both_ways
    streams::an_empty_stream_is_a_stream
    streams::reset_codes_arrive_exactly
    streams::stop_codes_arrive_exactly
    streams::a_reset_after_the_fin_ends_the_stream
    streams::a_closed_stream_takes_no_more
    streams::dropped_streams_are_cancelled
    streams::leaving_at_the_last_byte_stops_nothing
    streams::an_unread_stream_blocks_only_itself
    streams::reading_takes_no_more_than_asked
    streams::opening_waits_for_credit
    streams::every_waiting_task_gets_credit
    streams::more_important_streams_go_first
    streams::a_thousand_short_streams
    streams::a_stop_is_told_however_many_streams_were_reset
    streams::accepting_can_be_given_up
    datagrams::datagrams_arrive_whole
    datagrams::a_large_datagram_is_refused
    datagrams::datagrams_that_wait_for_each_other_all_leave
    datagrams::datagrams_without_end_do_not_hold_up_a_stream
    closing::code_and_reason_reach_the_peer
    closing::the_first_close_wins
    closing::a_closed_connection_does_nothing_more
    closing::waiting_tasks_learn_of_the_close
    closing::acknowledged_data_survives_the_close
    closing::what_was_received_before_the_peer_closed_can_be_taken
    closing::who_closed_reads_no_end_in_place_of_what_was_left
    closing::dropping_all_handles_closes
    closing::streams_do_not_keep_a_connection_open
    closing::a_peer_that_vanishes_is_lost
}

mod shared_window {
    use crate::{carrier, streams::streams_that_nobody_reads_share_one_window as test};

    #[tokio::test]
    async fn over_quic() {
        carrier::in_time(test::<carrier::Quic>()).await;
    }

    #[tokio::test]
    async fn over_webtransport() {
        carrier::in_time(test::<carrier::WebTransport>()).await;
    }
}
