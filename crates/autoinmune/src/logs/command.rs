//! `logs test` and `logs list`.

use super::lines::Lines;
use super::{clock, formats, usual};
use crate::cli::Format as Output;
use crate::config;
use crate::exit::{Exit, fail};
use crate::text::table;
use auth::{Clock, FormatSet, Line, LoginEvent, MAX_LINE, Outcome, Parser, Reading};
use clap::{Subcommand, ValueHint};
use detect::{Actor, Detector, RuleSet, Signal};
use serde::Serialize;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::Addr;

/// Lines by which the format of a file is found out.
const SNIFFED: usize = 500;
/// Lines shown of those that were not recognised.
const SAMPLES: usize = 5;
/// Characters shown of such a line.
const SAMPLE: usize = 160;
/// Sources listed for people; JSON has up to [`MOST_SOURCES`].
const LISTED: usize = 20;
/// Sources and users counted: a log may name any number.
const MOST_SOURCES: usize = 65_536;

/// `logs …`.
#[derive(Debug, Subcommand)]
pub enum LogsCommand {
    /// Read a log file by the formats and rules in force, and say what was recognised and who attacked
    Test {
        /// Log file, or `-` for standard input; a line that is a JSON object is taken for an entry of the journal
        #[arg(value_name = "FILE|-", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Format of its lines, or `syslog` [default: the one that recognises most of its first lines]
        #[arg(long, value_name = "ID")]
        format: Option<String>,
        /// Configuration file whose formats and rules apply
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// List the formats, check them by their vectors, and say which files would be followed
    List {
        /// Configuration file whose formats and files apply
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Runs the command.
///
/// # Errors
/// Wrong configuration or formats, or a file of which nothing can be read.
pub fn run(command: &LogsCommand) -> anyhow::Result<Exit> {
    match command {
        LogsCommand::Test { file, format, config, output } => {
            test(file, format.as_deref(), config.as_deref(), *output)
        }
        LogsCommand::List { config, output } => list(config.as_deref(), *output),
    }
}

/// What a pattern recognised.
#[derive(Serialize)]
struct Recognised {
    format: String,
    outcome: &'static str,
    pattern: String,
    lines: u64,
}

/// What was done from one address, or by one user.
#[derive(Clone, Debug, Default, Serialize)]
struct Tried {
    failed: u64,
    unknown_user: u64,
    accepted: u64,
}

/// One source.
#[derive(Serialize)]
struct Source {
    source: Addr,
    #[serde(flatten)]
    tried: Tried,
    users: u64,
    /// Rules that spoke about it.
    rules: Vec<String>,
}

/// What the rules made of the log.
#[derive(Serialize)]
struct Attack {
    class: &'static str,
    rule: String,
    /// The source, or none where nobody alone is to blame.
    source: Option<Addr>,
    confidence: f64,
    why: String,
}

/// The report of `logs test`.
#[derive(Serialize)]
struct Report {
    file: String,
    /// Format by which lines were read; `syslog`: the program that wrote a line decides.
    format: String,
    lines: u64,
    lines_cut: u64,
    recognised: u64,
    not_recognised: u64,
    /// Of the journal: written by processes of ordinary users, so not believed; not among the above.
    untrusted: u64,
    events: BTreeMap<&'static str, u64>,
    patterns: Vec<Recognised>,
    /// Beginnings of lines that no pattern recognised, cleaned.
    samples: Vec<String>,
    /// Sources by number of failures.
    sources: Vec<Source>,
    /// Sources and users that were not counted, as there were too many.
    not_counted: u64,
    attacks: Vec<Attack>,
}

/// Everything that a log goes through.
struct Bench {
    parser: Parser,
    format: Option<usize>,
    clock: Clock,
    detector: Detector,
    signals: Vec<Signal>,
    now_ns: u64,
    lines: u64,
    untrusted: u64,
    recognised: BTreeMap<Line, u64>,
    samples: Vec<String>,
    sources: BTreeMap<Addr, (Tried, BTreeSet<Box<str>>)>,
    events: BTreeMap<&'static str, u64>,
    not_counted: u64,
    /// (rule, source): the strongest signal.
    attacks: BTreeMap<(String, Option<Addr>), Signal>,
}

impl Bench {
    fn new(set: Arc<FormatSet>, format: Option<usize>, rules: RuleSet) -> Self {
        Self {
            parser: Parser::new(set),
            format,
            clock: clock(),
            detector: Detector::new(rules),
            signals: Vec::new(),
            now_ns: 0,
            lines: 0,
            untrusted: 0,
            recognised: BTreeMap::new(),
            samples: Vec::new(),
            sources: BTreeMap::new(),
            events: BTreeMap::new(),
            not_counted: 0,
            attacks: BTreeMap::new(),
        }
    }

    fn line(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        self.lines += 1;
        let reading = read(&mut self.parser, line, self.format, &self.clock);
        match reading.line {
            Some(line) => *self.recognised.entry(line).or_default() += 1,
            None if reading.untrusted => self.untrusted += 1,
            None if self.samples.len() < SAMPLES => self.samples.push(auth::clean(line, SAMPLE).into()),
            None => {}
        }
        if let Some(event) = reading.event {
            self.event(&event);
        }
    }

    fn event(&mut self, event: &LoginEvent) {
        let tries = u64::from(event.tries);
        *self.events.entry(event.outcome.name()).or_default() += tries;
        if let Some(addr) = event.source {
            if self.sources.len() < MOST_SOURCES || self.sources.contains_key(&addr) {
                let (tried, users) = self.sources.entry(addr).or_default();
                match event.outcome {
                    Outcome::Failed => tried.failed += tries,
                    Outcome::UnknownUser => tried.unknown_user += tries,
                    Outcome::Accepted => tried.accepted += tries,
                    Outcome::Note => {}
                }
                if let Some(user) = &event.user
                    && users.len() < 1024
                {
                    users.insert(user.clone());
                }
            } else {
                self.not_counted += 1;
            }
        }
        // A log may jump back where two were put together; the rules' time does not.
        self.now_ns = self.now_ns.max(event.at_ns);
        self.detector.advance(self.now_ns, &mut self.signals);
        self.detector.judge_login(self.now_ns, event, super::THIS_HOST, &mut self.signals);
        for signal in self.signals.drain(..) {
            let source = match signal.actor {
                Actor::Source { addr } => Some(addr),
                Actor::Distributed { .. } => None,
            };
            match self.attacks.entry((signal.rule.to_string(), source)) {
                Entry::Occupied(mut e) if e.get().confidence < signal.confidence => drop(e.insert(signal)),
                Entry::Occupied(_) => {}
                Entry::Vacant(e) => drop(e.insert(signal)),
            }
        }
    }

    fn report(self, file: &Path, cut: u64) -> Report {
        let formats = self.parser.formats();
        let recognised: u64 = self.recognised.values().sum();
        let mut patterns = Vec::new();
        for (line, lines) in &self.recognised {
            let Some(format) = formats.get(line.format) else { continue };
            let Some((outcome, pattern)) = format.patterns().nth(line.pattern) else { continue };
            patterns.push(Recognised {
                format: format.id.to_string(),
                outcome: outcome.name(),
                pattern: pattern.to_owned(),
                lines: *lines,
            });
        }
        patterns.sort_by_key(|p| std::cmp::Reverse(p.lines));
        let rules_of = |addr: Addr| -> Vec<String> {
            self.attacks
                .keys()
                .filter(|(_, source)| *source == Some(addr))
                .map(|(rule, _)| rule.clone())
                .collect()
        };
        let mut sources: Vec<Source> = self
            .sources
            .iter()
            .map(|(addr, (tried, users))| Source {
                source: *addr,
                tried: tried.clone(),
                users: users.len() as u64,
                rules: rules_of(*addr),
            })
            .collect();
        sources.sort_by_key(|s| std::cmp::Reverse((s.tried.failed.max(s.tried.unknown_user), s.source)));
        let mut attacks: Vec<&Signal> = self.attacks.values().collect();
        attacks.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.confidence.total_cmp(&a.confidence)));
        Report {
            file: file.display().to_string(),
            format: self
                .format
                .and_then(|f| formats.get(f))
                .map_or_else(|| "syslog".into(), |f| f.id.to_string()),
            lines: self.lines,
            lines_cut: cut,
            recognised,
            not_recognised: self.lines - recognised - self.untrusted,
            untrusted: self.untrusted,
            events: self.events,
            patterns,
            samples: self.samples,
            sources,
            not_counted: self.not_counted,
            attacks: attacks
                .into_iter()
                .map(|s| Attack {
                    class: s.class.name(),
                    rule: s.rule.to_string(),
                    source: match s.actor {
                        Actor::Source { addr } => Some(addr),
                        Actor::Distributed { .. } => None,
                    },
                    confidence: s.confidence,
                    why: s.explain(),
                })
                .collect(),
        }
    }
}

/// Reads a line of a file or of the journal's JSON.
fn read(parser: &mut Parser, line: &[u8], format: Option<usize>, clock: &Clock) -> Reading {
    if format.is_none()
        && line.first() == Some(&b'{')
        && let Some(entry) = auth::entry(line)
    {
        return parser.entry(&entry, clock);
    }
    parser.line(line, format, clock)
}

fn open(file: &Path) -> anyhow::Result<Box<dyn Read>> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened =
        File::open(file).map_err(|e| fail(Exit::Input, format!("cannot read {}: {e}", file.display())))?;
    Ok(Box::new(opened))
}

