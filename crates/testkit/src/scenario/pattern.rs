//! The calls that a response is for: a method and a path with stars.

/// A method (`*` is any) and a path in which `*` is one segment, or at the end the rest.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    method: String,
    path: String,
}

impl Pattern {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned() }
    }

    pub(crate) fn fits(&self, method: &str, path: &str) -> bool {
        (self.method == "*" || self.method == method) && fits_path(&self.path, path)
    }
}

fn fits_path(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let mut wanted = pattern.split('/').peekable();
    while let Some(want) = wanted.next() {
        let Some(segment) = segments.next() else { return false };
        if want == "*" && wanted.peek().is_none() {
            return true;
        }
        if want != "*" && want != segment {
            return false;
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expect: bool) {
        assert_eq!(fits_path(pattern, path), expect, "{pattern} against {path}");
    }

    #[test]
    fn a_star_is_one_segment_and_at_the_end_the_rest() {
        check("/api/v1/pods", "/api/v1/pods", true);
        check("/api/v1/pods", "/api/v1/pods/x", false);
        check("/api/*/pods", "/api/v1/pods", true);
        check("/api/*/pods", "/api/v1/x/pods", false);
        check("/apis/*", "/apis/apps/v1/deployments", true);
        check("/apis/apps/*", "/apis/apps", false);
    }
}
