//! What would make a token pass a check that fails.
//!
//! *In*: the check. *Out*: the changes, each with its cost.

use serde_json::{Map, Value};

use super::{Check, Cure};
use crate::{
    claims::Facts,
    error::Reason,
    keys::Algorithm,
    verify::jwt::{JwtRules, OptionalClaim, TokenTypes},
};

/// Returns the cures of a check. `facts` are the claims, if they can be read.
pub(super) fn cures(check: &Check, rules: &JwtRules, facts: Option<&Facts>) -> Vec<Cure> {
    let Some(reason) = check.reason else { return Vec::new() };
    let now = rules.expected.now();
    match reason {
        Reason::NotAJws => form(check),
        Reason::TypeNotAccepted => typ(check, facts),
        Reason::AlgorithmNotAccepted => algorithm(check),
        Reason::UnknownKey | Reason::BadSignature => key(check),
        Reason::Unavailable => vec![Cure::action("check that this program can reach the issuer")],
        Reason::WrongIssuer => issuer(facts),
        Reason::WrongAudience => audience(facts),
        Reason::Expired => {
            let late = facts.and_then(|facts| facts.expires_at).map(|expires| now - expires.0);
            [Cure::action("let the client get a new token")].into_iter().chain(clocks(late)).collect()
        }
        Reason::NotYetValid => clocks(facts.and_then(|facts| facts.not_before).map(|from| from.0 - now)),
        Reason::IssuedInTheFuture => clocks(facts.and_then(|facts| facts.issued_at).map(|issued| issued.0 - now)),
        Reason::NotAnAccessToken => kind(rules, facts),
        // The preset requires one of two claims, and no method relaxes that.
        Reason::MissingClaim(_) if check.name == "kind" => vec![Cure::action(OTHER_TOKEN)],
        Reason::MissingClaim(name) => missing_claim(name, rules, facts),
        Reason::SenderConstrained => vec![Cure::action("let the client ask for a token that is not bound to a key")],
        _ => vec![Cure::action("let the client send the token exactly as it got it from the issuer")],
    }
}

/// `danger_accept_id_tokens` helps only if nothing but a claim of an ID token is in the way.
fn kind(rules: &JwtRules, facts: Option<&Facts>) -> Vec<Cure> {
    let Some(facts) = facts.filter(|facts| rules.refuses_id_tokens && facts.id_token_claim.is_some()) else {
        return vec![Cure::action(OTHER_TOKEN)];
    };
    let mut cures = vec![Cure::action("let the client send the access token, not the ID token")];
    // The method is a mistake where plain types are not accepted.
    let is_plain = rules.types == TokenTypes::AccessTokenOrPlain;
    if is_plain && rules.preset.is_none_or(|preset| preset.check(facts).is_ok()) {
        let cost = "a token that only identifies a user to a client is accepted as a permission";
        cures.push(Cure::call("danger_accept_id_tokens", cost));
    }
    cures
}

fn form(check: &Check) -> Vec<Cure> {
    if check.found().contains("without a signature") {
        return vec![Cure::action("let the issuer sign its tokens; an unsigned token is never accepted")];
    }
    let introspect = Cure::call("IntrospectionVerifier::new", "a request to the issuer for each new token");
    if check.found().contains("encrypted") {
        let unencrypted = Cure::action("let the issuer turn off the encryption of access tokens for this API");
        return vec![unencrypted, introspect];
    }
    let jwt =
        Cure::action("let the issuer issue JWTs for this API; many do so only if the client asks for its audience");
    vec![introspect, jwt]
}

fn typ(check: &Check, facts: Option<&Facts>) -> Vec<Cure> {
    if facts.is_some_and(|facts| facts.id_token_claim.is_some()) {
        return vec![Cure::action("let the client send the access token, not the ID token")];
    }
    if matches!(check.found().to_ascii_lowercase().as_str(), "no typ" | r#"typ "jwt""# | r#"typ "application/jwt""#) {
        let cost = "an ID token of the issuer is refused only by its audience, and by nonce, at_hash and c_hash";
        return vec![Cure::call("accept_plain_jwt_type", cost)];
    }
    vec![Cure::action("let the client send an access token; this type of token has another purpose")]
}

fn algorithm(check: &Check) -> Vec<Cure> {
    let name = check.found().trim_start_matches("alg ").trim_matches('"');
    if name.starts_with("HS") {
        return vec![
            Cure::action("let the issuer sign with a key pair: RS256, ES256 or EdDSA"),
            Cure::call("JwtVerifier::builder_from_secret", "every API that can verify a token can also issue one"),
        ];
    }
    if name.eq_ignore_ascii_case("none") {
        return vec![Cure::action("let the issuer sign its tokens; an unsigned token is never accepted")];
    }
    let mut cures = vec![Cure::action("let the issuer sign with an accepted algorithm")];
    if name.parse::<Algorithm>().is_ok_and(|algorithm| Algorithm::supported().contains(&algorithm)) {
        cures.push(Cure::call_as(
            "algorithms",
            name.to_owned(),
            &format!("[Algorithm::{name}]"),
            "the list replaces the current one",
        ));
    }
    cures
}

