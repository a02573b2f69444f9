//! Issuers that are unknown until a token names them, for APIs with many tenants.
//!
//! *In*: a token. *Out*: the verdict of the verifier that a callback returned for the token's issuer.
//!
//! The callback is the allow-list. Nothing is fetched from an issuer that it does not approve. Any client can name any issuer,
//! so decisions are bounded in number, and an issuer is protected from unsigned and forged tokens as soon as one of its tokens
//! was accepted. Whether the token's issuer belongs to the tenant in the request's path or host is checked only if the callback
//! or the handler does it.

mod budget;
mod builder;
mod decider;
mod inquiry;
mod known_issuers;

use std::{fmt, sync::Arc};

pub use self::{builder::DynamicIssuersBuilder, inquiry::IssuerInquiry};
use self::{
    decider::IssuerDecider,
    inquiry::NamedIssuer,
    known_issuers::{ApprovedIssuer, IssuerPlace, IssuerState},
};
use super::{
    CacheKey, JwtVerifier, PresentedToken, Verdict, Verify, presented_token::OwnedPresentedToken,
    trusted_issuers::unverified_token_issuer,
};
use crate::{
    claims::VerifierId,
    error::{AuthError, Reason},
    jws::Compact,
    token::Token,
};

/// Verifies the JWT access tokens of issuers that a callback approves. Clones share everything.
///
#[cfg_attr(feature = "http-client", doc = "```")]
#[cfg_attr(not(feature = "http-client"), doc = "```ignore")]
/// use std::{collections::HashSet, sync::Arc};
/// use tower_oauth::{fetch::HttpClient, verify::{DynamicIssuers, IssuerInquiry}, Issuer, JwtVerifier, OAuthLayer};
///
/// # fn example(customers: HashSet<String>) -> Result<(), tower_oauth::ConfigError> {
/// let client = HttpClient::new()?; // one for all issuers: a new client takes milliseconds
/// let customers = Arc::new(customers);
/// let approve = move |inquiry: IssuerInquiry| {
///     let (client, customers) = (client.clone(), Arc::clone(&customers));
///     async move {
///         // The issuer of Entra ID contains the tenant.
///         let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
///         let tenant = DynamicIssuers::match_template(template, inquiry.issuer())?;
///         if !customers.contains(tenant) { // or a query of a database
///             return None;
///         }
///         let issuer = Issuer::builder(inquiry.issuer()).fetch(client).build().ok()?;
///         JwtVerifier::builder(issuer, "api://orders").accept_plain_jwt_type().build().ok()
///     }
/// };
/// let layer = OAuthLayer::new(DynamicIssuers::builder(approve).max_issuers(500).build());
/// # Ok(())
/// # }
/// ```
///
/// # The callback
///
/// It gets the issuer that a token names, before anything of the token is verified, and returns a verifier for it, or `None` to
/// refuse it. A verifier for another issuer counts as a refusal. Use
/// [`IssuerBuilder::build`](crate::issuer::IssuerBuilder::build), which fetches nothing at first.
///
/// An approval is used for 300 s and a refusal for 30 s. So a removed tenant is refused after 300 s at the latest, and a new
/// tenant whose tokens were refused before is accepted after 30 s.
/// [`approval_age`](DynamicIssuersBuilder::approval_age) and [`refusal_age`](DynamicIssuersBuilder::refusal_age) change these
/// times, and [`invalidate`](Self::invalidate) ends both.
///
/// Requests that need the same decision share one call. A call that takes more than 5 s or panics is no decision: the requests
/// get 503, and the next one calls again. Only a token with the three segments of a JWS causes a call.
///
/// # Tokens that are unsigned or forged
///
/// An issuer becomes *established* when its verifier accepts a token. Until then it is a *newcomer*. Newcomers have a small place
/// of their own ([`max_newcomers`](DynamicIssuersBuilder::max_newcomers)), a budget for their verifiers
/// ([`newcomer_budget`](DynamicIssuersBuilder::newcomer_budget)), and 16 calls at a time, for which others wait up to 250 ms. A
/// newcomer above these bounds gets 503 with `Retry-After`. Established issuers need none of this, also when the callback is
/// called again for them. So a client without a valid token can make a new tenant wait, but never an established one.
///
/// # Tenants in paths and hosts
///
/// This verifier accepts the tokens of *all* tenants at *all* routes. An API whose requests name a tenant, in the path or the
/// host, must compare it with the token's issuer. Otherwise a token of tenant A reads the data of tenant B. There are two ways:
///
/// 1. The callback reads the head of the request. Then a token of another tenant gets 401, also where a handler does not check
///    the tenant. The decision holds for this request only: the callback runs for every request, and no
///    [`Cached`](crate::Cached) stores the verdict. The verifier and its keys are used again: only *whether* the callback returns
///    one may depend on the head, and its settings, such as the audience, are those of the first one. For an established issuer
///    the callback runs only after its verifier has accepted the token.
///
///    ```
///    use tower_oauth::verify::{DynamicIssuers, IssuerInquiry};
///    # async fn verifier_of(tenant: &str) -> Option<tower_oauth::JwtVerifier> { None }
///
///    let verifier = DynamicIssuers::new(|inquiry: IssuerInquiry| async move {
///        let tenant = DynamicIssuers::match_template("https://auth.example.com/{tenant}", inquiry.issuer())?;
///        // `/tenants/acme/orders`. Read it exactly as the router does.
///        let named = inquiry.head().uri.path().strip_prefix("/tenants/")?.split('/').next()?;
///        if named == tenant { verifier_of(tenant).await } else { None }
///    });
///    ```
///
/// 2. An extractor compares [`Token::issuer`](crate::Token::issuer) with the tenant. Decisions are then stored, and verdicts can
///    be cached. Each handler must use it.
///
#[cfg_attr(feature = "axum", doc = "   ```")]
#[cfg_attr(not(feature = "axum"), doc = "   ```ignore")]
///    use axum::extract::{FromRequestParts, Path};
///    use http::request::Parts;
///    use tower_oauth::{AuthError, Token};
///
///    /// The tenant in the path, with a token of this tenant.
///    struct Tenant(String);
///
///    impl<S: Send + Sync> FromRequestParts<S> for Tenant {
///        type Rejection = AuthError;
///
///        async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthError> {
///            let token = Token::from_request_parts(parts, state).await?;
///            let tenant = Path::<String>::from_request_parts(parts, state).await;
///            match tenant {
///                Ok(Path(tenant)) if token.issuer() == Some(&format!("https://auth.example.com/{tenant}")) => {
///                    Ok(Self(tenant))
///                }
///                _ => Err(AuthError::forbidden("The token belongs to another tenant")),
///            }
///        }
///    }
///
///    async fn orders(Tenant(tenant): Tenant) -> String {
///        format!("the orders of {tenant}")
///    }
///    # let _: axum::Router = axum::Router::new().route("/tenants/{tenant}/orders", axum::routing::get(orders));
#[doc = "   ```"]
#[derive(Clone)]
pub struct DynamicIssuers {
    id: VerifierId,
    decider: Arc<IssuerDecider>,
}

