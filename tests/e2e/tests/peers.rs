//! Programs of others against our relay. Their paths come in by the environment; `./test peers` installs them.

#![cfg(all(unix, feature = "peers"))]

use std::process::Command;

use moqtail_e2e::Relay;

/// Runs the six interop cases of `moq-test-client` and expects `ok` for each.
fn six_cases(url: &str) {
    let client = std::env::var("MOQ_TEST_CLIENT").expect("`./test peers` sets MOQ_TEST_CLIENT");
    let run = Command::new(client)
        .args(["--relay", url, "--tls-disable-verify"])
        .env("RUST_LOG", "off")
        .output()
        .expect("moq-test-client runs");
    let report = String::from_utf8_lossy(&run.stdout);
    for (number, case) in [
        "setup-only",
        "announce-only",
        "subscribe-error",
        "announce-subscribe",
        "subscribe-before-announce",
        "publish-namespace-done",
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("ok {} - {case}", number + 1);
        assert!(
            report.lines().any(|l| l == line),
            "no `{line}` in:\n{report}"
        );
    }
    assert!(run.status.success(), "{report}");
}

#[test]
fn moq_test_client_passes_over_quic() {
    six_cases(&Relay::start().quic());
}

#[test]
fn moq_test_client_passes_over_webtransport() {
    six_cases(&Relay::start().web());
}
