//! Tests with random values. A failure prints the seed; `PROPTEST_RNG_SEED=<seed>` repeats it. No file is written.

use std::{
    env,
    fmt::Debug,
    hash::{BuildHasher, RandomState},
};

use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

/// Checks that the property holds for this number of random values.
pub(crate) fn check<S: Strategy<Value: Debug>>(
    cases: u32,
    strategy: S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let chosen = env::var("PROPTEST_RNG_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = chosen.unwrap_or_else(|| RandomState::new().hash_one(0));
    let config =
        ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Default::default() };
    TestRunner::new(config)
        .run(&strategy, property)
        .unwrap_or_else(|failure| panic!("PROPTEST_RNG_SEED={seed}: {failure}"));
}
