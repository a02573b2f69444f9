//! The settings of a [`TokenEndpoint`](super::TokenEndpoint) for web pages of other origins.
//!
//! *In*: origins. *Out*: what `http::cors` decides with.

use super::TokenEndpointBuilder;

impl TokenEndpointBuilder {
    /// Allows pages of these origins to read the responses of the token and revocation endpoints (CORS). Default: none.
    ///
    /// A single-page app needs it if it is not at the issuer's own origin (RFC 9700 §2.6). An origin is `https://app.example.com`,
    /// or with a port other than the default one, as browsers send it. Metadata and key set are public, so every page may read
    /// them. No page may read the responses of the introspection endpoint, and no request with cookies is allowed.
    pub fn allow_origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.cors.listed.extend(origins.into_iter().map(Into::into));
        self
    }

    /// Allows pages of every origin to read the responses of the token and revocation endpoints, also pages without an origin
    /// (`null`). Default: only those that are [allowed](Self::allow_origins).
    ///
    /// The cost: any page can use a code or token that it got hold of, also from a user's browser inside your network. It gets
    /// neither without the user's approval.
    pub fn allow_any_origin(mut self) -> Self {
        self.cors.any = true;
        self
    }

    /// Allows pages at the origin of a public client's [redirect URIs](super::ClientBuilder::redirect_uri) to read the responses
    /// to that client's requests at the token and revocation endpoints. Default: only pages that are
    /// [allowed](Self::allow_origins).
    ///
    /// A response to a request that names no registered client can't be read. Redirect URIs of loopback addresses match the
    /// same ports as in an authorization request.
    pub fn allow_origins_of_redirect_uris(mut self) -> Self {
        self.cors.of_redirect_uris = true;
        self
    }
}
