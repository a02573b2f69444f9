//! The settings of [`OAuthLayer`] on the layers around it, so that settings can be called in any order.
//!
//! *In*: a layer around an `OAuthLayer`. *Out*: the same layer around the changed `OAuthLayer`.

use super::{form_body::FormBodyLayer, oauth_layer::OAuthLayer, serve_metadata::ServeMetadataLayer};

/// Writes the settings of an `OAuthLayer<R>` for a layer `$outer` around `$inner`, which has them. `$rendered` is the inner layer
/// with another renderer.
macro_rules! forward_settings {
    ($($outer:ident around $inner:ty, rendered: $rendered:ty;)+) => {$(
        impl<R> $outer<$inner> {
            /// See [`OAuthLayer::allow_anonymous`](crate::OAuthLayer::allow_anonymous).
            #[must_use]
            pub fn allow_anonymous(self) -> Self {
                self.map(<$inner>::allow_anonymous)
            }

            /// See [`OAuthLayer::render`](crate::OAuthLayer::render).
            #[must_use]
            pub fn render<N>(self, renderer: N) -> $outer<$rendered> {
                self.map(|layer| layer.render(renderer))
            }

            /// See [`OAuthLayer::token_lifetimes`](crate::OAuthLayer::token_lifetimes).
            #[must_use]
            pub fn token_lifetimes(self) -> Self {
                self.map(<$inner>::token_lifetimes)
            }

            /// See [`OAuthLayer::late_refusals`](crate::OAuthLayer::late_refusals).
            #[must_use]
            pub fn late_refusals(self) -> Self {
                self.map(<$inner>::late_refusals)
            }
        }
    )+};
}

forward_settings! {
    FormBodyLayer around OAuthLayer<R>, rendered: OAuthLayer<N>;
    ServeMetadataLayer around OAuthLayer<R>, rendered: OAuthLayer<N>;
    ServeMetadataLayer around FormBodyLayer<OAuthLayer<R>>, rendered: FormBodyLayer<OAuthLayer<N>>;
}
