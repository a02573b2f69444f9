//! The response future: boxes only what must wait for the network.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Door, RenderBody};
use crate::{error::AuthError, token::Token};

type Judging = Pin<Box<dyn Future<Output = Result<Token, AuthError>> + Send>>;

pin_project! {
    /// The future of [`OAuth`](super::OAuth).
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
        door: Door<R>,
        grpc: bool,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        /// The inner service has the request.
        Serving { #[pin] future: S::Future },
        /// The verdict is still out; the request and the ready service wait for it. In a box, so that those who don't wait
        /// carry nothing.
        Waiting { held: Option<Box<(Judging, Request<B>, S)>> },
        /// There will be no service.
        Refused { error: Option<AuthError> },
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(super) fn serving(future: S::Future, door: Door<R>, grpc: bool) -> Self {
        Self { state: State::Serving { future }, door, grpc }
    }

    pub(super) fn waiting(judging: Judging, request: Request<B>, ready: S, door: Door<R>, grpc: bool) -> Self {
        Self { state: State::Waiting { held: Some(Box::new((judging, request, ready))) }, door, grpc }
    }

    pub(super) fn refused(error: AuthError, door: Door<R>, grpc: bool) -> Self {
        Self { state: State::Refused { error: Some(error) }, door, grpc }
    }
}

impl<S, B, R, Body> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<Body>>,
    R: RenderBody<Body>,
{
    type Output = Result<Response<Body>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Serving { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(this.door.see_out(response, *this.grpc)));
                }
                StateProjection::Waiting { held } => {
                    let Some(waiting) = held else { return Poll::Pending };
                    let verdict = ready!(waiting.0.as_mut().poll(cx));
                    let Some((_, request, mut ready)) = held.take().map(|waiting| *waiting) else {
                        return Poll::Pending;
                    };
                    match this.door.admit(request, verdict) {
                        Ok(request) => State::Serving { future: ready.call(request) },
                        Err(error) => State::Refused { error: Some(error) },
                    }
                }
                StateProjection::Refused { error } => {
                    let Some(error) = error.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(this.door.refuse(error, None, *this.grpc)));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
