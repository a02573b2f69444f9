//! The contestants. The source of each program has its configuration.

/// A contestant: a package of this workspace, perhaps with a feature and in one of several variants.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) feature: Option<&'static str>,
    pub(crate) variant: &'static str,
    /// The crates whose versions and features the report shows.
    pub(crate) shown: &'static [&'static str],
    /// Whether it verifies tokens, unlike the two limits.
    pub(crate) verifies: bool,
    /// Whether it caches verdicts, so that the mixed load differs from the other.
    pub(crate) caches: bool,
}

const fn ours(name: &'static str, variant: &'static str) -> Entry {
    Entry { name, package: "ours", feature: None, variant, shown: &["aws-lc-rs"], verifies: true, caches: false }
}

const fn peer(name: &'static str, package: &'static str, shown: &'static [&'static str]) -> Entry {
    Entry { name, package, feature: None, variant: "", shown, verifies: true, caches: false }
}

pub(crate) const BARE: usize = 0;
pub(crate) const LIMIT: usize = 1;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry { verifies: false, shown: &["axum"], ..ours("bare route", "bare") },
    Entry { verifies: false, ..ours("limit: bare + one parsed-key verification", "limit") },
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
