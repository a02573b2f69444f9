//! The rules of specifications and of the application that decide for whom a token acts. The rules of providers are in their
//! presets.
//!
//! *In*: the facts of a token. *Out*: [`ActsFor`]. No rule refuses a token.

use std::collections::HashMap;

use serde_json::{Value, value::RawValue};

use super::Facts;
use crate::acts_for::{ActingBasis, ActingRule, ActsFor};

/// The rule of a verifier.
#[derive(Debug, Clone)]
pub(crate) enum ActsForRule {
    /// A rule of a specification or of a preset.
    Fixed(fn(&Facts) -> ActsFor),
    /// The rule that the application has set.
    Configured(ActingRule),
}

impl ActsForRule {
    pub(crate) fn decide(&self, facts: &Facts) -> ActsFor {
        match self {
            Self::Fixed(rule) => rule(facts),
            Self::Configured(rule) => rule.decide(facts),
        }
    }
}

impl ActingRule {
    fn decide(&self, facts: &Facts) -> ActsFor {
        let decided = match &self.basis {
            ActingBasis::Users => ActsFor::User,
            ActingBasis::Clients => ActsFor::Client,
            ActingBasis::UserClaim(claim) => match claim_named(facts, claim) {
                Ok(None) => ActsFor::Client,
                Ok(Some(Value::String(text))) if text.trim().is_empty() => ActsFor::Unknown,
                Ok(Some(_)) => ActsFor::User,
                Err(_) => ActsFor::Unknown,
            },
            ActingBasis::ClientValue { claim, value } => match claim_named(facts, claim) {
                Ok(Some(Value::String(found))) if *found == **value => ActsFor::Client,
                Ok(None | Some(Value::String(_))) => ActsFor::User,
                Ok(Some(Value::Array(found))) if found.iter().any(|found| found == &**value) => ActsFor::Client,
                Ok(Some(Value::Array(found))) if found.iter().all(Value::is_string) => ActsFor::User,
                Ok(Some(_)) | Err(_) => ActsFor::Unknown,
            },
        };
        let has_subject = facts.subject().is_some_and(|subject| !subject.trim().is_empty());
        if decided == ActsFor::User && !has_subject { ActsFor::Unknown } else { decided }
    }
}

/// Returns the value of a claim. `null` counts as absent. Reads no other claim: a user may have chosen its content, and
/// `serde_json` gives some names of members a meaning of their own in a `Value`.
fn claim_named(facts: &Facts, name: &str) -> serde_json::Result<Option<Value>> {
    let claims: HashMap<String, &RawValue> = serde_json::from_str(facts.claims())?;
    let value = claims.get(name).map(|value| serde_json::from_str(value.get())).transpose()?;
    Ok(value.filter(|value: &Value| !value.is_null()))
}

/// The rule of RFC 9068 §2.2: the subject is the client, or a user.
pub(crate) fn rfc9068(facts: &Facts) -> ActsFor {
    match (facts.subject(), facts.client_id()) {
        (None, Some(client)) if client.trim().is_empty() => ActsFor::Unknown,
        (None, _) => ActsFor::Client,
        _ => compare_subject_with_client(facts),
    }
}

/// The rule for introspection responses. A token without `sub` is unknown, because `sub` is optional (RFC 7662 §2.2).
pub(crate) fn introspected(facts: &Facts) -> ActsFor {
    compare_subject_with_client(facts)
}

/// The rule for a provider whose subject, if it is not the client, may be a user or a machine.
pub(crate) fn subject_may_be_machine(facts: &Facts) -> ActsFor {
    match subject_and_client(facts) {
        Some((subject, client)) if subject == client => ActsFor::Client,
        _ => ActsFor::Unknown,
    }
}

/// Returns `Client` if the subject is the client, and `User` if it is not. `Unknown` if the token doesn't name both.
fn compare_subject_with_client(facts: &Facts) -> ActsFor {
    match subject_and_client(facts) {
        Some((subject, client)) if subject == client => ActsFor::Client,
        Some(_) => ActsFor::User,
        None => ActsFor::Unknown,
    }
}

/// Returns the subject and the client, if the token names both and neither is blank.
pub(crate) fn subject_and_client(facts: &Facts) -> Option<(&str, &str)> {
    let (subject, client) = (facts.subject()?, facts.client_id()?);
    (!subject.trim().is_empty() && !client.trim().is_empty()).then_some((subject, client))
}
