//! Wall 3: the relay's core knows sessions by id and payload as bytes; no stream, socket or draft.

use super::rule::{Violation, names_draft, part};
use crate::{
    paths::References,
    source::{CrateSource, TokenKind},
};

const WORDS: [(&str, &str); 9] = [
    ("Connection", "a connection"),
    ("IpAddr", "a socket"),
    ("RecvStream", "a stream"),
    ("SendStream", "a stream"),
    ("SocketAddr", "a socket"),
    ("StreamId", "a stream"),
    ("TcpStream", "a socket"),
    ("UdpSocket", "a socket"),
    ("VarInt", "the wire"),
];

pub(super) fn check(source: &CrateSource, references: &References<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, file) in source.files.iter().enumerate() {
        if part(source, file) != Some("relay") {
            continue;
        }
        let mut report = |line, word: &str, what: &str| {
            let message = format!(
                "the relay's core names {what} (`{word}`): it knows sessions by id and payload as bytes; \
                 do this in relay/serve, peer or session"
            );
            found.push(Violation::new(file, line, "relay core", message));
        };
        for at in file.shipped() {
            let token = &file.tokens[at];
            if token.kind != TokenKind::Ident {
                continue;
            }
            if let Some((_, what)) = WORDS.iter().find(|(word, _)| token.text == *word) {
                report(token.line, &token.text, what);
            }
            if names_draft(&token.text) {
                report(token.line, &token.text, "a draft");
            }
        }
        for reference in references.of(index).iter().filter(|one| !one.in_test) {
            if reference.path.iter().any(|name| name == "coding") {
                report(reference.line, &reference.text(), "the wire");
            }
        }
    }
    found
}
