//! Authorization tokens while no alias is kept: this side announces MAX_AUTH_TOKEN_CACHE_SIZE 0, so that every
//! registration overflows (draft-14 §9.2.1.1, §9.3.2.4). Tokens given by value go to the application.

use super::{
    config::Token,
    error::{CallError, SessionError},
};
use crate::model::{AuthToken, Parameters, SetupParameters};

/// Cost of a registered token beside its value, in bytes (draft-14 §9.3.2.4).
const TOKEN_OVERHEAD: usize = 16;

fn refuse(token: &AuthToken) -> Option<SessionError> {
    match token {
        // draft-14 §9.2.1.1
        AuthToken::Register { value, .. } => Some(SessionError::TokenCacheOverflow(
            TOKEN_OVERHEAD + value.len(),
        )),
        AuthToken::UseAlias { alias } | AuthToken::Delete { alias } => {
            Some(SessionError::UnknownTokenAlias(*alias))
        }
        AuthToken::UseValue { .. } => None,
    }
}

/// Checks the tokens of a request of the peer.
pub(super) fn check_received(parameters: &Parameters) -> Result<(), SessionError> {
    parameters.tokens().find_map(refuse).map_or(Ok(()), Err)
}

/// Checks the tokens of an own message: aliases are never registered at the peer.
pub(super) fn check_sent(parameters: &Parameters) -> Result<(), CallError> {
    if parameters.tokens().any(|token| refuse(token).is_some()) {
        return Err(CallError::TokenAlias);
    }
    Ok(())
}

/// Tokens of CLIENT_SETUP: a registration that does not fit counts as a value.
pub(super) fn of_client_setup(parameters: &SetupParameters) -> Result<Vec<Token>, SessionError> {
    let mut tokens = Vec::new();
    for token in parameters.tokens() {
        match token {
            // draft-14 §9.3.2.5
            AuthToken::Register {
                token_type, value, ..
            }
            | AuthToken::UseValue { token_type, value } => {
                tokens.push(Token {
                    token_type: *token_type,
                    value: value.clone(),
                });
            }
            AuthToken::UseAlias { alias } | AuthToken::Delete { alias } => {
                return Err(SessionError::UnknownTokenAlias(*alias));
            }
        }
    }
    Ok(tokens)
}

/// Tokens of SERVER_SETUP.
pub(super) fn of_server_setup(parameters: &SetupParameters) -> Result<Vec<Token>, SessionError> {
    if let Some(error) = parameters.tokens().find_map(refuse) {
        return Err(error);
    }
    of_client_setup(parameters)
}
