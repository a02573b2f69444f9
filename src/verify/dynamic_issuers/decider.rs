//! Calls of the callback: bounded, with a deadline, and one for all requests that wait for the same decision.
//!
//! *In*: an issuer that a token names. *Out*: its verifier, or the reason of the refusal.
//!
//! A decision runs in a task of its own, so a client that disconnects neither cancels nor repeats it. A decision that depends on
//! the head of a request is used for this request only; it runs within the request and ends with it.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::request::Parts;
use moka::future::Cache;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    task::JoinHandle,
};

use super::{
    inquiry::{IssuerInquiry, NamedIssuer},
    known_issuers::{ApprovedIssuer, DecisionSettings, IssuerPlace, IssuerState, KnownIssuers},
};
use crate::{clock::Clock, error::AuthError, issuer::Issuer, verify::JwtVerifier};

/// The callback.
pub(super) trait DecideIssuer: Send + Sync {
    fn call(&self, inquiry: IssuerInquiry) -> Pin<Box<dyn Future<Output = Option<JwtVerifier>> + Send>>;
}

impl<F, D> DecideIssuer for F
where
    F: Fn(IssuerInquiry) -> D + Send + Sync,
    D: Future<Output = Option<JwtVerifier>> + Send + 'static,
{
    fn call(&self, inquiry: IssuerInquiry) -> Pin<Box<dyn Future<Output = Option<JwtVerifier>> + Send>> {
        Box::pin(self(inquiry))
    }
}

pub(super) struct IssuerDecider {
    pub(super) known: KnownIssuers,
    callback: Arc<dyn DecideIssuer>,
    /// Shares a running decision among the requests that wait for it. It stores nothing.
    running: Cache<DecisionKey, Infallible>,
    /// For issuers that are not established.
    newcomer_calls: CallSlots,
    /// For further decisions about an established issuer, for tokens that its verifier has not accepted.
    unproven_calls: CallSlots,
    /// True after the first decision that depended on a head.
    reads_heads: AtomicBool,
    clock: Arc<dyn Clock>,
}

/// Bounds the calls of the callback that any client can cause.
struct CallSlots {
    slots: Semaphore,
    /// Bounds the decisions that have a slot or wait for one.
    admissions: Semaphore,
}

/// Who needs a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// All requests that wait for it: at most one decision at a time for each issuer.
    All,
    /// One request whose token the issuer's verifier has accepted.
    Proven,
    /// One request with any token.
    Unproven,
}

/// After an invalidation, no request joins a decision that began before it.
#[derive(PartialEq, Eq, Hash)]
struct DecisionKey {
    invalidations: u64,
    issuer: Arc<str>,
}

struct IssuerDecision {
    result: Result<ApprovedIssuer, AuthError>,
    /// The only head that the decision holds for. `None`: it holds for all requests.
    head: Option<Arc<Parts>>,
}

impl From<Result<ApprovedIssuer, AuthError>> for IssuerDecision {
    fn from(result: Result<ApprovedIssuer, AuthError>) -> Self {
        Self { result, head: None }
    }
}