/// The format that recognises most of the first lines; none: syslog.
fn sniff(set: &Arc<FormatSet>, file: &Path, first: &[u8]) -> Option<usize> {
    if let Some(format) = usual(set, file) {
        return Some(format);
    }
    let mut parser = Parser::new(Arc::clone(set));
    let clock = clock();
    let mut best = (0, None);
    for format in std::iter::once(None).chain((0..set.formats().len()).map(Some)) {
        let lines = first.split(|b| *b == b'\n').take(SNIFFED);
        let known = lines.filter(|l| read(&mut parser, l, format, &clock).line.is_some()).count();
        if known > best.0 {
            best = (known, format);
        }
    }
    best.1
}

fn test(file: &Path, format: Option<&str>, config: Option<&Path>, output: Output) -> anyhow::Result<Exit> {
    let config = config::resolve(config)?;
    let set = Arc::new(formats(config.logs.formats_dir.as_deref())?);
    let mut input = open(file)?;
    let mut chunk = vec![0; 1 << 16];
    let mut first = 0;
    // A pipe gives what it has: read on until the chunk is full or the input ends.
    let cannot = |e: std::io::Error| fail(Exit::Input, format!("cannot read {}: {e}", file.display()));
    while first < chunk.len() {
        match input.read(&mut chunk[first..]).map_err(cannot)? {
            0 => break,
            n => first += n,
        }
    }
    let format = match format {
        None => sniff(&set, file, &chunk[..first]),
        Some("syslog") => None,
        Some(name) => Some(set.find(name).ok_or_else(|| {
            let known: Vec<&str> = set.formats().iter().map(|f| &*f.id).collect();
            fail(
                Exit::Input,
                format!("--format: unknown format '{name}'; known are syslog, {}", known.join(", ")),
            )
        })?),
    };
    let mut bench = Bench::new(set, format, config.rules);
    // An entry of the journal has names around its message.
    let mut lines = Lines::new(MAX_LINE * 8);
    let mut n = first;
    while n > 0 {
        lines.feed(&chunk[..n], &mut |line| bench.line(line));
        n = input.read(&mut chunk).map_err(cannot)?;
    }
    // The last line may lack its end.
    lines.feed(b"\n", &mut |line| bench.line(line));
    let report = bench.report(file, lines.cut);
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Human => print!("{}", human(&report)),
    }
    if report.lines > 0 && report.recognised == 0 {
        return Err(fail(
            Exit::Input,
            format!(
                "no line of {} was recognised; name its --format (see `autoinmune logs list`), or define one (docs/logins.md)",
                file.display()
            ),
        ));
    }
    Ok(Exit::Ok)
}

