//! What other libraries say of the same data: scikit-learn, LightGBM, SHAP, SciPy and forust-ml, whose answers are kept in
//! `fixtures/*.json` with the scripts that asked them.

use learn::anomaly::Scale;
use learn::anomaly::dbscan::{self, Dbscan};
use learn::anomaly::isolation::Isolation;
use learn::calibrate::{Conformal, Isotonic, Platt};
use learn::metric::Ranking;
use learn::tree::Trees;
use learn::tree::boosting::{self, Boosting, Samples};
use learn::tree::forest::{self, Forest};
use learn::{Feature, Inline, Kind, Matrix};
use serde_json::Value;
use std::collections::BTreeMap;

fn oracle(part: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("fixtures/oracles.json")).unwrap();
    all[part].clone()
}

/// Numbers; `null` is absent.
fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

fn floats(of: &Value) -> Vec<f32> {
    numbers(of).into_iter().map(|v| v as f32).collect()
}

fn classes(of: &Value) -> Vec<u32> {
    numbers(of).into_iter().map(|v| v as u32).collect()
}

fn rows(of: &Value, features: usize) -> (Matrix, Vec<Feature>) {
    let feature = |i| Feature { name: format!("x{i}"), kind: Kind::Numeric };
    (Matrix::new(features, floats(of)).unwrap(), (0..features).map(feature).collect())
}

#[track_caller]
fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected}");
}

#[test]
fn boosting_gives_the_scores_of_lightgbm() {
    let said = oracle("boosting");
    let (rows, schema) = rows(&said["rows"], 5);
    let options = boosting::Options {
        rounds: 20,
        leaves: 15,
        depth: 64,
        min_rows: 1.0,
        min_hessian: 2.0,
        l2: 0.0,
        most_step: f64::INFINITY,
        ..boosting::Options::default()
    };
    let classes = classes(&said["classes"]);
    let samples = Samples { rows: &rows, classes: &classes, weights: None };
    let model = Boosting::train(&samples, &schema, 2, &options, None, &Inline).unwrap();
    for (found, expected) in model.score_batch(&rows).into_iter().zip(numbers(&said["scores"])) {
        close(f64::from(found), expected, 1e-4);
    }
}

#[test]
fn boosting_is_as_good_as_that_of_forust_on_rows_never_seen() {
    let said: Value = serde_json::from_str(include_str!("fixtures/forust_ml.json")).unwrap();
    let (train, schema) = rows(&said["rows"], 5);
    let (test, _) = rows(&said["test"], 5);
    let options = boosting::Options {
        rounds: 60,
        leaves: 15,
        min_rows: 1.0,
        min_hessian: 2.0,
        ..boosting::Options::default()
    };
    let labels = classes(&said["classes"]);
    let samples = Samples { rows: &train, classes: &labels, weights: None };
    let model = Boosting::train(&samples, &schema, 2, &options, None, &Inline).unwrap();
    let p: Vec<f64> =
        model.score_batch(&test).into_iter().map(|score| 1.0 / (1.0 + (-f64::from(score)).exp())).collect();
    let truth = classes(&said["truth"]);
    let auc = Ranking::new(p.iter().zip(&truth).map(|(p, t)| (*p as f32, *t == 1))).auc();
    let loss = p.iter().zip(&truth).map(|(p, t)| -(if *t == 1 { *p } else { 1.0 - p }).ln()).sum::<f64>();
    // The two divide bins and treat absent values differently: the trees are others, their worth is the same.
    close(auc, said["auc"].as_f64().unwrap(), 0.01);
    close(loss / p.len() as f64, said["log_loss"].as_f64().unwrap(), 0.02);
    let apart: f64 = p.iter().zip(numbers(&said["probabilities"])).map(|(p, e)| (p - e).abs()).sum();
    assert!(apart / p.len() as f64 <= 0.04, "{}", apart / p.len() as f64);
}

#[test]
fn the_same_trees_say_what_they_say_in_scikit_learn_and_contributions_are_those_of_shap() {
    let said = oracle("trees");
    let (rows, _) = rows(&said["rows"], 5);
    let trees: Trees = serde_json::from_value(said["trees"].clone()).unwrap();
    let contributions = numbers(&said["contributions"]);
    let all = rows.iter().zip(numbers(&said["probabilities"])).zip(contributions.chunks(5));
    for ((row, probability), contributions) in all {
        let mut score = [0.0];
        trees.add(row, &mut score);
        close(f64::from(score[0]), probability, 1e-5);
        let mut found = [0.0; 5];
        let base = trees.contributions(row, 0, &mut found);
        found.iter().zip(contributions).for_each(|(f, e)| close(*f, *e, 1e-4));
        close(base, said["base"].as_f64().unwrap(), 1e-4);
    }
}

