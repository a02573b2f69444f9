//! The exact reason of a refusal.
//!
//! *In*: nothing. *Out*: the kind of the error, its stable name, and fixed texts for the client and for logs.
//! `src/guide/refusals.md` explains each reason.

use super::AuthErrorKind;

/// The exact reason of a refusal. All texts for the client come from here, so they are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "some are used only by the extractors"))]
pub(crate) enum Reason {
    NoCredentials,
    UnsupportedScheme,
    RepeatedHeader,
    TwoMethods,
    MalformedCredentials,
    TooLarge,
    NotAJws,
    MalformedHeader,
    CriticalHeader,
    TypeNotAccepted,
    AlgorithmNotAccepted,
    UnknownKey,
    BadSignature,
    MalformedClaims,
    MissingClaim(&'static str),
    WrongIssuer,
    WrongAudience,
    Expired,
    NotYetValid,
    IssuedInTheFuture,
    SenderConstrained,
    NotBound,
    ConstraintRequired,
    OtherKey,
    CertificateMissing,
    BadCertificate,
    OtherCertificate,
    ProofMissing,
    InvalidProof,
    ProofTarget,
    ProofTime,
    ProofToken,
    ProofReplayed,
    NonceRequired,
    OtherIdentity,
    UnsuitableClaims,
    RefusedByVerifier,
    Inactive,
    UnsupportedTokenType,
    NotAnAccessToken,
    Scope,
    Role,
    NotActingForUser,
    NotActingForClient,
    Forbidden(&'static str),
    CrossSite,
    Authentication,
    Unavailable,
    MissingLayer,
}

impl Reason {
    pub(super) fn kind(self) -> AuthErrorKind {
        match self {
            Self::NoCredentials | Self::UnsupportedScheme => AuthErrorKind::MissingCredentials,
            Self::RepeatedHeader | Self::TwoMethods | Self::MalformedCredentials => AuthErrorKind::InvalidRequest,
            Self::ProofMissing
            | Self::InvalidProof
            | Self::ProofTarget
            | Self::ProofTime
            | Self::ProofToken
            | Self::ProofReplayed => AuthErrorKind::InvalidDpopProof,
            Self::NonceRequired => AuthErrorKind::UseDpopNonce,
            Self::Scope | Self::Role | Self::NotActingForUser | Self::NotActingForClient => {
                AuthErrorKind::InsufficientScope
            }
            Self::Forbidden(_) | Self::CrossSite => AuthErrorKind::Forbidden,
            Self::Authentication => AuthErrorKind::InsufficientUserAuthentication,
            Self::Unavailable => AuthErrorKind::Unavailable,
            Self::MissingLayer => AuthErrorKind::MissingLayer,
            _ => AuthErrorKind::InvalidToken,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::RepeatedHeader => "repeated_header",
            Self::TwoMethods => "two_methods",
            Self::MalformedCredentials => "malformed_credentials",
            Self::TooLarge => "too_large",
            Self::NotAJws => "not_a_jws",
            Self::MalformedHeader => "malformed_header",
            Self::CriticalHeader => "critical_header",
            Self::TypeNotAccepted => "type_not_accepted",
            Self::AlgorithmNotAccepted => "algorithm_not_accepted",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::MalformedClaims => "malformed_claims",
            Self::MissingClaim(_) => "missing_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInTheFuture => "issued_in_the_future",
            Self::SenderConstrained => "sender_constrained",
            Self::NotBound => "not_bound",
            Self::ConstraintRequired => "constraint_required",
            Self::OtherKey => "other_key",
            Self::CertificateMissing => "certificate_missing",
            Self::BadCertificate => "bad_certificate",
            Self::OtherCertificate => "other_certificate",
            Self::ProofMissing => "proof_missing",
            Self::InvalidProof => "invalid_proof",
            Self::ProofTarget => "proof_target",
            Self::ProofTime => "proof_time",
            Self::ProofToken => "proof_token",
            Self::ProofReplayed => "proof_replayed",
            Self::NonceRequired => "nonce_required",
            Self::OtherIdentity => "other_identity",
            Self::UnsuitableClaims => "unsuitable_claims",
            Self::RefusedByVerifier => "refused_by_verifier",
            Self::Inactive => "inactive",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::NotAnAccessToken => "not_an_access_token",
            Self::Scope => "scope",
            Self::Role => "role",
            Self::NotActingForUser => "not_acting_for_user",
            Self::NotActingForClient => "not_acting_for_client",
            Self::Forbidden(_) => "forbidden",
            Self::CrossSite => "cross_site",
            Self::Authentication => "authentication",
            Self::Unavailable => "unavailable",
            Self::MissingLayer => "missing_layer",
        }
    }

    /// Returns `error_description`. If the signature is not valid, it says only that the token is invalid.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::NoCredentials | Self::UnsupportedScheme => "An access token is required",
            Self::RepeatedHeader => "The header with the access token must be sent once",
            Self::TwoMethods => "The access token must be sent in one way only",
            Self::MalformedCredentials => "The credentials are malformed",
            Self::Expired => "The access token expired",
            Self::NotYetValid | Self::IssuedInTheFuture => "The access token is not valid yet",
            Self::WrongAudience => "The access token is meant for another resource",
            Self::SenderConstrained => "The access token is bound to a key and cannot be used as a plain bearer token",
            Self::NotBound => "The access token is not bound to a key",
            Self::ConstraintRequired => "This resource requires a token that is bound to a key or a certificate",
            Self::OtherKey => "The access token is bound to another key",
            Self::CertificateMissing | Self::BadCertificate | Self::OtherCertificate => {
                "The access token is bound to a certificate that the request was not sent with"
            }
            Self::ProofMissing => "The request needs a DPoP proof",
            Self::InvalidProof => "The DPoP proof is not good",
            Self::ProofTarget => "The DPoP proof was made for another method or URL",
            Self::ProofTime => "The DPoP proof is from another time: check the clock",
            Self::ProofToken => "The DPoP proof was not made for this token",
            Self::ProofReplayed => "The DPoP proof was used before",
            Self::NonceRequired => "The DPoP proof needs the nonce of this server",
            Self::OtherIdentity => "The access token was issued to another user or client",
            Self::MissingClaim(_) | Self::UnsuitableClaims => "The access token lacks a required claim",
            Self::Scope => "The access token does not grant the required scope",
            Self::Role => "The subject does not have the required role",
            Self::NotActingForUser => "This resource requires a token that acts for a user",
            Self::NotActingForClient => "This resource requires a token that a client obtained for itself",
            Self::Forbidden(description) => description,
            Self::CrossSite => "The request comes from another site",
            Self::Authentication => "This resource requires a more recent or stronger authentication",
            Self::Unavailable => "The access token cannot be checked at the moment",
            Self::MissingLayer => "The server is misconfigured",
            _ => "The access token is invalid",
        }
    }

