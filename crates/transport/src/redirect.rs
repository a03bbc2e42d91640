//! Redirects: how many, and where to. A connection never becomes less safe, and no target is at a rejected address.

use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use crate::{
    address::{AddressPolicy, RejectedAddress},
    shown::shown_url,
};

/// Redirects that are followed in one exchange.
pub const REDIRECTS_MAX: usize = 10;

/// Whether a client follows redirects by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// A redirect is a response like any other.
    None,
    /// At most [`REDIRECTS_MAX`] are followed. Headers with credentials go to the same host and port only.
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
    /// The target is at an address that connections may not go to.
    #[error(transparent)]
    Address(RejectedAddress),
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

impl Redirects {
    pub(crate) fn policy(self, addresses: Option<AddressPolicy>) -> reqwest::redirect::Policy {
        match self {
            Self::None => reqwest::redirect::Policy::none(),
            Self::Follow => reqwest::redirect::Policy::custom(move |attempt| {
                let checked = check(attempt.previous(), attempt.url(), addresses);
                match checked {
                    Ok(()) => attempt.follow(),
                    Err(error) => attempt.error(error),
                }
            }),
        }
    }
}

/// `previous` begins with the URL of the request.
fn check(previous: &[Url], target: &Url, addresses: Option<AddressPolicy>) -> Result<(), RedirectError> {
    if previous.len() > REDIRECTS_MAX {
        return Err(RedirectError::TooMany);
    }
    if let Some(from) = previous.last() {
        is_safe(from, target)?;
    }
    addresses.map_or(Ok(()), |addresses| addresses.check_url(target)).map_err(RedirectError::Address)
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

    #[test]
    fn redirects_end_and_lead_to_no_rejected_address() {
        let previous: Vec<_> = (0..=REDIRECTS_MAX).map(|n| url(&format!("http://a/{n}"))).collect();
        assert_eq!(check(&previous[..REDIRECTS_MAX], &url("http://a/z"), None), Ok(()));
        assert_eq!(check(&previous, &url("http://a/z"), None), Err(RedirectError::TooMany));
        let policy = AddressPolicy::reject_link_local("--allow-x");
        let error = check(&previous[..1], &url("http://169.254.169.254/latest"), Some(policy)).unwrap_err();
        assert!(error.to_string().contains("--allow-x"), "{error}");
    }
}
