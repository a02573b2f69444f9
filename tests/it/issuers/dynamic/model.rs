//! Any events in any order. A token is accepted only if its tenant was approved at most an approval age ago, and an established
//! tenant that stays approved is never refused, whatever other clients send.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    sync::Mutex,
    time::SystemTime,
};

use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

use super::{
    Arc, AuthErrorKind, Clock as _, Duration, DynamicIssuers, IssuerInquiry, ManualClock, MockIssuer, SECOND,
    TestRequest, approve, forged, ready, token, unsigned,
};

const TENANTS: usize = 4;
const APPROVAL_AGE: Duration = Duration::from_secs(40);
const REFUSAL_AGE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq)]
enum CallbackAnswer {
    Approve,
    Refuse,
    /// Approves if the request has the header `x-tenant`.
    ByHead,
    Panic,
}

#[derive(Debug, Clone)]
enum Step {
    /// A valid token, with or without the header.
    Good(usize, bool),
    Forged(usize, bool),
    Unsigned(usize),
    /// Tokens of invented issuers, or of tenants that send no valid token.
    Flood(usize, bool),
    Advance(u64),
    Suspend(u64),
    SetBack(u64),
    Answer(usize, CallbackAnswer),
    Invalidate(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answer = prop_oneof![
        4 => Just(CallbackAnswer::Approve),
        2 => Just(CallbackAnswer::Refuse),
        2 => Just(CallbackAnswer::ByHead),
        1 => Just(CallbackAnswer::Panic),
    ];
    let step = prop_oneof![
        12 => (0..TENANTS, any::<bool>()).prop_map(|(tenant, header)| Step::Good(tenant, header)),
        3 => (0..TENANTS, any::<bool>()).prop_map(|(tenant, header)| Step::Forged(tenant, header)),
        1 => (0..TENANTS).prop_map(Step::Unsigned),
        2 => (1..30_usize, any::<bool>()).prop_map(|(count, tenants)| Step::Flood(count, tenants)),
        4 => (0..25_u64).prop_map(Step::Advance),
        1 => (0..25_u64).prop_map(Step::Suspend),
        1 => (0..25_u64).prop_map(Step::SetBack),
        3 => (0..TENANTS, answer).prop_map(|(tenant, answer)| Step::Answer(tenant, answer)),
        2 => (0..TENANTS).prop_map(Step::Invalidate),
    ];
    prop::collection::vec(step, 1..80)
}

/// What is known about a tenant without looking into the verifier.
struct ModelTenant {
    /// When the callback approved all requests, by both clocks, since the last invalidation. Not only the last time: after the
    /// time of day was set back, an earlier decision may have the smaller age.
    approved: Vec<(Duration, SystemTime)>,
    /// True from the first accepted token until the callback refuses.
    established: bool,
    /// When the callback refused for the last time.
    refused: Option<Duration>,
}

struct Model {
    clock: ManualClock,
    verifier: DynamicIssuers,
    answers: Arc<Mutex<[CallbackAnswer; TENANTS]>>,
    tenants: Vec<ModelTenant>,
    flood: usize,
}

impl Model {
    fn new() -> Self {
        let clock = ManualClock::default();
        let answers = Arc::new(Mutex::new([CallbackAnswer::Approve; TENANTS]));
        let current = Arc::clone(&answers);
        let callback = move |inquiry: IssuerInquiry| {
            let named = DynamicIssuers::match_template("https://tenant-{number}.test", inquiry.issuer());
            let number = named.and_then(|named| named.parse::<usize>().ok()).filter(|number| *number < TENANTS);
            let answer = number.map(|number| current.lock().unwrap()[number]);
            ready(match answer {
                Some(CallbackAnswer::Refuse) => None,
                Some(CallbackAnswer::ByHead) if !inquiry.head().headers.contains_key("x-tenant") => None,
                // Not by `panic!`, which would fill the output.
                Some(CallbackAnswer::Panic) => std::panic::resume_unwind(Box::new(())),
                _ => approve(inquiry.issuer()),
            })
        };
        let builder =
            DynamicIssuers::builder(callback).clock(clock.clone()).max_issuers(u32::try_from(TENANTS).unwrap());
        let builder = builder.max_newcomers(2).approval_age(APPROVAL_AGE).refusal_age(REFUSAL_AGE);
        let verifier = builder.newcomer_budget(5, SECOND).build();
        let tenant = || ModelTenant { approved: Vec::new(), established: false, refused: None };
        let tenants = (0..TENANTS).map(|_| tenant()).collect();
        Self { clock, verifier, answers, tenants, flood: 0 }
    }

    fn answer(&self, tenant: usize) -> CallbackAnswer {
        self.answers.lock().unwrap()[tenant]
    }

