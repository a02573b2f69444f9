//! The settings of a [`ResourceServerBuilder`] about the sender of a request.
//!
//! *In*: how proofs and certificates are checked. *Out*: the checks, and what the challenges and the metadata say about them.

use super::{ResourceServerBuilder, sender::SenderChecks};
use crate::{
    challenge::{DpopChallenge, SchemeChallenge},
    config_error::MistakeCollector,
    dpop::Dpop,
    mutual_tls::MutualTls,
};

#[derive(Default)]
pub(super) struct SenderSettings {
    dpop: Option<Dpop>,
    certificates: Option<MutualTls>,
    required: bool,
}

impl ResourceServerBuilder {
    /// Accepts tokens that are bound to a key, with a proof in the header `DPoP` of each request (RFC 9449). Default: refused.
    ///
    /// Bearer tokens that are not bound are still accepted; see [`require_sender_constraint`](Self::require_sender_constraint).
    ///
    /// ```
    /// # fn main() -> Result<(), tower_oauth::ConfigError> {
    /// # let verifier = tower_oauth::testing::MockIssuer::new("https://auth.test").verifier("https://api.test");
    /// use tower_oauth::{OAuthLayer, ResourceServer, dpop::Dpop};
    ///
    /// let server = ResourceServer::builder(verifier).dpop(Dpop::new("https://api.example.com/v1")).build()?;
    /// let layer = OAuthLayer::from_server(server);
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.sender.dpop = Some(dpop);
        self
    }

    /// Accepts tokens that are bound to the client's certificate (RFC 8705 §3). Default: refused.
    ///
    /// Bearer tokens that are not bound are still accepted, with or without a certificate; see
    /// [`require_sender_constraint`](Self::require_sender_constraint).
    ///
    /// ```
    /// # fn main() -> Result<(), tower_oauth::ConfigError> {
    /// # let verifier = tower_oauth::testing::MockIssuer::new("https://auth.test").verifier("https://api.test");
    /// use tower_oauth::{OAuthLayer, ResourceServer, mutual_tls::MutualTls};
    ///
    /// let server = ResourceServer::builder(verifier).mutual_tls(MutualTls::on_the_connection()).build()?;
    /// let layer = OAuthLayer::from_server(server);
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn mutual_tls(mut self, certificates: MutualTls) -> Self {
        self.sender.certificates = Some(certificates);
        self
    }

    /// Refuses every token that is not bound to a key or a certificate, with 401 (reason `constraint_required`). For single
    /// routes, use [`SenderConstrained`](crate::extract::SenderConstrained) or
    /// [`RequireSenderConstraintLayer`](crate::layer::require::RequireSenderConstraintLayer). Default: such tokens are accepted.
    pub fn require_sender_constraint(mut self) -> Self {
        self.sender.required = true;
        self
    }
}

impl SenderSettings {
    /// Returns the checks, and adds every mistake.
    pub(super) fn build(self, other_schemes: &[SchemeChallenge], mistakes: &mut MistakeCollector) -> SenderChecks {
        let Self { dpop, certificates, required } = self;
        if required && dpop.is_none() && certificates.is_none() {
            let change = "call dpop or mutual_tls, or remove require_sender_constraint";
            mistakes.add("require_sender_constraint", "no token can be proven to be bound", change);
        }
        if dpop.is_some() && other_schemes.iter().any(|challenge| challenge.is_for("DPoP")) {
            let found = "a challenge for DPoP, which the setting dpop makes";
            mistakes.add("additional_challenge", found, "remove the additional challenge");
        }
        if let Some(certificates) = &certificates {
            certificates.mistakes(mistakes);
        }
        SenderChecks { dpop: dpop.and_then(|dpop| dpop.build(mistakes)), certificates, required }
    }
}

impl SenderChecks {
    /// Returns what the challenges say about proofs.
    pub(super) fn challenge(&self) -> Option<DpopChallenge> {
        let dpop = self.dpop.as_ref()?;
        let certificates = self.certificates.is_some();
        let only = self.required && !certificates;
        Some(DpopChallenge { algorithms: dpop.rules().algorithm_names(), certificates, only })
    }
}
