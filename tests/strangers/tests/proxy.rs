//! `moqtap-proxy` between our client and our relay: it holds, delays, truncates and resets what passes.

#![cfg(unix)]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use moqtail_e2e::{Process, Relay};
use moqtail_strangers::{choose_tls, publish, soon, subscribe};
use moqtap_codec::version::DraftVersion;
use moqtap_proxy::{
    action::{Action, Gate, Interest},
    cert::CertPair,
    hook::{ObjectCtx, ProxyHook},
    listener::ListenerConfig,
    observer::NoOpProxyObserver,
    proxy::{ProxyConfig, TransparentProxy},
    session::ProxySessionConfig,
};

/// Code of a reset stream (draft-14 §10.4.3).
const DELIVERY_TIMEOUT: u64 = 2;

/// What is done to objects by their payload; others pass.
struct Interference(Vec<(&'static str, Action)>);

impl ProxyHook for Interference {
    fn interest(&self) -> Interest {
        Interest::OBJECTS
    }

    fn on_object(&self, _: &ObjectCtx<'_>, raw: &[u8]) -> Action {
        let mut actions = self.0.iter();
        let found = actions.find(|(payload, _)| raw.ends_with(payload.as_bytes()));
        found.map_or(Action::Pass, |(_, action)| action.clone())
    }
}

/// Starts a proxy before the relay's QUIC side, and returns its URL.
async fn proxy(relay: &Relay, actions: Vec<(&'static str, Action)>) -> String {
    choose_tls();
    let certificate = CertPair::generate(&["localhost"])
        .expect("a certificate")
        .current;
    let config = ProxyConfig {
        listener: ListenerConfig {
            bind_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            cert_chain: vec![certificate.cert_der],
            key_der: certificate.key_der,
            transport_config: None,
            transport_profile: None,
            installer: None,
        },
        session: ProxySessionConfig {
            draft: DraftVersion::Draft14,
            upstream_addr: format!("127.0.0.1:{}", relay.port()),
            skip_upstream_cert_verify: true,
            ..ProxySessionConfig::default()
        },
    };
    let hook = Interference(actions);
    let proxy = TransparentProxy::with_hook(config, Arc::new(NoOpProxyObserver), Arc::new(hook));
    let control = proxy.control();
    tokio::spawn(async move { proxy.run().await });
    let bound = async {
        loop {
            if let Ok(address) = control.local_addr() {
                return address;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    format!("moqt://{}", soon("the proxy's socket", bound).await)
}

/// The lines of group `group`, five in each.
fn group(group: u64) -> Vec<String> {
    (0..5).map(|object| format!("{group}/{object}")).collect()
}

fn write(publisher: &mut Process, groups: std::ops::Range<u64>) {
    let lines: Vec<String> = groups.flat_map(group).collect();
    publisher.write((lines.join("\n") + "\n").as_bytes());
}

/// All lines that the subscriber has printed when it has printed `count`, sorted.
fn received(subscriber: &Process, count: usize) -> Vec<String> {
    let mut lines = subscriber.wait_stdout("enough lines", |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    });
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_object_holds_up_nothing_but_its_own_stream() {
    let relay = Relay::start();
    let gate = Gate::new();
    let action = Action::Pass.held(gate.clone());
    let url = proxy(&relay, vec![("1/2", action)]).await;
    let mut publisher = publish(&relay.quic(), &["--group-lines", "5"]);
    let subscriber = subscribe(&url, &["--insecure"]);
    subscriber.wait_stderr("subscribed");
    write(&mut publisher, 0..4);
    let early = received(&subscriber, 17);
    let expected: Vec<String> = [group(0), group(1)[..2].to_vec(), group(2), group(3)].concat();
    assert_eq!(early, expected);
    gate.release();
    assert_eq!(
        received(&subscriber, 20),
        (0..4).flat_map(group).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_objects_arrive_all() {
    let relay = Relay::start();
    let delays = [
        ("0/0", 500),
        ("0/1", 400),
        ("0/2", 300),
        ("0/3", 200),
        ("0/4", 100),
    ];
    let delayed = |(payload, by)| (payload, Action::Pass.delayed(Duration::from_millis(by)));
    let at = delays.into_iter().map(delayed).collect();
    let url = proxy(&relay, at).await;
    let mut publisher = publish(&url, &["--group-lines", "5", "--insecure"]);
    let subscriber = subscribe(&relay.web(), &[]);
    subscriber.wait_stderr("subscribed");
    let begin = Instant::now();
    write(&mut publisher, 0..4);
    assert_eq!(
        received(&subscriber, 20),
        (0..4).flat_map(group).collect::<Vec<_>>()
    );
    let took = begin.elapsed();
    assert!(
        took >= Duration::from_millis(500),
        "all came after {took:?}"
    );
    publisher.close_stdin();
    assert_eq!(publisher.finish().code, Some(0));
    assert_eq!(subscriber.finish().code, Some(0));
}

/// Interferes with the third object of group 1 on the way to the relay or from it: who is behind that gets the objects
/// before it, and neither it nor what follows on its stream; everybody else gets everything, and all programs end well.
async fn cut(action: Action, from_relay: bool) {
    let relay = Relay::start();
    let url = proxy(&relay, vec![("1/2", action)]).await;
    let (to, from) = if from_relay {
        (relay.web(), url)
    } else {
        (url, relay.web())
    };
    let mut publisher = publish(&to, &["--group-lines", "5", "--insecure"]);
    let subscriber = subscribe(&from, &["--insecure"]);
    let watcher = subscribe(&relay.quic(), &[]);
    for program in [&subscriber, &watcher] {
        program.wait_stderr("subscribed");
    }
    // A reset may take back what is on its way, so what is before it arrives first.
    let before = [group(0), group(1)[..2].to_vec()].concat();
    publisher.write((before.join("\n") + "\n").as_bytes());
    for program in [&subscriber, &watcher] {
        assert_eq!(received(program, before.len()), before);
    }
    let after = [group(1)[2..].to_vec(), group(2), group(3)].concat();
    publisher.write((after.join("\n") + "\n").as_bytes());
    let all = (0..4).flat_map(group).collect::<Vec<_>>();
    let left = [before, group(2), group(3)].concat();
    let programs = if from_relay {
        [(subscriber, &left), (watcher, &all)]
    } else {
        [(subscriber, &left), (watcher, &left)]
    };
    for (program, lines) in &programs {
        assert_eq!(&received(program, lines.len()), *lines);
    }
    publisher.close_stdin();
    assert_eq!(publisher.finish().code, Some(0));
    for (program, lines) in programs {
        let end = program.finish();
        assert_eq!(end.code, Some(0), "{:#?}", end.stderr);
        // Nothing came after that either.
        let text = end.stdout_text();
        let mut printed: Vec<_> = text.lines().collect();
        printed.sort_unstable();
        assert_eq!(&printed, lines);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_truncated_on_its_way_to_the_relay_is_gone_alone() {
    cut(
        Action::Truncate {
            bytes: 3,
            code: DELIVERY_TIMEOUT,
        },
        false,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_truncated_on_its_way_from_the_relay_is_missed_by_one_viewer() {
    cut(
        Action::Truncate {
            bytes: 3,
            code: DELIVERY_TIMEOUT,
        },
        true,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reset_on_its_way_to_the_relay_is_gone_alone() {
    cut(
        Action::ResetStream {
            code: DELIVERY_TIMEOUT,
        },
        false,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reset_on_its_way_from_the_relay_is_missed_by_one_viewer() {
    cut(
        Action::ResetStream {
            code: DELIVERY_TIMEOUT,
        },
        true,
    )
    .await;
}
