//! The layer's response future. It boxes only the requests that wait for the network.
//!
//! *In*: the inner service's future, a pending verdict with its request, or a refusal. *Out*: the response.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    late_refusals::PendingRecorder,
    oauth_layer::{CheckedRequest, LayerState, ResponseMarks},
    render::RenderBody,
};
use crate::{error::AuthError, server::SenderFuture, verify::VerdictFuture};

pin_project! {
    /// The future of [`OAuth`](super::OAuth).
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        progress: Progress<S, B>,
        state: LayerState<R>,
        marks: ResponseMarks,
    }
}

pin_project! {
    #[project = ProgressProjection]
    enum Progress<S, B>
    where
        S: Service<Request<B>>,
    {
        /// The inner service has the request.
        Serving { #[pin] future: S::Future, recorder: Option<PendingRecorder> },
        /// The request and the ready service wait. Boxed, so that requests that don't wait are small.
        Waiting { held: Box<(WaitingFor, Option<(Request<B>, S)>)> },
        /// The inner service isn't called.
        Refused { error: AuthError },
        /// The response was returned.
        Finished,
    }
}

/// What a request waits for.
pub(super) enum WaitingFor {
    /// The verdict about its token.
    Verdict(VerdictFuture),
    /// The check of its sender.
    Sender(SenderFuture),
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(super) fn serving(
        future: S::Future,
        recorder: Option<PendingRecorder>,
        state: LayerState<R>,
        marks: ResponseMarks,
    ) -> Self {
        Self { progress: Progress::Serving { future, recorder }, state, marks }
    }

    pub(super) fn waiting(
        waiting: WaitingFor,
        request: Request<B>,
        ready: S,
        state: LayerState<R>,
        marks: ResponseMarks,
    ) -> Self {
        Self { progress: Progress::Waiting { held: Box::new((waiting, Some((request, ready)))) }, state, marks }
    }

    pub(super) fn refused(error: AuthError, state: LayerState<R>, marks: ResponseMarks) -> Self {
        Self { progress: Progress::Refused { error }, state, marks }
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
            let next = match this.progress.as_mut().project() {
                ProgressProjection::Serving { future, recorder } => {
                    let response = ready!(future.poll(cx))?;
                    let recorded = recorder.take().and_then(|recorder| recorder.close());
                    return Poll::Ready(Ok(this.state.finish_response(response, recorded, *this.marks)));
                }
                ProgressProjection::Waiting { held } => {
                    let (waiting, request) = &mut **held;
                    let (checked, mut ready) = match waiting {
                        WaitingFor::Verdict(verifying) => {
                            let verdict = ready!(Pin::new(verifying).poll(cx));
                            let Some((request, ready)) = request.take() else { polled_again() };
                            (this.state.check_request(request, verdict, this.marks), ready)
                        }
                        WaitingFor::Sender(checking) => {
                            let sender = ready!(Pin::new(checking).poll(cx));
                            let Some((request, ready)) = request.take() else { polled_again() };
                            (this.state.accept_sender(request, sender, this.marks), ready)
                        }
                    };
                    match checked {
                        CheckedRequest::Accepted(request, recorder) => {
                            Progress::Serving { future: ready.call(request), recorder }
                        }
                        CheckedRequest::Waiting(checking, request) => {
                            let held = Box::new((WaitingFor::Sender(checking), Some((request, ready))));
                            Progress::Waiting { held }
                        }
                        CheckedRequest::Refused(error) => Progress::Refused { error },
                    }
                }
                ProgressProjection::Refused { error } => {
                    let response = this.state.refuse(error.clone(), None, *this.marks);
                    this.progress.set(Progress::Finished);
                    return Poll::Ready(Ok(response));
                }
                ProgressProjection::Finished => polled_again(),
            };
            this.progress.set(next);
        }
    }
}

/// Panics, because the future was polled after it returned `Ready`. `Pending` would hide that mistake.
#[expect(clippy::panic, reason = "only a caller that breaks the contract of `Future` gets here")]
pub(super) fn polled_again() -> ! {
    panic!("the response future of a tower-oauth layer was polled after it had returned its response")
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
