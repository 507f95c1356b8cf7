//! CLIENT_SETUP and SERVER_SETUP: what this side says and what the peer may say (draft-14 §9.3).

use bytes::Bytes;

use super::{
    config::{Carrier, Role, SessionConfig},
    error::{CallError, SessionError, TargetParameter},
    event::PeerSetup,
    token, uri,
};
use crate::model::{
    ClientSetup, ControlMessage, ServerSetup, SetupParameter, SetupParameters, VERSION,
};

/// The SETUP message of this side. `max_request_id` is the peer's first limit.
pub(super) fn own_setup(
    config: &SessionConfig,
    max_request_id: u64,
) -> Result<ControlMessage, CallError> {
    let mut parameters = Vec::new();
    if let Role::Client { authority, path } = &config.role {
        if !uri::is_authority(authority.as_bytes()) {
            return Err(CallError::TargetSyntax(TargetParameter::Authority));
        }
        if !uri::is_path(path.as_bytes()) {
            return Err(CallError::TargetSyntax(TargetParameter::Path));
        }
        // draft-14 §9.3.2.1, §9.3.2.2
        if config.carrier == Carrier::Raw {
            parameters.push(SetupParameter::Path(Bytes::copy_from_slice(
                path.as_bytes(),
            )));
            parameters.push(SetupParameter::Authority(Bytes::copy_from_slice(
                authority.as_bytes(),
            )));
        }
    }
    parameters.push(SetupParameter::MaxRequestId(max_request_id));
    if !config.implementation.is_empty() {
        let name = Bytes::copy_from_slice(config.implementation.as_bytes());
        parameters.push(SetupParameter::Implementation(name));
    }
    let tokens = config.tokens.iter().cloned();
    parameters.extend(tokens.map(|token| SetupParameter::AuthorizationToken(token.into())));
    let parameters = SetupParameters(parameters);
    Ok(match config.role {
        Role::Client { .. } => ControlMessage::ClientSetup(ClientSetup {
            versions: vec![VERSION],
            parameters,
        }),
        Role::Server => ControlMessage::ServerSetup(ServerSetup {
            version: VERSION,
            parameters,
        }),
    })
}

/// Checks CLIENT_SETUP, on a server.
pub(super) fn check_client(
    setup: &ClientSetup,
    carrier: Carrier,
) -> Result<PeerSetup, SessionError> {
    // draft-14 §9.3.1
    if !setup.versions.contains(&VERSION) {
        return Err(SessionError::NoCommonVersion(setup.versions.len()));
    }
    let parameters = &setup.parameters;
    // draft-14 §9.3.2.1, §9.3.2.2
    if carrier == Carrier::WebTransport {
        forbid_target(parameters, carrier, "client")?;
    }
    let path = target(parameters.path(), uri::is_path, TargetParameter::Path)?;
    let authority = target(
        parameters.authority(),
        uri::is_authority,
        TargetParameter::Authority,
    )?;
    Ok(PeerSetup {
        authority,
        path,
        tokens: token::of_client_setup(parameters)?,
        implementation: parameters.implementation().map(str::to_owned),
    })
}

/// Checks SERVER_SETUP, on a client.
pub(super) fn check_server(
    setup: &ServerSetup,
    carrier: Carrier,
) -> Result<PeerSetup, SessionError> {
    // draft-14 §9.3.1
    if setup.version != VERSION {
        return Err(SessionError::VersionNotOffered(setup.version));
    }
    // draft-14 §9.3.2.1, §9.3.2.2
    forbid_target(&setup.parameters, carrier, "server")?;
    Ok(PeerSetup {
        authority: None,
        path: None,
        tokens: token::of_server_setup(&setup.parameters)?,
        implementation: setup.parameters.implementation().map(str::to_owned),
    })
}

fn forbid_target(
    parameters: &SetupParameters,
    carrier: Carrier,
    sender: &'static str,
) -> Result<(), SessionError> {
    let parameter = if parameters.path().is_some() {
        TargetParameter::Path
    } else if parameters.authority().is_some() {
        TargetParameter::Authority
    } else {
        return Ok(());
    };
    Err(SessionError::TargetNotAllowed {
        parameter,
        carrier,
        sender,
    })
}

fn target(
    value: Option<&Bytes>,
    is_valid: fn(&[u8]) -> bool,
    parameter: TargetParameter,
) -> Result<Option<String>, SessionError> {
    let Some(value) = value else { return Ok(None) };
    if !is_valid(value) {
        return Err(SessionError::TargetSyntax(parameter));
    }
    Ok(Some(String::from_utf8_lossy(value).into_owned()))
}
