//! Who runs. How a contender is configured, its own source says.

use crate::stores::{Store, Stores};

pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) program: Program,
    /// The program's argument.
    pub(crate) variant: &'static str,
    /// How long its tokens live, in seconds, where it can be told.
    pub(crate) lifetime: u64,
    /// Where it remembers, if not in memory; or why there is no such place.
    pub(crate) store: Option<Result<Store, String>>,
    pub(crate) token: Token,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    OxideAuth,
    OAuth2Server,
}

/// What it hands out, and so which limit it is held against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Fixed,
    Opaque,
    Jwt,
}

/// The places of the two limits.
pub(crate) const BARE: usize = 0;
pub(crate) const SIGNATURE: usize = 1;

impl Contender {
    fn new(name: impl Into<String>, program: Program, variant: &'static str, token: Token) -> Self {
        Self { name: name.into(), program, variant, lifetime: 900, store: None, token }
    }

    /// Whether it is a server at all, and no limit.
    pub(crate) fn issues(&self) -> bool {
        !["bare", "signature"].contains(&self.variant)
    }
}

pub(crate) fn lineup(stores: &Stores) -> Vec<Contender> {
    use Program::{OAuth2Server, Ours, OxideAuth};
    use Token::{Fixed, Jwt, Opaque};
    let mut all = vec![
        Contender::new("limit: bare axum route", Ours, "bare", Fixed),
        Contender::new("limit: bare + one ES256 signature", Ours, "signature", Jwt),
        Contender::new("tower-oauth, opaque, memory", Ours, "opaque", Opaque),
        Contender {
            lifetime: 2,
            ..Contender::new("tower-oauth, opaque, memory, as many expire as come", Ours, "opaque", Opaque)
        },
        Contender::new("tower-oauth, ES256, memory", Ours, "jwt", Jwt),
    ];
    for (place, store) in stores.all() {
        for (variant, token) in [("opaque", Opaque), ("jwt", Jwt)] {
            let shown = if token == Jwt { "ES256" } else { "opaque" };
            all.push(Contender {
                store: Some(store.clone()),
                ..Contender::new(format!("tower-oauth, {shown}, {place}"), Ours, variant, token)
            });
        }
    }
    all.extend([
        Contender::new("oxide-auth, TokenMap, as it comes: secrets by Argon2", OxideAuth, "argon2", Opaque),
        Contender::new("oxide-auth, TokenMap, secrets by SHA-256", OxideAuth, "map", Opaque),
        Contender::new("oxide-auth, TokenSigner (HMAC, no JWT), secrets by SHA-256", OxideAuth, "signer", Opaque),
        Contender::new("@node-oauth/oauth2-server, opaque, memory", OAuth2Server, "opaque", Opaque),
        Contender::new("@node-oauth/oauth2-server, ES256 by node:crypto, memory", OAuth2Server, "crypto", Jwt),
        Contender::new("@node-oauth/oauth2-server, ES256 by jose, memory", OAuth2Server, "jose", Jwt),
    ]);
    all
}
