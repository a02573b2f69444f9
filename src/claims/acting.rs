//! The rules of specifications that decide for whom a token acts. The rules of providers are in their presets.
//!
//! *In*: the facts of a token. *Out*: [`ActsFor`]. No rule refuses a token.

use super::Facts;
use crate::acts_for::ActsFor;

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
