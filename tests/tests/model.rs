//! P8 and P9: the core against the reference model, over configurations and requests by chance.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::ops::Range;

use countersign_tests::model::compare::{ask, difference, differs, load};
use countersign_tests::model::config::Config;
use countersign_tests::model::fewer::{fewer_claims, fewer_rights, has_kids, simpler};
use countersign_tests::model::make;
use countersign_tests::model::request::Request;
use countersign_tests::random::Random;

/// How many configurations; `MODEL_SEEDS=FROM..TO` takes others.
const CONFIGS: Range<u64> = 0..200;
/// How many of them lose their rights one by one: each loss loads a gateway.
const WEAKENED: Range<u64> = 0..30;
/// How many requests to each of them.
const REQUESTS: usize = 40;

fn seeds(usual: Range<u64>) -> Range<u64> {
    let given = std::env::var("MODEL_SEEDS").ok();
    let given = given.as_deref().and_then(|text| text.split_once(".."));
    given
        .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?))
        .unwrap_or(usual)
}

/// Takes away whatever the difference does not need, and shows what is left.
fn smallest(mut config: Config, mut request: Request) -> String {
    while let Some((fewer, less)) = simpler(&config, &request)
        .into_iter()
        .find(|(config, request)| difference(config, request).is_some())
    {
        (config, request) = (fewer, less);
    }
    let difference = difference(&config, &request).unwrap_or_default();
    format!("{config:?}\n{request:?}\n{difference}")
}

#[test]
fn p9_verdicts_equal_the_reference_models() {
    let mut seen_answers = BTreeMap::new();
    for seed in seeds(CONFIGS) {
        let mut random = Random::new(seed);
        let config = make::config(&mut random);
        let gateway = load(&config).unwrap_or_else(|errors| panic!("seed {seed}: {errors}\n{config:#?}"));
        for _ in 0..REQUESTS {
            let request = make::request(&mut random, &config);
            if differs(&gateway, &config, &request).is_some() {
                panic!("seed {seed}: {}", smallest(config, request));
            }
            let seen = ask(&gateway, &request);
            *seen_answers.entry((seen.status(), seen.reason())).or_insert(0) += 1;
        }
    }
    if seeds(CONFIGS) == CONFIGS {
        // What is not reached is not compared.
        assert!(seen_answers[&(101, "granted")] > 1000, "{seen_answers:?}");
        assert!(seen_answers.len() > 35, "{seen_answers:?}");
    }
}

#[test]
fn p8_taking_a_right_away_never_grants() {
    for seed in seeds(WEAKENED) {
        let mut random = Random::new(seed);
        let config = make::config(&mut random);
        let gateway = load(&config).unwrap_or_else(|errors| panic!("seed {seed}: {errors}"));
        let requests: Vec<_> = (0..REQUESTS)
            .map(|_| make::request(&mut random, &config))
            .filter(|request| ask(&gateway, request).status() != 101)
            .collect();
        for request in &requests {
            for (what, fewer) in fewer_claims(request) {
                let status = ask(&gateway, &fewer).status();
                assert_ne!(
                    status, 101,
                    "seed {seed}: granted without {what}: {config:#?}\n{request:#?}"
                );
            }
        }
        for (what, fewer) in fewer_rights(&config) {
            // What does not load grants nothing.
            let Ok(gateway) = load(&fewer) else { continue };
            for request in requests.iter().filter(|request| has_kids(request)) {
                let status = ask(&gateway, request).status();
                assert_ne!(
                    status, 101,
                    "seed {seed}: granted without {what}: {config:#?}\n{request:#?}"
                );
            }
        }
    }
}
