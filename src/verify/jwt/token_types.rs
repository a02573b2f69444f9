//! The media types that a token's header may name in `typ` (RFC 8725 §3.11).
//!
//! *In*: `typ`. *Out*: whether it is accepted.

use crate::jws::is_media_type;

/// Which values of `typ` are accepted. Upper and lower case don't matter (RFC 2045 §5.1), and `application/` may be left out
/// (RFC 7515 §4.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenTypes {
    /// `at+jwt` (RFC 9068 §4).
    AccessToken,
    /// Also `JWT`, and a missing `typ`.
    AccessTokenOrPlain,
    /// `token-introspection+jwt`, so that neither a response nor an access token is accepted as the other (RFC 9701 §5).
    IntrospectionResponse,
    /// Any value, for published test vectors.
    #[cfg(feature = "test-util")]
    Any,
}

impl TokenTypes {
    pub(crate) fn accept(self, typ: Option<&str>) -> bool {
        match self {
            Self::AccessToken => typ.is_some_and(|typ| is_media_type(typ, "at+jwt")),
            Self::AccessTokenOrPlain => typ.is_none_or(|typ| is_media_type(typ, "at+jwt") || is_media_type(typ, "jwt")),
            Self::IntrospectionResponse => typ.is_some_and(|typ| is_media_type(typ, "token-introspection+jwt")),
            #[cfg(feature = "test-util")]
            Self::Any => true,
        }
    }

    /// Returns the accepted values, for logs.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::AccessToken => r#""at+jwt" (RFC 9068 §2.1)"#,
            Self::AccessTokenOrPlain => r#""at+jwt", "JWT" or no typ"#,
            Self::IntrospectionResponse => r#""token-introspection+jwt" (RFC 9701 §5)"#,
            #[cfg(feature = "test-util")]
            Self::Any => "any",
        }
    }
}
