//! How a delivery timeout is told to the peer.

use std::time::Duration;

use crate::model::{MAX_VARINT, Parameter};

/// DELIVERY TIMEOUT in whole milliseconds, at least one, and at most what can be written (draft-14 §9.2.1.2).
pub(super) fn delivery_timeout(timeout: Duration) -> Parameter {
    let ms = u64::try_from(timeout.as_millis()).unwrap_or(MAX_VARINT);
    Parameter::DeliveryTimeout(ms.clamp(1, MAX_VARINT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_can_be_told() {
        for (time, told) in [
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(1500), 1500),
            (Duration::MAX, MAX_VARINT),
        ] {
            assert_eq!(delivery_timeout(time), Parameter::DeliveryTimeout(told));
        }
    }
}
