//! Who runs. What a contestant's configuration is, its own source says.

/// A contestant: a package of this workspace, perhaps with a feature and in one of several variants.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) feature: Option<&'static str>,
    pub(crate) variant: &'static str,
    /// The crates whose version and features tell what is compared.
    pub(crate) shown: &'static [&'static str],
    /// Whether it checks tokens at all.
    pub(crate) judges: bool,
    /// Whether the mixed load tells anything.
    pub(crate) caches: bool,
}

const fn ours(name: &'static str, variant: &'static str) -> Entry {
    Entry { name, package: "ours", feature: None, variant, shown: &["aws-lc-rs"], judges: true, caches: false }
}

const fn peer(name: &'static str, package: &'static str, shown: &'static [&'static str]) -> Entry {
    Entry { name, package, feature: None, variant: "", shown, judges: true, caches: false }
}

pub(crate) const BARE: usize = 0;
pub(crate) const LIMIT: usize = 1;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry { judges: false, shown: &["axum"], ..ours("bare route", "bare") },
    Entry { judges: false, ..ours("limit: bare + one parsed-key verification", "limit") },
    ours("tower-oauth, no cache", "no cache"),
    Entry { caches: true, ..ours("tower-oauth, cached (hit)", "cached") },
    peer("jwt-authorizer", "with-jwt-authorizer", &["jwt-authorizer", "jsonwebtoken"]),
    Entry {
        feature: Some("rust-crypto"),
        ..peer(
            "tower-oauth2-resource-server, its default",
            "with-tower-oauth2-resource-server",
            &["tower-oauth2-resource-server", "jsonwebtoken"],
        )
    },
    Entry {
        feature: Some("aws-lc-rs"),
        ..peer(
            "tower-oauth2-resource-server, aws-lc-rs",
            "with-tower-oauth2-resource-server",
            &["tower-oauth2-resource-server", "jsonwebtoken"],
        )
    },
    peer("axum-jwt-auth", "with-axum-jwt-auth", &["axum-jwt-auth", "jsonwebtoken"]),
    Entry {
        feature: Some("aws-lc-rs"),
        ..peer("axum-jwt-auth, aws-lc-rs installed by hand", "with-axum-jwt-auth", &["axum-jwt-auth", "jsonwebtoken"])
    },
    peer("axum-jwks", "with-axum-jwks", &["axum-jwks", "jsonwebtoken"]),
    peer("aliri_tower", "with-aliri-tower", &["aliri_tower", "ring"]),
    peer("axum-keycloak-auth", "with-axum-keycloak-auth", &["axum-keycloak-auth", "jsonwebtoken"]),
    peer("oauth-resource-server", "with-oauth-resource-server", &["oauth-resource-server", "jsonwebtoken"]),
    peer("huskarl-axum", "with-huskarl-axum", &["huskarl-axum", "rsa"]),
];
