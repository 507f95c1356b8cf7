//! Track names as the command line writes them.

use moqtail::model::{FullTrackName, TrackNamespace};

use crate::errors::{CliError, plain};

/// The track `name` of a broadcast; `%XX` in it stands for a byte.
pub(crate) fn track(namespace: &TrackNamespace, name: &str) -> Result<FullTrackName, CliError> {
    format!("{namespace}#{name}")
        .parse()
        .map_err(|error: moqtail::model::NameError| {
            CliError::Usage(format!("`{name}` is no track name: {}", plain(error)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_name_may_hold_any_byte() {
        let namespace: TrackNamespace = "site/7".parse().unwrap();
        assert_eq!(track(&namespace, "temp").unwrap().name(), "temp");
        assert_eq!(
            track(&namespace, "a/b#c%00").unwrap().name(),
            &b"a/b#c\0"[..]
        );
        assert!(
            track(&namespace, "%zz")
                .unwrap_err()
                .to_string()
                .contains("hexadecimal")
        );
    }
}
