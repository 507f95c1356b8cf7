//! What a WebTransport client asked for.

/// Where a WebTransport session is, as its request says.
#[derive(Debug)]
pub(super) struct WebRequest {
    pub(super) authority: String,
    /// With its query.
    pub(super) path: String,
}

impl WebRequest {
    pub(super) fn of(url: &url::Url) -> Self {
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Self {
            // Without what stands before the host, which is not for others to see.
            authority: url[url::Position::BeforeHost..url::Position::AfterPort].to_owned(),
            path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_identifies_the_client_is_not_part_of_the_authority() {
        let url = "https://user:secret@example.com:4443/live/cam?x=1"
            .parse()
            .unwrap();
        let request = WebRequest::of(&url);
        assert_eq!(request.authority, "example.com:4443");
        assert_eq!(request.path, "/live/cam?x=1");
    }
}
