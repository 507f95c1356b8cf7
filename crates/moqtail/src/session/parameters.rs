//! Parameters that a session keeps for a while.

use crate::model::{AuthToken, KeyValuePair, Parameter, Parameters};

/// Parameters after an update: those in `newer`, and what `older` says about others (draft-14 §9.10).
pub(super) fn updated(older: &Parameters, newer: Parameters) -> Parameters {
    let is_timeout = |parameter: &Parameter| matches!(parameter, Parameter::DeliveryTimeout(_));
    let mut merged = newer;
    if !merged.0.iter().any(is_timeout) {
        merged.0.extend(
            older
                .0
                .iter()
                .filter(|parameter| is_timeout(parameter))
                .cloned(),
        );
    }
    merged
}

/// Parameters that may be kept on behalf of the peer: of more than `max` bytes only the times are.
pub(super) fn bounded(mut parameters: Parameters, max: usize) -> Parameters {
    if parameters.0.iter().map(memory).sum::<usize>() > max {
        parameters.0.retain(|parameter| {
            matches!(
                parameter,
                Parameter::DeliveryTimeout(_) | Parameter::MaxCacheDuration(_)
            )
        });
        parameters.0.shrink_to_fit();
    }
    parameters
}

/// What a parameter takes, in bytes.
fn memory(parameter: &Parameter) -> usize {
    let value = match parameter {
        Parameter::AuthorizationToken(
            AuthToken::Register { value, .. } | AuthToken::UseValue { value, .. },
        )
        | Parameter::Unknown(KeyValuePair::Bytes { value, .. }) => value.len(),
        _ => 0,
    };
    size_of::<Parameter>() + value
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// S9.10-09
    #[test]
    fn an_update_keeps_the_delivery_timeout_that_it_does_not_name() {
        let old = Parameters(vec![Parameter::DeliveryTimeout(500)]);
        assert_eq!(updated(&old, Parameters::default()), old);
        let new = Parameters(vec![Parameter::DeliveryTimeout(900)]);
        assert_eq!(updated(&old, new.clone()), new);
    }

    #[test]
    fn parameters_over_the_limit_are_cut_to_the_times() {
        let timeout = Parameter::DeliveryTimeout(500);
        let unknown = Parameter::Unknown(KeyValuePair::Varint {
            key: 0x20,
            value: 1,
        });
        let value = Bytes::from(vec![0; 3000]);
        let token = Parameter::AuthorizationToken(AuthToken::UseValue {
            token_type: 0,
            value,
        });
        let few = Parameters(vec![unknown.clone(), timeout.clone(), token.clone()]);
        assert_eq!(bounded(few.clone(), 4096), few);
        let cut = Parameters(vec![timeout.clone()]);
        let large = Parameters(vec![token.clone(), timeout.clone(), token]);
        assert_eq!(bounded(large, 4096), cut);
        let mut many = Parameters(vec![unknown; 200]);
        many.0.push(timeout);
        assert_eq!(bounded(many, 4096), cut);
    }
}