fn human(r: &Report) -> String {
    let mut out = format!(
        "{}: read as {}\n{} lines, {} recognised, {} not",
        auth::clean(r.file.as_bytes(), 200),
        r.format,
        r.lines,
        r.recognised,
        r.not_recognised
    );
    if r.lines_cut > 0 {
        out.push_str(&format!(", {} cut for their length", r.lines_cut));
    }
    if r.untrusted > 0 {
        out.push_str(&format!(", {} not believed (written by ordinary users)", r.untrusted));
    }
    let events: Vec<String> = r.events.iter().map(|(name, n)| format!("{n} {name}")).collect();
    out.push_str(&format!(
        "\nlogins told: {}\n",
        if events.is_empty() { "none".into() } else { events.join(", ") }
    ));
    if !r.patterns.is_empty() {
        let mut rows = vec![["LINES", "OUTCOME", "FORMAT", "PATTERN"].map(str::to_owned).to_vec()];
        rows.extend(
            r.patterns.iter().map(|p| {
                vec![p.lines.to_string(), p.outcome.to_owned(), p.format.clone(), p.pattern.clone()]
            }),
        );
        out.push_str(&format!("\n{}", table(&rows)));
    }
    if !r.samples.is_empty() {
        out.push_str("\nNot recognised, for example:\n");
        r.samples.iter().for_each(|s| out.push_str(&format!("  {s}\n")));
    }
    if !r.sources.is_empty() {
        let mut rows = vec![
            ["SOURCE", "FAILED", "UNKNOWN USER", "ACCEPTED", "USERS", "RULES"].map(str::to_owned).to_vec(),
        ];
        rows.extend(r.sources.iter().take(LISTED).map(|s| {
            vec![
                s.source.to_string(),
                s.tried.failed.to_string(),
                s.tried.unknown_user.to_string(),
                s.tried.accepted.to_string(),
                s.users.to_string(),
                s.rules.join(", "),
            ]
        }));
        out.push_str(&format!("\n{}", table(&rows)));
        if r.sources.len() > LISTED {
            out.push_str(&format!("and {} more sources (-o json lists them)\n", r.sources.len() - LISTED));
        }
    }
    let attackers = r.attacks.iter().filter_map(|a| a.source).collect::<BTreeSet<_>>().len();
    out.push_str(&format!("\n{} findings about {attackers} sources\n", r.attacks.len()));
    r.attacks.iter().take(LISTED).for_each(|a| out.push_str(&format!("  {}\n", a.why)));
    out
}

