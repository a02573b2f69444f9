//! The contenders. The source of each program has its configuration.

use crate::stores::{Store, Stores};

pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) program: Program,
    /// The program's argument.
    pub(crate) variant: &'static str,
    /// Lifetime of its tokens in seconds, if it can be configured.
    pub(crate) lifetime: u64,
    /// Its store, if that is not memory; or why the store is missing.
    pub(crate) store: Option<Result<Store, String>>,
    pub(crate) token: Token,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    OxideAuth,
    OAuth2Server,
}

/// The kind of its tokens, which decides the limit with which it is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Fixed,
    Opaque,
    Jwt,
}

/// The indexes of the two limits.
pub(crate) const BARE: usize = 0;
pub(crate) const SIGNATURE: usize = 1;

impl Contender {
    fn new(name: impl Into<String>, program: Program, variant: &'static str, token: Token) -> Self {
        Self { name: name.into(), program, variant, lifetime: 900, store: None, token }
    }

    /// Returns whether this is a server, and not a limit.
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
            ..Contender::new("tower-oauth, opaque, memory, as many expire as are issued", Ours, "opaque", Opaque)
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
        Contender::new("oxide-auth, TokenMap, default: secrets by Argon2", OxideAuth, "argon2", Opaque),
        Contender::new("oxide-auth, TokenMap, secrets by SHA-256", OxideAuth, "map", Opaque),
        Contender::new("oxide-auth, TokenSigner (HMAC, no JWT), secrets by SHA-256", OxideAuth, "signer", Opaque),
        Contender::new("@node-oauth/oauth2-server, opaque, memory", OAuth2Server, "opaque", Opaque),
        Contender::new("@node-oauth/oauth2-server, ES256 by node:crypto, memory", OAuth2Server, "crypto", Jwt),
        Contender::new("@node-oauth/oauth2-server, ES256 by jose, memory", OAuth2Server, "jose", Jwt),
    ]);
    all
}
