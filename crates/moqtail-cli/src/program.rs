//! How the person at the terminal calls this program, for commands to paste.

use std::{env, path::Path};

/// The program as it was called: its name if the shell found it, else its path.
pub(crate) fn name() -> String {
    called_as(env::args_os().next().as_deref().map(Path::new))
}

fn called_as(path: Option<&Path>) -> String {
    let name = path
        .and_then(Path::to_str)
        .filter(|name| !name.is_empty())
        .unwrap_or("moqtail");
    quoted(name)
}

/// A path as one word of a command.
pub(crate) fn quoted(path: &str) -> String {
    match path.contains(char::is_whitespace) {
        true => format!("'{path}'"),
        false => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_named_as_it_was_called() {
        assert_eq!(called_as(Some(Path::new("moqtail"))), "moqtail");
        assert_eq!(
            called_as(Some(Path::new("target/release/moqtail"))),
            "target/release/moqtail"
        );
        assert_eq!(
            called_as(Some(Path::new("/my tools/moqtail"))),
            "'/my tools/moqtail'"
        );
        assert_eq!(called_as(None), "moqtail");
    }
}