fn list(config: Option<&Path>, output: Output) -> anyhow::Result<Exit> {
    let config = config::resolve(config)?;
    let set = formats(config.logs.formats_dir.as_deref())?;
    let results = set.check();
    let failed: Vec<_> = results.iter().filter(|r| r.failure.is_some()).collect();
    let followed = config.logs.files(&set);
    match output {
        Output::Json => {
            let formats: Vec<_> = set
                .formats()
                .iter()
                .map(|f| {
                    serde_json::json!({
                        "id": &*f.id, "service": &*f.service, "port": f.port, "about": &*f.doc, "programs": f.programs,
                        "files": f.files, "origin": &*f.origin, "patterns": f.patterns().count(),
                    })
                })
                .collect();
            let paths: Vec<_> = followed.iter().map(|(path, _)| path).collect();
            let all = serde_json::json!({"formats": formats, "followed": paths, "vectors": results.len(), "failed": failed});
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Output::Human => {
            let mut rows = vec![
                ["FORMAT", "SERVICE", "PATTERNS", "WRITTEN BY", "USUAL FILES"].map(str::to_owned).to_vec(),
            ];
            for f in set.formats() {
                rows.push(vec![
                    f.id.to_string(),
                    f.service.to_string(),
                    f.patterns().count().to_string(),
                    match f.programs.as_slice() {
                        [] => "(whole lines)".to_owned(),
                        [any] if any == "*" => "any program".to_owned(),
                        programs => programs.join(", "),
                    },
                    if f.files.is_empty() { "none".to_owned() } else { f.files.join(", ") },
                ]);
            }
            print!("{}", table(&rows));
            let paths: Vec<String> = followed.iter().map(|(path, _)| path.display().to_string()).collect();
            println!(
                "\nfollowed by `run`: {}",
                if paths.is_empty() { "no file".to_owned() } else { paths.join(", ") }
            );
            println!("{} vectors, {} failed", results.len(), failed.len());
            for r in &failed {
                println!("{}: {}: {}", r.format, r.line, r.failure.as_deref().unwrap_or_default());
            }
        }
    }
    Ok(if failed.is_empty() { Exit::Ok } else { Exit::Config })
}
