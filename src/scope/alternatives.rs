//! The alternatives of a requirement: lists of scopes, each of which meets it.
//!
//! *In*: the alternatives of the members of a tuple. *Out*: those of the tuple, and the one that a token lacks least of.
//!
//! Their number is bounded, because a tuple of [`AnyOf`](crate::AnyOf)s has the product of its members'.

use std::borrow::Cow;

use super::{ScopeHierarchy, Scopes, is_scope_name};

type Alternative<'n> = Vec<&'n str>;
type Granted<'g> = &'g dyn Fn(&str) -> bool;

/// Returns every combination of one alternative of each member.
pub(super) fn all_of<const N: usize>(
    members: [Vec<Alternative<'static>>; N],
    granted: Granted<'_>,
) -> Vec<Alternative<'static>> {
    members.into_iter().fold(vec![Vec::new()], |combined, member| {
        let member = bounded(member, granted);
        let pairs = combined.iter().flat_map(|first| member.iter().map(move |second| joined(first, second)));
        reduced(pairs.collect(), granted)
    })
}

/// Returns the alternatives of all members.
pub(super) fn any_of<const N: usize>(
    members: [Vec<Alternative<'static>>; N],
    granted: Granted<'_>,
) -> Vec<Alternative<'static>> {
    reduced(members.into_iter().flatten().collect(), granted)
}

/// Returns the alternative of which the fewest scopes are not granted. Of several, it is the first one, or one that the
/// first one includes.
pub(crate) fn least(
    alternatives: &[Alternative<'_>],
    granted: Granted<'_>,
    hierarchy: Option<&ScopeHierarchy>,
) -> Scopes<'static> {
    let fewest = alternatives.iter().map(|alternative| lacking(alternative, granted)).min();
    let mut equal = alternatives.iter().filter(|alternative| Some(lacking(alternative, granted)) == fewest);
    let mut chosen = equal.next().map_or(&[][..], Vec::as_slice);
    if let Some(hierarchy) = hierarchy {
        for other in equal {
            if hierarchy.grants_all(chosen, other) && !hierarchy.grants_all(other, chosen) {
                chosen = other;
            }
        }
    }
    // `scopes!` checks its names. A `Scope` that is implemented by hand may have any name.
    let legal: Vec<&str> = joined(&[], chosen).into_iter().filter(|name| is_scope_name(name)).collect();
    Scopes(Cow::Owned(legal.join(" ")))
}

/// Returns the names of both lists, each once.
fn joined<'n>(first: &[&'n str], second: &[&'n str]) -> Alternative<'n> {
    let mut names = first.to_vec();
    for name in second {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// Removes of too many alternatives those that lack the most scopes.
fn bounded<'n>(mut alternatives: Vec<Alternative<'n>>, granted: Granted<'_>) -> Vec<Alternative<'n>> {
    if alternatives.len() > MAX_ALTERNATIVES {
        alternatives.sort_by_cached_key(|alternative| lacking(alternative, granted));
        alternatives.truncate(MAX_ALTERNATIVES);
    }
    alternatives
}

/// Removes each alternative that includes another one, and of too many those that lack the most scopes.
fn reduced<'n>(alternatives: Vec<Alternative<'n>>, granted: Granted<'_>) -> Vec<Alternative<'n>> {
    let mut kept: Vec<Alternative<'n>> = Vec::new();
    for alternative in bounded(alternatives, granted) {
        if !kept.iter().any(|other| includes(&alternative, other)) {
            kept.retain(|other| !includes(other, &alternative));
            kept.push(alternative);
        }
    }
    kept
}

fn includes(larger: &[&str], smaller: &[&str]) -> bool {
    smaller.iter().all(|name| larger.contains(name))
}

fn lacking(alternative: &[&str], granted: Granted<'_>) -> usize {
    alternative.iter().filter(|name| !granted(name)).count()
}

/// Maximum number of alternatives of a tuple, an `AnyOf` and their members. Each refusal for a scope computes them.
const MAX_ALTERNATIVES: usize = 64;