    /// Notes what the callback answers at this moment.
    fn observe(&mut self) {
        for number in 0..TENANTS {
            let answer = self.answer(number);
            let tenant = &mut self.tenants[number];
            match answer {
                CallbackAnswer::Approve => tenant.approved.push((self.clock.elapsed(), self.clock.now())),
                CallbackAnswer::Refuse => {
                    tenant.established = false;
                    tenant.refused = Some(self.clock.elapsed());
                }
                CallbackAnswer::ByHead | CallbackAnswer::Panic => {}
            }
        }
    }

    fn may_accept(&self, number: usize, header: bool) -> bool {
        let recently = self.tenants[number].approved.iter().any(|(elapsed, day)| {
            let by_day = self.clock.now().duration_since(*day).unwrap_or_default();
            self.clock.elapsed().saturating_sub(*elapsed).max(by_day) < APPROVAL_AGE
        });
        match self.answer(number) {
            CallbackAnswer::Approve => true,
            CallbackAnswer::ByHead => header || recently,
            CallbackAnswer::Refuse | CallbackAnswer::Panic => recently,
        }
    }

    fn approves(&self, number: usize, header: bool) -> bool {
        matches!((self.answer(number), header), (CallbackAnswer::Approve, _) | (CallbackAnswer::ByHead, true))
    }

    async fn present(&self, token: String, header: bool) -> Result<(), AuthErrorKind> {
        let request = TestRequest::new(token);
        let request = if header { request.header("x-tenant", "yes") } else { request };
        request.verify(&self.verifier).await.map(drop).map_err(|error| error.kind())
    }

    async fn good(&mut self, number: usize, header: bool) -> Result<(), TestCaseError> {
        let result = self.present(token(number), header).await;
        let approves = self.approves(number, header);
        prop_assert!(result.is_err() || self.may_accept(number, header), "{number} was accepted");
        let answer = self.answer(number);
        let tenant = &mut self.tenants[number];
        if tenant.established && approves {
            prop_assert_eq!(&result, &Ok(()), "an established tenant was refused");
        }
        let refused_lately = tenant.refused.is_some_and(|at| self.clock.elapsed().saturating_sub(at) < REFUSAL_AGE);
        if approves && !refused_lately {
            prop_assert!(result != Err(AuthErrorKind::InvalidToken), "a newcomer may get 503, but not 401");
        }
        tenant.established |= result.is_ok() && answer != CallbackAnswer::Refuse;
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Good(number, header) => self.good(number, header).await?,
            Step::Forged(number, header) => prop_assert!(self.present(forged(number), header).await.is_err()),
            Step::Unsigned(number) => {
                prop_assert_eq!(self.present(unsigned(number), true).await, Err(AuthErrorKind::InvalidToken));
            }
            Step::Flood(count, tenants) => {
                for _ in 0..count {
                    self.flood += 1;
                    let name = if tenants { self.flood % TENANTS } else { TENANTS + self.flood };
                    let issuer = format!("https://tenant-{name}.test");
                    let forged = MockIssuer::new("https://forger.test").token("eve").claim("iss", issuer).sign();
                    prop_assert!(self.present(forged, false).await.is_err());
                }
            }
            Step::Advance(seconds) => self.clock.advance(Duration::from_secs(seconds)),
            Step::Suspend(seconds) => self.clock.suspend(Duration::from_secs(seconds)),
            Step::SetBack(seconds) => self.clock.set(self.clock.now() - Duration::from_secs(seconds)),
            Step::Answer(number, answer) => self.answers.lock().unwrap()[number] = answer,
            Step::Invalidate(number) => {
                self.verifier.invalidate(&format!("https://tenant-{number}.test"));
                let tenant = &mut self.tenants[number];
                (tenant.approved, tenant.refused) = (Vec::new(), None);
            }
        }
        self.observe();
        Ok(())
    }
}

/// Threat D1
#[test]
fn accepts_only_approved_tenants_and_never_refuses_an_established_one() {
    let chosen = env::var("PROPTEST_RNG_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = chosen.unwrap_or_else(|| RandomState::new().hash_one(0));
    let config =
        ProptestConfig { cases: 100, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let accepted = std::cell::Cell::new(0_usize);
    TestRunner::new(config)
        .run(&steps(), |steps| {
            runtime.block_on(async {
                let mut model = Model::new();
                model.observe();
                for step in steps {
                    model.take(step).await?;
                }
                accepted.set(accepted.get() + model.tenants.iter().filter(|tenant| tenant.established).count());
                Ok(())
            })
        })
        .unwrap_or_else(|failure| panic!("PROPTEST_RNG_SEED={seed}: {failure}"));
    assert!(accepted.get() > 50, "a verifier that refuses all would pass as well: {}", accepted.get());
}
