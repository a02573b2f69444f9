//! stub
mod challenge;
mod claims;
mod clock;
mod credentials;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod issuer;
mod jws;
pub mod keys;
pub mod layer;
mod log;
mod scope;
mod server;
mod step_up;
#[cfg(feature = "test-util")]
pub mod testing;
mod token;
mod verify;

#[cfg(feature = "axum")]
pub use self::extract::{Claims, ClientToken, UserToken};
pub use self::{
    challenge::{Challenge, SchemeChallenge},
    clock::{Clock, SystemClock},
    credentials::Carrier,
    error::{AuthError, AuthErrorKind, ConfigError, ConfigMistake},
    issuer::Issuer,
    jws::{Algorithm, HmacAlgorithm},
    keys::KeySet,
    layer::{OAuthLayer, ProblemJson, RequireScopes},
    scope::{AnyOf, RequiredScopes, Scope, ScopeHierarchy, Scopes, is_scope_name},
    server::{ResourceServer, ResourceServerBuilder},
    step_up::StepUp,
    token::{ActsFor, Scoped, Token},
    verify::{Claim, JwtVerifier, JwtVerifierBuilder, Presented, Verdict, Verify, Voucher},
};
