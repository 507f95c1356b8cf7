//! Relays that announce to each other in a circle.

use moqtail::model::{ControlMessage, Filter, SubscribeErrorCode};
use moqtail::transport::{TransportKind, TransportLimits};

use crate::raw::RawPeer;
use crate::world::World;

const TRACK: &str = "live#t";

/// The end of a request of the relay at this session, and of one of this session at the relay, in either order.
async fn ends(peer: &mut RawPeer, first: ControlMessage) {
    let mut ends = [first, peer.hear().await];
    ends.sort_by_key(|end| matches!(end, ControlMessage::Unsubscribe(_)));
    let [
        ControlMessage::SubscribeError(error),
        ControlMessage::Unsubscribe(_),
    ] = &ends
    else {
        panic!("{ends:?}");
    };
    assert_eq!(error.code, SubscribeErrorCode::TIMEOUT);
}

/// S6.2-09: each relay takes the other for a publisher of the namespace. Nothing is announced onwards, each asks the other
/// once for a track that nobody has, and both go on.
#[tokio::test]
async fn two_relays_that_announce_to_each_other_stay_up() {
    let mut worlds = [
        World::new(TransportKind::Memory).await,
        World::new(TransportKind::Memory).await,
    ];
    let [one, other] = &mut worlds;
    let limits = TransportLimits::default;
    // The two ends of what joins the relays; each passes on what it is asked for.
    let (mut left, mut right) = (one.raw(limits()).await, other.raw(limits()).await);
    left.announce("live").await;
    right.announce("live").await;
    let mut viewer = one.raw(limits()).await;
    let circle = async {
        let asked = left.hear().await;
        assert!(matches!(asked, ControlMessage::Subscribe(_)), "{asked:?}");
        let (_, asked) = right.ask(TRACK, Filter::LargestObject).await;
        assert!(matches!(asked, ControlMessage::Subscribe(_)), "{asked:?}");
        let (_, end) = left.ask(TRACK, Filter::LargestObject).await;
        ends(&mut left, end).await;
        let end = right.hear().await;
        ends(&mut right, end).await;
    };
    let ((_, answer), ()) = tokio::join!(viewer.ask(TRACK, Filter::LargestObject), circle);
    assert!(
        matches!(&answer, ControlMessage::SubscribeError(error) if error.code == SubscribeErrorCode::TIMEOUT),
        "{answer:?}"
    );
    for peer in [&mut left, &mut right, &mut viewer] {
        peer.round_trip().await;
    }
}
