//! Redirects: how many, and where to. A connection never becomes less safe. Whoever follows one checks the address of its target
//! before the next request, as that of the first.

use http::{HeaderMap, header::LOCATION};
use url::Url;

use crate::shown::shown_url;

/// Redirects that are followed in one exchange.
pub const REDIRECTS_MAX: usize = 10;

/// Whether [`crate::HttpClient`] follows redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// A redirect is a response like any other.
    None,
    /// At most [`REDIRECTS_MAX`] are followed. Credentials and sensitive headers stay with the origin of the request.
    Follow,
}

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// There is no target, or it is no http or https URL.
    #[error("the server sent a redirect without a usable target")]
    NoTarget,
    /// From https to http.
    #[error("the server redirected from https to {target}, which is not encrypted")]
    Downgrade {
        /// Where to.
        target: String,
    },
    /// Too many.
    #[error("the server redirected more than {REDIRECTS_MAX} times")]
    TooMany,
}

/// The target of a redirect: the header `Location` of the response to a request for `from`.
pub fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, RedirectError> {
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| from.join(location).ok()).ok_or(RedirectError::NoTarget)?;
    is_safe(from, &target)?;
    Ok(target)
}

fn is_safe(from: &Url, target: &Url) -> Result<(), RedirectError> {
    match (from.scheme(), target.scheme()) {
        ("https", "http") => Err(RedirectError::Downgrade { target: shown_url(target) }),
        (_, "http" | "https") => Ok(()),
        _ => Err(RedirectError::NoTarget),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_target_is_a_url_over_a_connection_as_safe() {
        let target = |from: &str, to: &str| {
            let headers = HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]);
            redirect_target(&url(from), &headers)
                .map(|url| url.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(target("http://a/x/y", "../z"), Ok("http://a/z".to_owned()));
        assert_eq!(target("http://a/x", "https://b/z"), Ok("https://b/z".to_owned()));
        for (from, to, expect) in [
            ("https://a/x", "http://me:pw@a/z?t=pw", "redirected from https to http://a/z, which"),
            ("http://a/x", "file:///etc/passwd", "without a usable target"),
            ("http://a/x", "http://[", "without a usable target"),
        ] {
            let error = target(from, to).unwrap_err();
            assert!(error.contains(expect) && !error.contains("pw"), "{error}");
        }
        assert_eq!(redirect_target(&url("http://a"), &HeaderMap::new()), Err(RedirectError::NoTarget));
    }
}