    /// Returns the exact reason, for logs. Never contains token data.
    pub(super) fn log_text(self) -> &'static str {
        match self {
            Self::NoCredentials => "no credentials",
            Self::UnsupportedScheme => "unsupported authentication scheme",
            Self::TooLarge => "the token is larger than the limit",
            Self::NotAJws => "the token is not a JWS in compact form",
            Self::MalformedHeader => "the token's header is malformed",
            Self::CriticalHeader => "the token's header has crit, b64 or zip",
            Self::TypeNotAccepted => "the token's typ is not accepted",
            Self::AlgorithmNotAccepted => "the token's alg is not accepted",
            Self::UnknownKey => "the issuer has no key for the token's kid and alg",
            Self::BadSignature => "the signature is not valid",
            Self::MalformedClaims => "the claims are malformed",
            Self::WrongIssuer => "the token was issued by another issuer",
            Self::NotAnAccessToken => "the provider's claims mark this as not an access token",
            Self::UnsuitableClaims => "the claims do not deserialize into the handler's type",
            Self::BadCertificate => "the header with the client's certificate is malformed",
            Self::CertificateMissing => "the token is bound to a certificate, and the connection has none",
            Self::Inactive => "the issuer reports that the token is not active",
            Self::UnsupportedTokenType => "the issuer does not introspect tokens of this kind",
            Self::RefusedByVerifier => "the verifier refused the token",
            Self::IssuedInTheFuture => "the token was issued in the future",
            Self::CrossSite => "another site made the request, and its token is in a cookie",
            Self::MissingLayer => "a handler requires a token, but its route has no OAuthLayer",
            _ => self.description(),
        }
    }

    /// True if a wrong configuration of this API or of its issuer looks like this.
    #[cfg(feature = "tracing")]
    pub(crate) fn may_be_misconfiguration(self) -> bool {
        matches!(
            self,
            Self::WrongIssuer
                | Self::WrongAudience
                | Self::TypeNotAccepted
                | Self::AlgorithmNotAccepted
                | Self::MissingClaim(_)
                | Self::UnsupportedScheme
                | Self::UnsupportedTokenType
                | Self::ProofTarget
                | Self::BadCertificate
        )
    }
}
