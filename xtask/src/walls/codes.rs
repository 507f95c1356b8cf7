//! Wall 4: one place picks close codes, and one codec knows the numbers of the draft.

use super::rule::{PURE, Violation, names_draft, part};
use crate::source::{CrateSource, SourceFile, TokenKind};

/// Where the codec in use gets its name for everybody else: the seam where a later draft joins.
const CODEC_SEAM: &str = "model/mod.rs";

/// Type of the session termination codes (draft-14 §3.4).
const CLOSE_CODE: &str = "SessionCode";

/// The one code that judges nobody: the end that an application asked for.
const NO_ERROR: &str = "NO_ERROR";

/// Where a code of the session is chosen.
const CLOSE_CODE_MAP: &str = "session/error.rs";

/// Parts in which a small hexadecimal number is a message type, stream type or code.
const NUMBERLESS: [&str; 6] = ["session", "track", "relay", "peer", "client", "relay/serve"];

/// Larger numbers are not from the draft's registries: hash constants, for instance.
const LARGEST_REGISTERED: u64 = 0xfff;

pub(super) fn check(source: &CrateSource) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &source.files {
        let Some(part) = part(source, file).filter(|part| *part != "model") else {
            continue;
        };
        let inner = source.inner_path(file);
        for at in file.shipped() {
            let token = &file.tokens[at];
            let mut report = |message: String| {
                found.push(Violation::new(file, token.line, "codes", message));
            };
            if token.kind == TokenKind::Ident && names_draft(&token.text) {
                report(format!(
                    "`{}` is named outside model: use what {CODEC_SEAM} exports of it",
                    token.text,
                ));
            }
            if picks_close_code(file, at, part) && inner != CLOSE_CODE_MAP {
                report(format!(
                    "a close code is picked here: return an error and let {CLOSE_CODE_MAP} map it \
                     (only {CLOSE_CODE}::{NO_ERROR}, which judges nobody, may be named in a shell)"
                ));
            }
            if NUMBERLESS.contains(&part)
                && hex_value(&token.text).is_some_and(|n| n <= LARGEST_REGISTERED)
            {
                report(format!(
                    "`{}` looks like a number of the draft's registries: name it in model",
                    token.text
                ));
            }
        }
    }
    found
}

/// `SessionCode::NAME`, or a number as first argument of a method `close`.
fn picks_close_code(file: &SourceFile, at: usize, part: &str) -> bool {
    let name = file.text(at + 2);
    let constant = file.reads(at, &[CLOSE_CODE, "::"])
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && (PURE.contains(&part) || name != NO_ERROR);
    let number = file.reads(at, &[".", "close", "("])
        && file
            .text(at + 3)
            .starts_with(|first: char| first.is_ascii_digit());
    constant || number
}

fn hex_value(literal: &str) -> Option<u64> {
    let digits: String = literal
        .strip_prefix("0x")?
        .chars()
        .filter(|c| *c != '_')
        .take_while(char::is_ascii_hexdigit)
        .collect();
    u64::from_str_radix(&digits, 16).ok()
}
