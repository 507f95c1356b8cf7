//! What to do where a certificate is not trusted.

/// Where nothing says whom to trust but the system.
pub(super) const GIVE_TRUST: &str =
    "Give `--ca`, `--fingerprint` or, for tests only, `--insecure`.";

/// Where a fingerprint is another one.
pub(super) const GIVE_FINGERPRINT: &str =
    "Give the fingerprint that the relay prints with `--fingerprint`.";

/// Where `--ca` is given, by what the verifier says of the certificate.
pub(super) fn with_roots(reason: &str) -> &'static str {
    const ISSUER: &str = "Give the authority that issued it with `--ca`, or have the relay send the whole chain with `--cert`.";
    const ADVICE: [(&str, &str); 6] = [
        (
            "CaUsedAsEndEntity",
            "It is that of an authority (CA:TRUE): make it with `-addext basicConstraints=critical,CA:FALSE`, or give its `--fingerprint`.",
        ),
        (
            "not valid for name",
            "Connect to a host that it names, or have a certificate issued that names this one (subjectAltName).",
        ),
        ("expired", "Renew the files of the relay's `--cert`."),
        (
            "not valid yet",
            "Check the clocks of both machines, or have the relay use a certificate that is valid.",
        ),
        ("UnknownIssuer", ISSUER),
        // An authority of the same name with another key.
        ("BadSignature", ISSUER),
    ];
    let found = ADVICE.iter().find(|(cause, _)| reason.contains(cause));
    found.map_or(
        "Have the relay use a certificate of that authority, or give `--fingerprint`.",
        |(_, advice)| advice,
    )
}
