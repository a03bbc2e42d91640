//! URLs as errors and logs show them. User info, query and fragment can be secrets.

use url::Url;

/// A URL without user info, query and fragment.
pub fn shown_url(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// A text that does not parse as a URL, without what may be user info, query and fragment.
pub fn shown_text(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let text = &text[..end];
    match text.rsplit_once('@') {
        Some((before, rest)) => {
            let scheme =
                before.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
            format!("{scheme}…@{rest}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_secret_is_not_shown() {
        let url = Url::parse("https://me:s3cret@login.example:8443/sign_in?code=s3cret#s3cret").unwrap();
        assert_eq!(shown_url(&url), "https://login.example:8443/sign_in");
        for (text, shown) in [
            ("http://h:99999/x", "http://h:99999/x"),
            ("http://me:s3cret@h:99999/x", "http://…@h:99999/x"),
            ("http://me:s3@cret@h:99999/x?token=s3cret", "http://…@h:99999/x"),
            ("me:s3cret@h", "…@h"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(shown_text(text), shown);
        }
    }
}