#[test]
fn a_forest_ranks_as_well_as_that_of_scikit_learn() {
    let said = oracle("forest");
    let (train, schema) = rows(&said["rows"], 5);
    let (test, _) = rows(&said["test"], 5);
    let labels = classes(&said["classes"]);
    let samples = Samples { rows: &train, classes: &labels, weights: None };
    let options = forest::Options { trees: 100, ..forest::Options::default() };
    let model = Forest::train(&samples, &schema, 2, &options, &Inline).unwrap();
    let p: Vec<f32> = model.predict_batch(&test).chunks(2).map(|p| p[1]).collect();
    let truth = classes(&said["truth"]);
    let auc = Ranking::new(p.iter().zip(&truth).map(|(p, t)| (*p, *t == 1))).auc();
    close(auc, said["auc"].as_f64().unwrap(), 0.01);
    // Two forests of other draws agree about a row within a few votes of a hundred.
    let apart: f64 =
        p.iter().zip(numbers(&said["probabilities"])).map(|(p, e)| (f64::from(*p) - e).abs()).sum();
    assert!(apart / p.len() as f64 <= 0.05, "{}", apart / p.len() as f64);
}

#[test]
fn figures_of_merit_are_those_of_scikit_learn() {
    let said = oracle("metric");
    let pairs = floats(&said["scores"]).into_iter().zip(classes(&said["classes"]));
    let ranking = Ranking::new(pairs.map(|(s, c)| (s, c == 1)));
    close(ranking.auc(), said["auc"].as_f64().unwrap(), 1e-9);
    close(ranking.average_precision(), said["average_precision"].as_f64().unwrap(), 1e-9);
    close(ranking.at(0.5).f1(), said["f1_at_half"].as_f64().unwrap(), 1e-9);
}

#[test]
fn clusters_are_those_of_scikit_learn() {
    let said = oracle("density");
    let (rows, _) = rows(&said["rows"], 3);
    let options = dbscan::Options {
        min_points: said["min_points"].as_u64().unwrap() as usize,
        eps: said["eps"].as_f64().map(|e| e as f32),
        seed: 0,
    };
    let model = Dbscan::fit(&rows, &options, &Inline).unwrap();
    let labels: Vec<i64> = numbers(&said["labels"]).into_iter().map(|l| l as i64).collect();
    let noise = labels.iter().filter(|l| **l < 0).count();
    close(f64::from(model.noise()), noise as f64 / labels.len() as f64, 1e-6);
    assert_eq!(i64::from(model.clusters()), labels.iter().max().unwrap() + 1);
    // Numbers of clusters may differ, but each is one of the others'.
    let mut names = BTreeMap::new();
    for core in classes(&said["cores"]) {
        let (score, cluster) = model.score(rows.row(core as usize));
        assert!(score <= 1.0, "core {core}: {score}");
        assert_eq!(*names.entry(cluster).or_insert(labels[core as usize]), labels[core as usize]);
    }
    assert_eq!(names.len() as u32, model.clusters());
}

#[test]
fn modified_z_scores_are_those_of_scipy() {
    let said = oracle("zscore");
    let scale = Scale::fit(&mut floats(&said["values"]));
    for (value, z) in floats(&said["values"]).into_iter().zip(numbers(&said["z"])) {
        close(f64::from(scale.of(value)), z, 1e-3);
    }
}

#[test]
fn isolation_ranks_as_well_as_that_of_scikit_learn() {
    let said = oracle("isolation");
    let (train, _) = rows(&said["rows"], 4);
    let (test, _) = rows(&said["test"], 4);
    let model = Isolation::fit(&train, 0).unwrap();
    let ranking = Ranking::new(test.iter().enumerate().map(|(i, r)| (model.score(r), i % 4 == 0)));
    close(ranking.auc(), said["auc"].as_f64().unwrap(), 0.02);
}

#[test]
fn calibration_is_that_of_scikit_learn() {
    let said = oracle("calibration");
    let (scores, truth) = (floats(&said["scores"]), classes(&said["classes"]));
    let isotonic = Isotonic::fit(scores.iter().zip(&truth).map(|(s, t)| (*s, *t == 1, 1.0))).unwrap();
    for block in said["isotonic"].as_array().unwrap() {
        let block = numbers(block);
        close(f64::from(isotonic.probability(block[0] as f32)), block[1], 1e-4);
    }
    let pairs: Vec<(f32, bool)> = scores.iter().zip(&truth).map(|(s, t)| (*s, *t == 1)).collect();
    let (platt, expected) = (Platt::fit(&pairs).unwrap(), numbers(&said["platt"]));
    close(platt.a, expected[0], 1e-3);
    close(platt.b, expected[1], 1e-3);
}

#[test]
fn p_values_are_counts() {
    let said = oracle("calibration");
    let conformal = Conformal::fit(floats(&said["usual"])).unwrap();
    for (score, p) in floats(&said["asked"]).into_iter().zip(numbers(&said["p_values"])) {
        close(conformal.p_value(score), p, 1e-9);
    }
}