impl IssuerDecider {
    pub(super) fn new(callback: Arc<dyn DecideIssuer>, settings: DecisionSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            known: KnownIssuers::new(settings, Arc::clone(&clock)),
            callback,
            running: Cache::new(1),
            newcomer_calls: CallSlots::new(),
            unproven_calls: CallSlots::new(),
            reads_heads: AtomicBool::new(false),
            clock,
        }
    }

    /// True if a decision about some issuer depended on the head of a request.
    pub(super) fn reads_heads(&self) -> bool {
        self.reads_heads.load(Ordering::SeqCst)
    }

    /// Decides about an issuer for one request. `accepted`: the issuer's verifier has accepted its token.
    ///
    /// # Errors
    /// The issuer is refused, or there is no decision.
    pub(super) async fn decide(
        self: &Arc<Self>,
        named: &NamedIssuer,
        accepted: bool,
    ) -> Result<ApprovedIssuer, AuthError> {
        if !self.known.decides_by_head(&named.issuer) {
            let decision = self.shared_decision(named).await?;
            if decision.head.as_ref().is_none_or(|head| Arc::ptr_eq(head, &named.head)) {
                return decision.result.clone();
            }
        }
        self.own_decision(named, if accepted { Need::Proven } else { Need::Unproven }).await.result
    }

    /// Starts a decision in a task of its own, or joins a running one.
    async fn shared_decision(self: &Arc<Self>, named: &NamedIssuer) -> Result<Arc<IssuerDecision>, AuthError> {
        let leads = Arc::new(AtomicBool::new(false));
        let joining = Arc::clone(self).join(named.clone(), Arc::clone(&leads));
        // Without a runtime there is no task. The request then decides by itself.
        let Ok(runtime) = Handle::try_current() else { return Ok(joining.await) };
        let mut task = JoiningTask { task: runtime.spawn(joining), leads };
        // An error means that the runtime shuts down.
        (&mut task.task).await.map_err(|_| AuthError::unavailable(RETRY_AFTER))
    }

    async fn join(self: Arc<Self>, named: NamedIssuer, leads: Arc<AtomicBool>) -> Arc<IssuerDecision> {
        let key = DecisionKey { invalidations: self.known.invalidations(), issuer: Arc::clone(&named.issuer) };
        // moka stores no error, and shares it with all callers that wait. A decision is stored in `known`.
        let decide = async {
            leads.store(true, Ordering::SeqCst);
            Err(self.first_decision(&named).await)
        };
        let Err(decision) = self.running.try_get_with(key, decide).await;
        decision
    }

    async fn first_decision(&self, named: &NamedIssuer) -> IssuerDecision {
        // Another decision may have ended since the look-up.
        match self.known.find(&named.issuer) {
            IssuerState::Approved(approved) => Ok(approved).into(),
            IssuerState::Refused => Err(AuthError::not_responsible()).into(),
            IssuerState::Undecided => self.own_decision(named, Need::All).await,
        }
    }

    async fn own_decision(&self, named: &NamedIssuer, need: Need) -> IssuerDecision {
        let before = self.known.before_decision(&named.issuer);
        // No number of newcomers, and no forged token, may delay the decision about an established issuer.
        let slots = match (before.place, need) {
            (IssuerPlace::Newcomer, _) => Some(&self.newcomer_calls),
            (IssuerPlace::Established, Need::Unproven) => Some(&self.unproven_calls),
            (IssuerPlace::Established, Need::All | Need::Proven) => None,
        };
        let _slot = match slots {
            Some(slots) => match slots.acquire(&*self.clock).await {
                Ok(slot) => Some(slot),
                Err(error) => return Err(error).into(),
            },
            None => None,
        };
        let head_read = Arc::new(AtomicBool::new(false));
        let inquiry = IssuerInquiry::new(named.clone(), Arc::clone(&head_read));
        let answer = tokio::select! {
            biased;
            answer = without_panic(async { self.callback.call(inquiry).await }) => answer,
            () = self.clock.sleep(DEADLINE) => None,
        };
        // A failure may depend on the head too.
        let by_head = head_read.load(Ordering::SeqCst);
        if by_head {
            self.reads_heads.store(true, Ordering::SeqCst);
        }
        let head = by_head.then(|| Arc::clone(&named.head));
        let Some(answer) = answer else {
            return IssuerDecision { result: Err(AuthError::unavailable(RETRY_AFTER)), head };
        };
        // Two identifiers of one server must not be two issuers, so what is fetched must be named in its normal form.
        let fits = |issuer: &Issuer| issuer.identifier() == &*named.issuer && issuer.is_fixed_or_resolvable();
        let answer = answer.filter(|verifier| fits(verifier.issuer()));
        IssuerDecision { result: self.known.store(&named.issuer, &before, answer, by_head), head }
    }
}

impl CallSlots {
    fn new() -> Self {
        Self { slots: Semaphore::new(MAX_CALLS), admissions: Semaphore::new(MAX_CALLS + MAX_WAITING) }
    }

    /// Waits for the permission to call the callback.
    async fn acquire(&self, clock: &dyn Clock) -> Result<[SemaphorePermit<'_>; 2], AuthError> {
        let no_slot = || AuthError::unavailable(RETRY_AFTER);
        let admission = self.admissions.try_acquire().map_err(|_| no_slot())?;
        let slot = tokio::select! {
            biased;
            slot = self.slots.acquire() => slot.map_err(|_| no_slot())?,
            () = clock.sleep(MAX_WAIT) => return Err(no_slot()),
        };
        Ok([admission, slot])
    }
}

/// The task of a request that waits for a decision. It is cancelled with the request, unless other requests may wait for it.
struct JoiningTask {
    task: JoinHandle<Arc<IssuerDecision>>,
    leads: Arc<AtomicBool>,
}

impl Drop for JoiningTask {
    fn drop(&mut self) {
        if !self.leads.load(Ordering::SeqCst) {
            self.task.abort();
        }
    }
}

/// Returns the output of a future, or `None` if it panics: the callback of the application must stop no connection, and no
/// request that waits for the same decision.
async fn without_panic<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Maximum number of calls that run at a time for newcomers, and for tokens that were not accepted.
const MAX_CALLS: usize = 16;
/// Maximum number of calls that wait for others to end, and the maximum time.
const MAX_WAITING: usize = 256;
const MAX_WAIT: Duration = Duration::from_millis(250);
/// Maximum duration of a call.
const DEADLINE: Duration = Duration::from_secs(5);
/// `Retry-After` if there is no decision.
const RETRY_AFTER: Duration = Duration::from_secs(1);
