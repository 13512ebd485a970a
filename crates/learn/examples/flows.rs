//! Trains on a CSV of flows and prints what a held-out third of it says. For work on the growers.
//!
//! `flows FILE LABEL NORMAL DROP,DROP… [boosting|forest]`

#![expect(clippy::disallowed_methods, reason = "an example reads a file and takes the time")]

use learn::metric::{Confusion, Ranking, largest};
use learn::tree::boosting::{Boosting, Options, Samples};
use learn::tree::forest::{self, Forest};
use learn::{Feature, Kind, Matrix, Pool};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

struct Threads(usize);

impl Pool for Threads {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= jobs {
                    break;
                }
                job(i);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.0.min(jobs) {
                scope.spawn(work);
            }
            work();
        });
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let text = std::fs::read_to_string(&args[1]).expect("a file");
    let dropped: Vec<&str> = args[4].split(',').collect();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
    let label = header.iter().position(|h| *h == args[2]).expect("the label");
    let columns: Vec<usize> =
        (0..header.len()).filter(|c| *c != label && !dropped.contains(&header[*c])).collect();
    let mut names: Vec<&str> = rows.iter().map(|r| r[label]).collect();
    names.sort_unstable();
    names.dedup();
    let mut schema = Vec::new();
    let mut values = vec![vec![0.0_f32; rows.len()]; columns.len()];
    for (i, c) in columns.iter().enumerate() {
        let numeric = rows.iter().take(2000).all(|r| r[*c].is_empty() || r[*c].parse::<f32>().is_ok());
        let mut categories = BTreeMap::new();
        for (r, row) in rows.iter().enumerate() {
            values[i][r] = if numeric {
                row[*c].parse().unwrap_or(f32::NAN)
            } else {
                let n = categories.len();
                *categories.entry(row[*c]).or_insert(n) as f32
            };
        }
        let mut list = vec![String::new(); categories.len()];
        categories.iter().for_each(|(name, at)| list[*at] = (*name).to_owned());
        let kind = if numeric { Kind::Numeric } else { Kind::Categorical(list) };
        schema.push(Feature { name: header[*c].to_owned(), kind });
    }
    let held = |r: usize| {
        let mut h = DefaultHasher::new();
        values.iter().for_each(|v| v[r].to_bits().hash(&mut h));
        h.finish() % 10 < 3
    };
    let set = |keep: bool| {
        let places: Vec<usize> = (0..rows.len()).filter(|r| held(*r) == keep).collect();
        let flat = places.iter().flat_map(|r| values.iter().map(move |v| v[*r])).collect();
        let matrix = Matrix::new(columns.len(), flat).expect("rows");
        let class = |r: &usize| names.binary_search(&rows[*r][label]).unwrap_or(0) as u32;
        (matrix, places.iter().map(class).collect::<Vec<u32>>())
    };
    let ((train, train_class), (test, test_class)) = (set(false), set(true));
    let normal = names.iter().position(|n| *n == args[3]).expect("the normal class") as u32;
    let pool = Threads(2);
    println!("{} + {} rows, {} features, {} classes", train.rows(), test.rows(), schema.len(), names.len());
    let binary = |c: &[u32]| c.iter().map(|c| u32::from(*c != normal)).collect::<Vec<_>>();
    let which = args.get(5).map_or("boosting", String::as_str);
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(100);
    let rate: f64 = std::env::var("RATE").ok().and_then(|r| r.parse().ok()).unwrap_or(0.1);
    for (classes, train_class, test_class) in
        [(2, binary(&train_class), binary(&test_class)), (names.len(), train_class, test_class)]
    {
        let samples = Samples { rows: &train, classes: &train_class, weights: None };
        let begun = Instant::now();
        let (predict, trees) = if which == "forest" {
            let f = Forest::train(&samples, &schema, classes, &forest::Options::default(), &pool)
                .expect("forest");
            println!("trained in {:.2} s, {} nodes", begun.elapsed().as_secs_f64(), f.trees().nodes());
            let begun = Instant::now();
            (f.predict_batch(&test), begun)
        } else {
            let options = Options { rounds, rate, ..Options::default() };
            let b = Boosting::train(&samples, &schema, classes, &options, None, &pool).expect("boosting");
            println!("trained in {:.2} s, {} nodes", begun.elapsed().as_secs_f64(), b.trees().nodes());
            let begun = Instant::now();
            (b.predict_batch(&test), begun)
        };
        println!("  {:.0} ns a row", trees.elapsed().as_nanos() as f64 / test.rows() as f64);
        let mut confusion = Confusion::new(classes);
        for (p, c) in predict.chunks(classes).zip(&test_class) {
            confusion.add(*c as usize, largest(p));
        }
        if classes == 2 {
            let r = Ranking::new(predict.chunks(2).zip(&test_class).map(|(p, c)| (p[1], *c == 1)));
            println!(
                "  auc {:.5}  recall@1% {:.4}  @0.1% {:.4}  f1 {:.4} (best {:.4})",
                r.auc(),
                r.recall_at_fpr(0.01).0,
                r.recall_at_fpr(0.001).0,
                confusion.of(1).f1(),
                r.best_f1().1
            );
        } else {
            println!("  accuracy {:.4} macro f1 {:.4}", confusion.accuracy(), confusion.macro_f1());
            for (i, n) in names.iter().enumerate() {
                println!("    {n}: f1 {:.3}", confusion.of(i).f1());
            }
        }
    }
}
