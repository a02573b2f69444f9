//! Requirements of several scopes: tuples, and [`AnyOf`].
//!
//! *In*: marker types. *Out*: implementations of [`RequiredScopes`] for up to eight of them.

use std::marker::PhantomData;

use super::{RequiredScopes, alternatives};

/// Requires one member of a tuple: `AnyOf<(OrdersWrite, Admin)>` accepts a token with either scope.
#[derive(Debug)]
pub struct AnyOf<T>(PhantomData<fn() -> T>);

macro_rules! tuples {
    ($(($($member:ident),+))+) => {$(
        impl<$($member: RequiredScopes),+> RequiredScopes for ($($member,)+) {
            fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool {
                $($member::satisfied(granted))&&+
            }

            fn alternatives() -> Vec<Vec<&'static str>> {
                Self::alternatives_for(&|_| false)
            }

            fn alternatives_for(granted: &dyn Fn(&str) -> bool) -> Vec<Vec<&'static str>> {
                alternatives::all_of([$($member::alternatives_for(granted)),+], granted)
            }
        }

        impl<$($member: RequiredScopes),+> RequiredScopes for AnyOf<($($member,)+)> {
            fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool {
                $($member::satisfied(granted))||+
            }

            fn alternatives() -> Vec<Vec<&'static str>> {
                Self::alternatives_for(&|_| false)
            }

            fn alternatives_for(granted: &dyn Fn(&str) -> bool) -> Vec<Vec<&'static str>> {
                alternatives::any_of([$($member::alternatives_for(granted)),+], granted)
            }
        }
    )+};
}

tuples! {
    (A)
    (A, B)
    (A, B, C)
    (A, B, C, D)
    (A, B, C, D, E)
    (A, B, C, D, E, F)
    (A, B, C, D, E, F, G)
    (A, B, C, D, E, F, G, H)
}
