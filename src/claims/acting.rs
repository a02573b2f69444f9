//! The rules that decide for whom a token acts, as far as specifications define them. Rules of providers are with the
//! presets.
//!
//! *In*: the facts of a token. *Out*: [`ActsFor`]. No rule refuses a token.

use super::Facts;
use crate::acts_for::ActsFor;

/// RFC 9068 §2.2: the subject is the client, or a user.
pub(crate) fn rfc9068(facts: &Facts) -> ActsFor {
    match (facts.subject(), facts.client_id()) {
        (None, Some(client)) if client.trim().is_empty() => ActsFor::Unknown,
        (None, _) => ActsFor::Client,
        _ => same_subject_is_client(facts),
    }
}

/// Like RFC 9068, but a token without `sub` is unknown: RFC 7662 §2.2 leaves `sub` to the server.
pub(crate) fn introspected(facts: &Facts) -> ActsFor {
    same_subject_is_client(facts)
}

/// A subject that is not the client may be a user or a machine.
pub(crate) fn subject_may_be_machine(facts: &Facts) -> ActsFor {
    match subject_and_client(facts) {
        Some((subject, client)) if subject == client => ActsFor::Client,
        _ => ActsFor::Unknown,
    }
}

fn same_subject_is_client(facts: &Facts) -> ActsFor {
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