impl DynamicIssuers {
    /// Trusts the issuers for which `approve` returns a verifier.
    ///
    /// After the approval age `approve` is called again. If it still approves, the first verifier stays, because it has the
    /// issuer's keys; the new one is dropped. To replace the first verifier, call [`invalidate`](Self::invalidate).
    pub fn new<F, D>(approve: F) -> Self
    where
        F: Fn(IssuerInquiry) -> D + Send + Sync + 'static,
        D: Future<Output = Option<JwtVerifier>> + Send + 'static,
    {
        Self::builder(approve).build()
    }

    /// Returns a builder for further settings.
    pub fn builder<F, D>(approve: F) -> DynamicIssuersBuilder
    where
        F: Fn(IssuerInquiry) -> D + Send + Sync + 'static,
        D: Future<Output = Option<JwtVerifier>> + Send + 'static,
    {
        DynamicIssuersBuilder::new(approve)
    }

    /// Removes the decision and the verifier of an issuer. The next token of this issuer calls the callback again, even if a
    /// call is running now. An established issuer stays established.
    pub fn invalidate(&self, issuer: &str) {
        self.decider.known.invalidate(issuer);
    }

    /// Returns the part of `issuer` that the template has as `{…}`, or `None` if they don't match. Everything else must be
    /// equal, byte for byte.
    ///
    /// The part may contain ASCII letters, digits, `-`, `_` and `.`, and must not begin with a dot. So it can't contain a
    /// slash or another host.
    #[must_use]
    pub fn match_template<'i>(template: &str, issuer: &'i str) -> Option<&'i str> {
        let (before, rest) = template.split_once('{')?;
        let (_, after) = rest.split_once('}')?;
        let tenant = issuer.strip_prefix(before)?.strip_suffix(after)?;
        let legal_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let legal = !tenant.is_empty() && tenant.bytes().all(legal_byte) && !tenant.starts_with('.');
        legal.then_some(tenant)
    }

    /// Returns the verdict, or why this verifier isn't responsible for the token.
    fn verdict(&self, presented: &PresentedToken<'_>, issuer: String) -> Result<Verdict, AuthError> {
        match self.decider.known.find(&issuer) {
            IssuerState::Approved(approved) => {
                let verdict = presented.called_instead(self.id, || approved.verifier.verify(presented));
                Ok(self.establishing(issuer, approved, verdict))
            }
            IssuerState::Refused => Err(AuthError::not_responsible()),
            IssuerState::Undecided => {
                // The decision may depend on the head of this request. A verdict of a copy of the request is never cached.
                let (deciding, presented) = (self.clone(), presented.to_owned());
                let named = NamedIssuer { issuer: issuer.into(), head: Arc::clone(&presented.parts) };
                Ok(Verdict::undecided(async move { deciding.verify_after_decision(&presented, named).await }))
            }
        }
    }

    async fn verify_after_decision(
        self,
        presented: &OwnedPresentedToken,
        named: NamedIssuer,
    ) -> Result<Token, AuthError> {
        // If each request needs a decision, a forged token of an established issuer must cause none.
        let accepted = match self.decider.known.established_by_head(&named.issuer) {
            Some(verifier) => {
                let verdict = verifier.verify(&presented.as_presented());
                Some(verdict.resolve().await?)
            }
            None => None,
        };
        let approved = self.decider.decide(&named, accepted.is_some()).await?;
        // After an invalidation the verifier is another one.
        if let Some(token) = accepted.filter(|token| approved.verifier.is_still_valid(token)) {
            return Ok(token);
        }
        let verdict = approved.verifier.verify(&presented.as_presented());
        let token = verdict.resolve().await?;
        self.decider.known.establish(&named.issuer, &approved);
        Ok(token)
    }

    /// Makes the issuer established if the token is accepted.
    fn establishing(&self, issuer: String, approved: ApprovedIssuer, verdict: Verdict) -> Verdict {
        if approved.place == IssuerPlace::Established {
            return verdict;
        }
        let issuer = issuer.into();
        match verdict {
            Verdict::Now(Ok(token)) => {
                self.decider.known.establish(&issuer, &approved);
                Verdict::Now(Ok(token))
            }
            Verdict::Later(verifying) => {
                let decider = Arc::clone(&self.decider);
                Verdict::later(async move {
                    let token = verifying.await?;
                    decider.known.establish(&issuer, &approved);
                    Ok(token)
                })
            }
            refused @ Verdict::Now(Err(_)) => refused,
        }
    }
}

