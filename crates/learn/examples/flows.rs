//! Trains on a CSV of flows and prints what a held-out third of it says. For work on the growers.
//!
//! `flows FILE LABEL NORMAL DROP,DROP… [hybrid|boosting|forest]`

#![expect(clippy::disallowed_methods, reason = "an example reads a file and takes the time")]

use learn::hybrid::{self, Hybrid, Options, Scratch, Training, Verdict};
use learn::metric::{Confusion, Ranking, largest};
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

/// Time on the processor of this thread, in nanoseconds: what others do on the machine is not in it. Linux only.
fn busy() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
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
    // INNER: leave out the rows held out below and hold out others, to choose options by.
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
    println!("{} + {} rows, {} features, {} classes", train.rows(), test.rows(), schema.len(), names.len());
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
        eprintln!("  {p:?} after {:.2} s, {:.2} s busy", begun.elapsed().as_secs_f64(), busy() / 1e9);
    })
    .expect("a model");
    println!(
        "trained in {:.2} s: {} trees, {} nodes, {} bytes",
        begun.elapsed().as_secs_f64(),
        model.trees(),
        model.nodes(),
        learn::codec::to_bytes(&model).len()
    );
    let begun = busy();
    let judged = model.judge_batch(&test, &Inline);
    println!("  {:.0} ns a row in a batch", (busy() - begun) / test.rows() as f64);
    let begun = busy();
    let mut scratch = Scratch::default();
    let sum: f32 = test.iter().map(|row| model.judge(row, &mut scratch).score).sum();
    println!("  {:.0} ns a row alone ({sum})", (busy() - begun) / test.rows() as f64);
    let attack = |c: u32| c != normal;
    let r = Ranking::new(judged.iter().zip(&test_class).map(|(j, c)| (j.score, attack(*c))));
    let cut = r.at((model.threshold / (1.0 - model.threshold)).ln());
    println!(
        "  auc {:.5}  recall@1% {:.4}  @0.1% {:.4}  f1 {:.4} (best {:.4}) at {:.3}",
        r.auc(),
        r.recall_at_fpr(0.01).0,
        r.recall_at_fpr(0.001).0,
        cut.f1(),
        r.best_f1().1,
        model.threshold
    );
    let mut decided = Confusion::new(names.len());
    let mut likeliest = Confusion::new(names.len());
    let mut unknown = 0;
    for (j, c) in judged.iter().zip(&test_class) {
        decided.add(*c as usize, j.class as usize);
        likeliest.add(*c as usize, largest(j.probabilities));
        unknown += usize::from(j.verdict == Verdict::Unknown);
    }
    println!(
        "  macro f1 {:.4} (of the likeliest {:.4}), accuracy {:.4} ({:.4}), {unknown} unknown",
        decided.macro_f1(),
        likeliest.macro_f1(),
        decided.accuracy(),
        likeliest.accuracy()
    );
    for (i, n) in names.iter().enumerate() {
        println!("    {n}: f1 {:.3} ({:.3})", decided.of(i).f1(), likeliest.of(i).f1());
    }
}