fn key(check: &Check) -> Vec<Cure> {
    let mut cures = vec![
        Cure::action("let the client get a new token, if the issuer has withdrawn the key that signed this one"),
        Cure::action("fetch the key set again, if it comes from a file or from the program"),
        Cure::action("use the key set of the issuer that signed this token (jwks_uri)"),
    ];
    if check.expected().contains("not all") {
        cures.push(Cure::action("let the issuer write a kid into its tokens"));
    }
    cures
}

fn issuer(facts: Option<&Facts>) -> Vec<Cure> {
    let found = facts.and_then(|facts| facts.text(facts.issuer.as_ref()));
    let cost = "this server is trusted to issue tokens for this API";
    let trusted = found.map(|found| Cure::call_with("Issuer::builder", found, cost));
    let address = Cure::action("let the issuer use one public address in all tokens, and the client this address");
    trusted.into_iter().chain([address]).collect()
}

fn audience(facts: Option<&Facts>) -> Vec<Cure> {
    let named = facts.and_then(|facts| {
        let mut named = facts.audience.iter().filter_map(|text| facts.text(Some(text)));
        named.find(|named| !named.trim().is_empty())
    });
    let cost = "a token that a client got for another API with this audience is accepted here";
    let ask = Cure::action("let the client ask for a token for this API, or let the issuer add this API to aud");
    [ask].into_iter().chain(named.map(|named| Cure::call_with("audience", named, cost))).collect()
}

/// `difference` is the number of seconds by which the token misses its time.
fn clocks(difference: Option<f64>) -> Vec<Cure> {
    let mut cures = vec![Cure::action("set the clocks of this machine and of the issuer")];
    if let Some(seconds) = difference.map(|difference| difference.ceil() + 1.0).filter(|seconds| *seconds <= MAX_LEEWAY)
    {
        let cost = "every token is accepted for this time after its expiry and before its first use";
        let seconds = format!("{seconds:.0}");
        let text = format!("Duration::from_secs({seconds})");
        cures.push(Cure::call_as("leeway", seconds, &text, cost));
    }
    cures
}

fn missing_claim(name: &str, rules: &JwtRules, facts: Option<&Facts>) -> Vec<Cure> {
    // ID tokens of some providers lack these claims, and nothing else may keep them out.
    let by_type = rules.types == TokenTypes::AccessToken;
    let without = |claim: OptionalClaim, cost| {
        let text = format!("OptionalClaim::{claim:?}");
        vec![Cure::call_as("accept_without", claim.name().to_owned(), &text, cost)]
    };
    match name {
        "aud" => vec![
            Cure::action("let the issuer write this API's identifier into aud"),
            Cure::call(
                "danger_accept_missing_audience",
                "a token that a client got for another API of this issuer is accepted here",
            ),
        ],
        "client_id" => {
            let named = facts.and_then(client_claim).map(|name| Cure::call_with("client_claim", name, ""));
            let cost = if by_type {
                "a token of a user can't be distinguished from one of a client"
            } else {
                "a token of a user can't be distinguished from one of a client, and an ID token, which may lack the client, \
                 passes as an access token"
            };
            named.into_iter().chain(without(OptionalClaim::ClientId, cost)).collect()
        }
        "sub" => without(OptionalClaim::Subject, "a token without sub acts for its client"),
        "jti" if by_type => {
            without(OptionalClaim::JwtId, "a single token can't be identified, in a log or to refuse it")
        }
        "jti" => without(
            OptionalClaim::JwtId,
            "a single token can't be identified, in a log or to refuse it, and an ID token, which may lack jti, passes as an \
             access token",
        ),
        "iat" => without(OptionalClaim::IssuedAt, "the age of a token is unknown"),
        _ => vec![Cure::action("let the issuer write this claim into its access tokens")],
    }
}

/// Returns the name of a claim that looks like the client.
fn client_claim(facts: &Facts) -> Option<&'static str> {
    let claims: Map<String, Value> = serde_json::from_str(facts.claims()).ok()?;
    let has_text = |name: &&str| claims.get(*name).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty());
    // A configured claim that is present counts more, even if it is blank.
    ["azp", "cid", "appid", "clientId"].into_iter().find(has_text).filter(|_| facts.client_id().is_none())
}

const OTHER_TOKEN: &str = "let the client send the kind of token that the preset's documentation names";
/// Maximum leeway, in seconds.
const MAX_LEEWAY: f64 = 300.0;
