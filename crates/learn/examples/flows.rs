//! Trains on a CSV of flows, without those that a hash of their features holds out, and prints as JSON what the rest says
//! and how long it took. For work on the growers, and for `cargo xtask bench --section learn`.
//!
//! `flows FILE LABEL NORMAL DROP,DROP… [hybrid|boosting|forest] [SPLIT] [FOREST]`
//!
//! Writes both parts to the directory SPLIT as CSV; measures the trees in the file FOREST too, written as JSON.

#![expect(clippy::disallowed_methods, reason = "an example reads a file and takes the time")]

use learn::hybrid::{self, Hybrid, Options, Scratch, Training, Verdict};
use learn::metric::{Confusion, Ranking, largest};
use learn::tree::Trees;
use learn::{Feature, Inline, Kind, Matrix, Pool};
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

/// How often a time is taken, each of at least so long: the kernel counts a thread's time in steps of milliseconds.
const TURNS: usize = 5;
const LONG_NS: u64 = 200_000_000;

/// Time of the processor that this thread used, ns.
fn used_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel that counts");
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number")
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
    // INNER=1 in the environment: leave out the rows held out below and hold out others, to choose options by.
    let inner = std::env::var("INNER").is_ok();
    let part = |r: usize| {
        let mut h = DefaultHasher::new();
        values.iter().for_each(|v| v[r].to_bits().hash(&mut h));
        let h = h.finish();
        match (h % 10 < 3, inner) {
            (held, false) => Some(held),
            (true, true) => None,
            (false, true) => Some((h / 10).is_multiple_of(4)),
        }
    };
    let set = |held: bool| {
        let places: Vec<usize> = (0..rows.len()).filter(|r| part(*r) == Some(held)).collect();
        let flat = places.iter().flat_map(|r| values.iter().map(move |v| v[*r])).collect();
        let matrix = Matrix::new(columns.len(), flat).expect("rows");
        let class = |r: &usize| names.binary_search(&rows[*r][label]).unwrap_or(0) as u32;
        (matrix, places.iter().map(class).collect::<Vec<u32>>())
    };
    let ((train, train_class), (test, test_class)) = (set(false), set(true));
    let normal = names.iter().position(|n| *n == args[3]).expect("the normal class") as u32;
    if let Some(directory) = args.get(6) {
        for (name, held) in [("train.csv", false), ("test.csv", true)] {
            let mut lines = vec![text.lines().next().unwrap_or_default()];
            lines.extend(
                text.lines().skip(1).enumerate().filter(|(r, _)| part(*r) == Some(held)).map(|l| l.1),
            );
            std::fs::write(format!("{directory}/{name}"), lines.join("\n") + "\n").expect("a directory");
        }
    }
    let kind = match args.get(5).map(String::as_str) {
        Some("forest") => hybrid::Kind::Forest,
        Some("boosting") => hybrid::Kind::Boosting,
        _ => hybrid::Kind::Hybrid,
    };
    let threads = std::env::var("THREADS").ok().and_then(|t| t.parse().ok()).unwrap_or(2);
    let pool = Threads(threads);
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let training = Training {
        rows: &train,
        schema: &schema,
        classes: &train_class,
        names: &names,
        normal,
        weights: None,
        groups: None,
    };
    let begun = Instant::now();
    let options = Options { kind, ..Options::default() };
    let model = Hybrid::train(&training, &options, &pool, &mut |p| {
        eprintln!("{p:?} after {:.2} s", begun.elapsed().as_secs_f64());
    })
    .expect("a model");
    let seconds = begun.elapsed().as_secs_f64();
    let judged = model.judge_batch(&test, &Inline);
    // The least of some long turns: what others do on the machine takes caches away, but no time is counted for it.
    let least = |rows: usize, turn: &mut dyn FnMut()| {
        let time = |_| {
            let (begun, mut turns) = (used_ns(), 0);
            loop {
                turn();
                turns += 1;
                let used = used_ns() - begun;
                if used >= LONG_NS {
                    break used as f64 / (turns * rows) as f64;
                }
            }
        };
        (0..TURNS).map(time).fold(f64::INFINITY, f64::min).round()
    };
    let few = test.select(&(0..test.rows().min(1024)).collect::<Vec<_>>());
    let many = test.select(&(0..test.rows().min(4096)).collect::<Vec<_>>());
    let mut scratch = Scratch::default();
    let single = least(few.rows(), &mut || {
        few.iter().for_each(|row| {
            std::hint::black_box(model.judge(row, &mut scratch));
        });
    });
    let batch = least(many.rows(), &mut || {
        std::hint::black_box(model.judge_batch(&many, &Inline));
    });
    let forest = args.get(7).map(|file| {
        let text = std::fs::read_to_string(file).expect("a file of trees");
        let trees: Trees = serde_json::from_str(&text).expect("trees");
        let mut scores = vec![0.0; many.rows() * trees.outputs()];
        least(many.rows(), &mut || trees.add_batch(&many, &mut scores))
    });
    let attack = |c: u32| c != normal;
    let r = Ranking::new(judged.iter().zip(&test_class).map(|(j, c)| (j.score, attack(*c))));
    let cut = r.at((model.threshold / (1.0 - model.threshold)).ln());
    let mut decided = Confusion::new(names.len());
    let mut likeliest = Confusion::new(names.len());
    let mut unknown = 0;
    for (j, c) in judged.iter().zip(&test_class) {
        decided.add(*c as usize, j.class as usize);
        likeliest.add(*c as usize, largest(j.probabilities));
        unknown += usize::from(j.verdict == Verdict::Unknown);
    }
    let f1: BTreeMap<&str, f64> =
        names.iter().enumerate().map(|(i, n)| (n.as_str(), decided.of(i).f1())).collect();
    let report = serde_json::json!({
        "rows": [train.rows(), test.rows()],
        "features": schema.len(),
        "classes": names.len(),
        "train_seconds": seconds,
        "trees": model.trees(),
        "nodes": model.nodes(),
        "bytes": learn::codec::to_bytes(&model).len(),
        "ns_per_row": { "single": single, "batch": batch, "forest": forest },
        "auc": r.auc(),
        "recall_at_fpr": { "0.01": r.recall_at_fpr(0.01).0, "0.001": r.recall_at_fpr(0.001).0 },
        "threshold": model.threshold,
        "f1": cut.f1(),
        "best_f1": r.best_f1().1,
        "macro_f1": decided.macro_f1(),
        "macro_f1_of_the_likeliest": likeliest.macro_f1(),
        "accuracy": decided.accuracy(),
        "unknown": unknown,
        "f1_by_class": f1,
    });
    println!("{report:#}");
}
