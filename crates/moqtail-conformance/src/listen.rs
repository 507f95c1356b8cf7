//! The other side: a server that clients come to, to tell them what no relay should.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::PrivateKeyDer;

use crate::{
    failure::Failure,
    link::{Carrier, Link},
    patience::in_time,
    peer::RawPeer,
    web::WebSession,
};

/// Takes connections on loopback, with a certificate that nobody knows. Dropping it leaves those it has given out alone.
#[derive(Debug)]
pub struct RawListener {
    endpoint: quinn::Endpoint,
    carrier: Carrier,
    address: SocketAddr,
}

impl RawListener {
    /// Listens on a free port.
    ///
    /// # Errors
    /// There is no socket or no certificate.
    pub fn bind(carrier: Carrier) -> Result<Self, Failure> {
        Self::bind_with(carrier, quinn::TransportConfig::default())
    }

    /// Listens, and has these windows and limits on its connections.
    ///
    /// # Errors
    /// There is no socket or no certificate.
    pub fn bind_with(carrier: Carrier, transport: quinn::TransportConfig) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::transport("listening", error);
        let key =
            rcgen::generate_simple_self_signed(["localhost".into()]).map_err(|e| failed(&e))?;
        let chain = vec![key.cert.der().clone()];
        let der = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| failed(&e))?
            .with_no_client_auth()
            .with_single_cert(chain, der)
            .map_err(|e| failed(&e))?;
        tls.alpn_protocols = vec![carrier.alpn().into()];
        let crypto = QuicServerConfig::try_from(tls).map_err(|e| failed(&e))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())
            .map_err(|e| failed(&e))?;
        let address = endpoint.local_addr().map_err(|e| failed(&e))?;
        Ok(Self {
            endpoint,
            carrier,
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        let scheme = match self.carrier {
            Carrier::Quic => "moqt",
            Carrier::WebTransport => "https",
        };
        format!("{scheme}://{}/", self.address)
    }

    /// The next connection, and no more: its control stream waits to be taken with [`RawPeer::accept_control`].
    ///
    /// # Errors
    /// None came.
    pub async fn accept(&self) -> Result<RawPeer, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::transport("accepting", error);
        let accepting = async {
            let incoming = self.endpoint.accept().await;
            let incoming = incoming.ok_or_else(|| failed(&"the endpoint is closed"))?;
            let connection = incoming.await.map_err(|e| failed(&e))?;
            let web = match self.carrier {
                Carrier::Quic => None,
                Carrier::WebTransport => Some(WebSession::accept(&connection).await?),
            };
            let link = Link {
                carrier: self.carrier,
                connection,
                web,
            };
            Ok(RawPeer::over(link, self.endpoint.clone()))
        };
        in_time("a connection", accepting).await?
    }
}
