//! Makes every check of a token.
//!
//! *In*: the rules of a verifier and a token. *Out*: each check with its result. The decisions are those of the verifier.

use super::Check;
use crate::{
    claims::{Audience, Facts, NumericDate, TokenOrigin},
    confirmation::Binding,
    error::{AuthError, Reason, quoted},
    jws::{Compact, HeaderBuffer, JoseHeader},
    keys::KeySet,
    token::Token,
    verify::jwt::{Fault, JwtRules, OptionalClaim, TokenTypes, findings, header::verify_signature, not_a_jws},
};

/// The checks of a token, and its claims if they can be read. The claims are not verified.
pub(super) struct Judgement {
    pub(super) checks: Vec<Check>,
    pub(super) claims: Option<Token>,
}

/// Makes every check that can be made.
pub(super) fn judge(rules: &JwtRules, token: &str) -> Judgement {
    let malformed = || Judgement { checks: vec![Check::failed("form", &not_a_jws(token.as_bytes()))], claims: None };
    let Some(jws) = Compact::split(token.as_bytes()) else { return malformed() };
    let mut checks = vec![Check::passed("form", "three segments", "three segments")];
    let (mut buffer, mut typed) = (HeaderBuffer::new(), false);
    match jws.header_bytes(&mut buffer).and_then(JoseHeader::parse) {
        Some(header) if header.algorithm.is_none() && jws.has_more_segments() => return malformed(),
        Some(header) => {
            typed = TokenTypes::AccessToken.accept(header.typ.as_deref());
            checks.extend(judge_header(rules, &jws, &header));
        }
        None => checks.push(Check::failed("header", &findings::malformed_header())),
    }
    let claims = match read_claims(rules, &jws, typed) {
        Ok(token) => Some(token),
        Err(error) => {
            checks.push(Check::failed("claims", &error));
            None
        }
    };
    if let Some(token) = &claims {
        checks.extend(judge_claims(rules, token.facts()));
    }
    Judgement { checks, claims }
}

fn read_claims(rules: &JwtRules, jws: &Compact<'_>, typed: bool) -> Result<Token, AuthError> {
    let claims = jws.payload().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Reason::MalformedClaims)?;
    Token::from_claims(TokenOrigin { typed, ..TokenOrigin::default() }, claims, &rules.names)
}

fn judge_header(rules: &JwtRules, jws: &Compact<'_>, header: &JoseHeader<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    if header.critical {
        checks.push(Check::failed("crit", &findings::critical_header()));
    }
    let typ = header.typ.as_deref();
    let accepted = if rules.types.accept(typ) { Ok(()) } else { Err(findings::type_not_accepted(typ, rules.types)) };
    checks.push(Check::of("typ", accepted, findings::shown("typ", typ), rules.types.description()));

    let known = header.algorithm.filter(|algorithm| rules.algorithms.contains(algorithm));
    let accepted = known.map(drop).ok_or_else(|| findings::algorithm_not_accepted(header, &rules.algorithms));
    let found = format!("alg {}", quoted(&header.algorithm_name));
    checks.push(Check::of("alg", accepted, found, findings::names(&rules.algorithms)));

    let Some(algorithm) = known else { return checks };
    let (keys, key_id) = (rules.issuer.current_keys(), header.key_id.as_deref());
    let signed = verify_signature(jws, keys.set(), algorithm, key_id).map_err(|fault| match fault {
        Fault::Refused(error) => error,
        Fault::NoKey(missing) => missing.error(),
    });
    let found = format!("valid, {}", findings::shown("kid", key_id));
    let expected = format!("a signature by one of {} keys of the issuer", keys.set().map_or(0, KeySet::len));
    checks.push(Check::of("signature", signed, found, expected));
    checks
}

fn judge_claims(rules: &JwtRules, facts: &Facts) -> Vec<Check> {
    let (ours, now) = (rules.issuer.identifier(), rules.expected.now());
    let issuer = facts.text(facts.issuer.as_ref()).unwrap_or_default();
    let expiry = match facts.expires_at {
        None => Err(findings::missing_claim("exp")),
        Some(_) => rules.expected.check_expiry(facts, now),
    };
    let (not_before, issued_at) =
        (rules.expected.check_not_before(facts, now), rules.expected.check_issued_at(facts, now));
    let date = |date: Option<NumericDate>| date.map_or_else(|| "absent".to_owned(), |date| relative(date, now));
    let required = |claim: OptionalClaim| match claim.missing_in(facts) {
        Some(name) if !rules.optional_claims.contains(&claim) => Err(findings::missing_claim(name)),
        _ => Ok(()),
    };
    let (bound, binding) = match facts.binding.as_deref() {
        None => (Ok(()), "absent"),
        Some(Binding::Known(_)) => (Ok(()), "a key or a certificate"),
        Some(Binding::Unknown) => (Err(AuthError::sender_constrained()), "malformed, or with an unknown member"),
    };
    let mut checks = vec![
        Check::of("iss", rules.check_issuer(facts), format!("iss {}", quoted(issuer)), quoted(ours)),
        Check::of("aud", rules.check_audience(facts), audience(facts), rules.expected.description()),
        Check::of("exp", expiry, date(facts.expires_at), "a time in the future"),
        Check::of("nbf", not_before, date(facts.not_before), "absent, or a time in the past"),
        Check::of("iat", required(OptionalClaim::IssuedAt).and(issued_at), date(facts.issued_at), "a time in the past"),
        Check::of("kind", rules.check_kind(facts), "an access token", "an access token"),
        Check::of("cnf", bound, binding, "absent; a key or certificate needs dpop or mutual_tls on the server"),
    ];
    // `iat` has a row already.
    for claim in OptionalClaim::ALL.into_iter().filter(|claim| *claim != OptionalClaim::IssuedAt) {
        let found = if claim.missing_in(facts).is_none() { "present" } else { "absent" };
        checks.push(Check::of(claim.name(), required(claim), found, "present, unless it is not required"));
    }
    checks
}

/// Returns what to show of an accepted `aud`.
fn audience(facts: &Facts) -> &'static str {
    if matches!(facts.audience, Audience::Absent) { "absent" } else { "this API" }
}

fn relative(NumericDate(date): NumericDate, now: f64) -> String {
    if date >= now { format!("in {:.0} s", date - now) } else { format!("{:.0} s ago", now - date) }
}
