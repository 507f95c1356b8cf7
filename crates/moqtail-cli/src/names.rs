//! Names as the command line writes them.

use moqtail::model::{FullTrackName, TrackNamespace};

use crate::errors::{CliError, clipped, plain};

/// The namespace of a broadcast. The draft knows one whose only field is empty; here that is a variable that was not set.
pub(crate) fn broadcast(text: &str) -> Result<TrackNamespace, String> {
    if text.is_empty() {
        return Err("a broadcast has a name, such as live/cam".to_owned());
    }
    text.parse().map_err(plain)
}

/// The track `name` of a broadcast; `%XX` in it stands for a byte.
pub(crate) fn track(namespace: &TrackNamespace, name: &str) -> Result<FullTrackName, CliError> {
    format!("{namespace}#{name}")
        .parse()
        .map_err(|error: moqtail::model::NameError| {
            let line = format!("`{name}` is no track name: {}", plain(error));
            CliError::Usage(clipped(&line))
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
