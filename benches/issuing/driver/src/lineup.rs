//! The contenders. The source of each program has its configuration.

use crate::{
    stores::{Store, Stores},
    work::Work,
};

pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) program: Program,
    /// The program's argument.
    pub(crate) variant: &'static str,
    /// Lifetime of its tokens in seconds, if it can be configured.
    pub(crate) lifetime: u64,
    /// Maximum number of active tokens of the client that can be limited.
    pub(crate) token_limit: Option<u32>,
    pub(crate) work: Work,
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
        Self {
            name: name.into(),
            program,
            variant,
            lifetime: 900,
            token_limit: None,
            work: Work::Issue,
            store: None,
            token,
        }
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
    all.extend(operations(stores));
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

/// Returns what only tower-oauth is measured with.
fn operations(stores: &Stores) -> Vec<Contender> {
    let ours = |name: String, work, token_limit, store: &Option<Result<Store, String>>| Contender {
        work,
        token_limit,
        store: store.clone(),
        ..Contender::new(format!("tower-oauth, {name}"), Program::Ours, "opaque", Token::Opaque)
    };
    let [everysec, _, (postgres_name, postgres), _] = stores.all();
    let postgres = Some(postgres);
    let places = [("memory", None), (everysec.0, Some(everysec.1)), (postgres_name, postgres.clone())];
    let mut all = Vec::new();
    for (name, work) in [("refresh", Work::Refresh), ("code", Work::Code), ("introspection", Work::Introspect)] {
        all.extend(places.iter().map(|(place, store)| ours(format!("{name}, {place}"), work, None, store)));
    }
    for (place, store) in &places {
        let limited =
            |limit| ours(format!("at most {limit} active tokens, {place}"), Work::IssueLimited, Some(limit), store);
        all.extend([10, 10_000].map(limited));
    }
    let name = |beside: &str| format!("latency of 16 connections {beside}, {postgres_name}");
    all.extend([
        ours(name("alone"), Work::IssueHalf, None, &postgres),
        ours(name("beside 16 of a client without a limit"), Work::IssueBeside, None, &postgres),
        ours(name("beside 16 of a client with at most 10 active tokens"), Work::IssueBeside, Some(10), &postgres),
    ]);
    all
}