impl Verify for DynamicIssuers {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let verdict = named_issuer(presented.token()).and_then(|issuer| self.verdict(presented, issuer));
        verdict.unwrap_or_else(|error| {
            presented.called(self.id);
            Verdict::Now(Err(error))
        })
    }

    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        match named_issuer(presented.token()) {
            // Whether the issuer is ours may be known only later. Then the error of the verdict says so.
            Ok(issuer) => self.verdict(presented, issuer).ok(),
            Err(error) if error.is_not_responsible() => None,
            // No decision is made for such a token, so it may be one of ours.
            Err(error) => unverified_token_issuer(presented.token()).is_ok().then_some(Verdict::Now(Err(error))),
        }
    }

    // One id stands for all verifiers, because nothing but the token chooses one of them, unless the decision depends on the
    // head of the request. Then nothing is added, and the verdict is neither stored nor found.
    fn cache_key(&self, presented: &PresentedToken<'_>, key: &mut CacheKey) {
        let for_all_requests = || {
            let issuer = named_issuer(presented.token());
            issuer.is_ok_and(|issuer| !matches!(self.decider.known.find(&issuer), IssuerState::Undecided))
        };
        if !self.decider.reads_heads() || for_all_requests() {
            key.add_verifier(self.id);
        }
    }

    /// Checks the stored decision, and with its verifier the token. Calls no callback.
    fn is_still_valid(&self, token: &Token) -> bool {
        let Some(issuer) = token.issuer() else { return false };
        match self.decider.known.find(issuer) {
            IssuerState::Approved(approved) => approved.verifier.is_still_valid(token),
            IssuerState::Refused | IssuerState::Undecided => false,
        }
    }
}

/// Returns the unverified issuer of a token with the form of a JWS.
fn named_issuer(token: &str) -> Result<String, AuthError> {
    // Three segments, none of them empty: unsigned and encrypted tokens must not cause a call of the callback.
    let segments = token.bytes().filter(|byte| *byte == b'.').count() + 1;
    Compact::split(token.as_bytes()).filter(|_| segments == 3).ok_or(Reason::NotAJws)?;
    let issuer = unverified_token_issuer(token)?;
    if issuer.len() > MAX_IDENTIFIER_BYTES { Err(AuthError::not_responsible()) } else { Ok(issuer) }
}

impl fmt::Debug for DynamicIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicIssuers")
            .field("established", &self.decider.known.established_count())
            .finish_non_exhaustive()
    }
}

/// A longer issuer is refused without a call of the callback, and not stored.
const MAX_IDENTIFIER_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::DynamicIssuers;

    #[test]
    fn a_template_matches_one_plain_tenant_and_nothing_else() {
        let template = "https://login.test/{tenantid}/v2.0";
        let tenant = |issuer| DynamicIssuers::match_template(template, issuer);
        assert_eq!(tenant("https://login.test/aaaa-0000/v2.0"), Some("aaaa-0000"));
        for issuer in [
            "https://login.test//v2.0",
            "https://login.test/a/b/v2.0",
            "https://login.test/a/v2.0/",
            "https://login.test/../v2.0",
            "https://login.test/a%2f/v2.0",
            "https://login.test/a/v1.0",
            "https://LOGIN.test/a/v2.0",
            "https://attacker.test/https://login.test/a/v2.0",
            "https://login.test/{tenantid}/v2.0",
        ] {
            assert_eq!(tenant(issuer), None, "{issuer}");
        }
        assert_eq!(DynamicIssuers::match_template("https://login.test", "https://login.test"), None);
    }
}
