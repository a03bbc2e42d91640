//! The sample repository and the objects that point at it, as files next to this one.

use anyhow::Result;
use plumb_testkit::repository::Repository;

/// Path in the repository, content.
const FILES: [(&str, &str); 12] = [
    ("deploy/base/kustomization.yaml", include_str!("sample/deploy/base/kustomization.yaml")),
    ("deploy/base/namespace.yaml", include_str!("sample/deploy/base/namespace.yaml")),
    ("deploy/base/definition.yaml", include_str!("sample/deploy/base/definition.yaml")),
    ("deploy/base/sale.yaml", include_str!("sample/deploy/base/sale.yaml")),
    ("deploy/base/account.yaml", include_str!("sample/deploy/base/account.yaml")),
    ("deploy/base/settings.yaml", include_str!("sample/deploy/base/settings.yaml")),
    ("deploy/base/credentials.yaml", include_str!("sample/deploy/base/credentials.yaml")),
    ("deploy/base/deployment.yaml", include_str!("sample/deploy/base/deployment.yaml")),
    ("deploy/base/service.yaml", include_str!("sample/deploy/base/service.yaml")),
    ("deploy/prod/kustomization.yaml", include_str!("sample/deploy/prod/kustomization.yaml")),
    ("deploy/prod/sale.yaml", include_str!("sample/deploy/prod/sale.yaml")),
    ("watched/office.yaml", include_str!("sample/watched/office.yaml")),
];

/// The user that pushes and pulls.
pub const GIT_USER: &str = "demo";
/// The user's password.
pub const GIT_PASSWORD: &str = "demo-password";
/// What webhooks are signed with.
pub const WEBHOOK_TOKEN: &str = "demo-token";

/// Writes the sample into a working tree.
pub fn write(repository: &Repository) -> Result<()> {
    FILES.iter().try_for_each(|(path, content)| repository.write(path, content))
}

/// The objects, with addresses filled in.
pub fn objects(git_url: &str, sink_url: &str) -> String {
    include_str!("sample/objects.yaml")
        .replace("GIT_USER", GIT_USER)
        .replace("GIT_PASSWORD", GIT_PASSWORD)
        .replace("WEBHOOK_TOKEN", WEBHOOK_TOKEN)
        .replace("GIT_URL", git_url)
        .replace("SINK_URL", sink_url)
}
