//! The command line: one definition from which help, completions and man pages come.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Digital immune system for Linux networks: watches traffic in the kernel, recognises attacks, answers them.
#[derive(Debug, Parser)]
#[command(name = "autoinmune", version, about, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failure, 2 usage or unreadable input, 3 configuration, 4 permission, \
    5 kernel or interface, 6 already running or address taken, 7 no agent, 8 refused by the agent."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the main job in under a minute: a real attack recognised and blocked in the kernel
    Demo(DemoArgs),
    /// Play attacks and ordinary traffic against this program, in network namespaces of this machine
    Lab {
        /// What to do in the lab.
        #[command(subcommand)]
        command: crate::lab::LabCommand,
    },
    /// Make ordinary traffic: visit real sites politely, or the lab's servers in their place
    Generate(crate::generate::GenerateArgs),
    /// Protect this host: attach, detect, and answer (shadow mode unless --enforce)
    Run(Box<RunArgs>),
    /// Protect this host as `run` does, and have its figures and flows judged by a detector; rules go on while that is away
    Sensor(Box<SensorArgs>),
    /// Judge figures of traffic, flows and logins that are posted to it: the detector's HTTP API on its own
    Detector(DetectorArgs),
    /// Run capture files through the same line as live traffic
    Replay(ReplayArgs),
    /// Record the flows of live traffic as a dataset, until told to stop or until it is complete; nothing is ever blocked
    Capture(Box<crate::capture::CaptureArgs>),
    /// Check, compare, merge, split, label and anonymise datasets
    Dataset {
        /// What to do with datasets.
        #[command(subcommand)]
        command: crate::dataset::DatasetCommand,
    },
    /// Train the learned detectors from captures and write them as a bundle
    Learn(crate::learned::LearnArgs),
    /// Learn a classifier from a table with labels, or from captures, and write it as a bundle
    Train(Box<crate::train::TrainArgs>),
    /// Learn from one table and test with another, or test a bundle; prints the figures
    Eval(Box<crate::eval::EvalArgs>),
    /// List, check, compare, promote and roll back model bundles
    Models {
        /// What to do with bundles.
        #[command(subcommand)]
        command: crate::models::ModelsCommand,
    },
    /// Block an address or prefix on the running agent
    Ban(BanArgs),
    /// Lift a block
    Unban(UnbanArgs),
    /// List the blocks in force
    Bans(ClientArgs),
    /// List the kernel's limits and who was over one lately, or give full buckets again
    Limits(LimitsArgs),
    /// Say whether an address is allowed or blocked, why, until when, and what was seen of it
    Explain(ExplainArgs),
    /// Tell the running agent what an incident was, so that it learns from it
    Feedback {
        /// What to tell, or to ask.
        #[command(subcommand)]
        command: crate::feedback::FeedbackCommand,
    },
    /// Show, fetch or try out databases of addresses and reputation lists
    Intel {
        /// What to do with them.
        #[command(subcommand)]
        command: crate::intel::IntelCommand,
    },
    /// Try out and list the formats of logs in which services tell of logins
    Logs {
        /// What to do with logs.
        #[command(subcommand)]
        command: crate::logs::LogsCommand,
    },
    /// Show attach modes, rates, losses, own load and blocks of the running agent
    Status(ClientArgs),
    /// Check what this machine offers, each finding with its fix
    Doctor(OutputArgs),
    /// List or check detection rules
    Rules {
        /// What to do with rules.
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Check, describe or print configuration
    Config {
        /// What to do with configuration.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print shell completions
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages
    Man {
        /// Directory to write to, made if absent.
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Learn what ordinary seconds of traffic look like, for the detector's API: how models/snapshots was made
    #[command(hide = true)]
    LearnSnapshots(LearnSnapshotsArgs),
    /// Print a generated reference page as Markdown
    #[command(hide = true)]
    Reference {
        /// Which page
        #[arg(value_enum, default_value_t)]
        page: Page,
    },
}

/// A generated reference page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// docs/cli.md
    #[default]
    Commands,
    /// docs/features.md
    Features,
    /// docs/lab-reference.md
    Lab,
    /// docs/learning-ensemble.md
    Learning,
    /// docs/metrics.md
    Metrics,
    /// docs/openapi.json
    Openapi,
    /// docs/rules.md
    Rules,
}

/// What `replay` prints on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReplayOutput {
    /// A summary for people.
    #[default]
    Human,
    /// The summary as JSON (as `--summary -`).
    Json,
    /// Events (as `--eve -`).
    Eve,
    /// Zeek's conn.log (as `--conn-log -`).
    ConnLog,
    /// Features as CSV (as `--features csv`).
    Csv,
    /// Features as Parquet (as `--features parquet`).
    Parquet,
}

/// Which features to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FeatureSet {
    /// UNSW-NB15 and CICIDS2017.
    #[default]
    All,
    /// UNSW-NB15.
    Unsw,
    /// CICIDS2017.
    Cicids,
}

/// How to print data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON document.
    Json,
}

/// Output format alone.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Arguments of every command that talks to the agent.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Directory of the agent's control socket
    #[arg(long, value_name = "DIR", default_value = crate::config::RUN_DIR, value_hint = ValueHint::DirPath)]
    pub run_dir: PathBuf,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Play the story from a generated capture, without the kernel
    #[arg(long)]
    pub no_kernel: bool,
    /// Print plain lines even on a terminal
    #[arg(long)]
    pub plain: bool,
    /// Seed of the generated capture
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Configuration file, TOML or JSON [default: /etc/autoinmune/config.toml if it exists]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Interfaces to protect, separated by commas; `auto` is that of the default route
    #[arg(short, long, value_name = "auto|NAME,…", value_delimiter = ',')]
    pub interface: Vec<String>,
    /// Block for real; without it the agent only reports what it would block
    #[arg(long)]
    pub enforce: bool,
    /// Leave blocks in force in the kernel on exit, until their own ends
    #[arg(long)]
    pub keep_blocks: bool,
    /// Write EVE JSON here (`-` for standard output)
    #[arg(long, value_name = "PATH|-", value_hint = ValueHint::FilePath)]
    pub eve: Option<PathBuf>,
    /// Address of the HTTP API, or `off`
    #[arg(long, value_name = "ADDR|off")]
    pub http: Option<String>,
    /// Address of the detector's HTTP API, or `off` (in a simulation it is off if not given)
    #[arg(long, value_name = "ADDR|off")]
    pub api: Option<String>,
    /// Directory of control socket and lock
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub run_dir: Option<PathBuf>,
    /// Directory of the audit log and of blocks kept over a restart
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// Watch a generated scenario instead of the network, without privileges; everything is marked simulated
    #[arg(long, value_name = "SCENARIO", conflicts_with_all = ["interface", "enforce", "keep_blocks"])]
    pub simulate: Option<String>,
    /// Seed of the scenario
    #[arg(long, requires = "simulate", default_value_t = 1)]
    pub seed: u64,
}

/// `sensor`.
#[derive(Clone, Debug, Args)]
pub struct SensorArgs {
    /// The detector [default: http://127.0.0.1:5000/detect, or post.url of the configuration]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub detector: Option<String>,
    /// As for `run`; the detector's API is off if not asked for.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `learn-snapshots`.
#[derive(Clone, Debug, Args)]
pub struct LearnSnapshotsArgs {
    /// Which captures are learnt from and which are measured with
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plan: PathBuf,
    /// A directory of captures by the name that the plan has for it
    #[arg(long, value_name = "NAME=DIR", value_parser = crate::learned::named)]
    pub from: Vec<(String, PathBuf)>,
    /// Captures with labels that make the golden set; nothing is learnt from them
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub golden: PathBuf,
    /// Directory to write to
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// What chance depends on
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `detector`.
#[derive(Clone, Debug, Args)]
pub struct DetectorArgs {
    /// Configuration file, TOML or JSON [default: /etc/autoinmune/config.toml if it exists]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Address and port to listen on, instead of the configuration's
    #[arg(short, long, value_name = "ADDR")]
    pub listen: Option<String>,
}

/// `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Captures: pcap or pcapng
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Write EVE JSON here (`-` for standard output)
    #[arg(long, value_name = "PATH|-", value_hint = ValueHint::FilePath)]
    pub eve: Option<PathBuf>,
    /// Write one JSON object with totals, losses and incidents here (`-` for standard output)
    #[arg(long, value_name = "PATH|-", value_hint = ValueHint::FilePath)]
    pub summary: Option<PathBuf>,
    /// Write the features of each flow here: CSV if the path ends in .csv or is `-`, Parquet if in .parquet; the bare words
    /// `csv` and `parquet` mean standard output
    #[arg(long, value_name = "PATH|-", value_hint = ValueHint::FilePath)]
    pub features: Option<PathBuf>,
    /// Features of which data set, under its names
    #[arg(long, value_enum, default_value_t)]
    pub feature_set: FeatureSet,
    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: ReplayOutput,
    /// Learned models to judge with: default, none, or the directory of a bundle [default: models.bundle of the configuration]
    #[arg(long, value_name = "default|none|DIR", value_hint = ValueHint::DirPath)]
    pub models: Option<String>,
    /// Compare what is found with what is known: labels of the captures (docs/datasets.md); the figures are part of the summary
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub labels: Option<PathBuf>,
    /// Write Zeek's conn.log here: JSON lines if the path ends in .json, else tab-separated
    #[arg(long, value_name = "PATH|-", value_hint = ValueHint::FilePath)]
    pub conn_log: Option<PathBuf>,
    /// Worker threads, of which each has its own flows; 1 uses no threads [default: one per core; with --features 1, as the
    /// ct_ features depend on the order in which flows end, and that at the same instant on the number of workers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// Configuration file, TOML or JSON: rules and policy apply, always in shadow mode
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// `ban`.
#[derive(Clone, Debug, Args)]
pub struct BanArgs {
    /// Address or CIDR prefix
    pub address: String,
    /// How long, such as 90s, 10m, 1h, 7d
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    pub duration: String,
    /// Reason, kept with the block and in the audit log
    #[arg(long, default_value = "banned by operator")]
    pub why: String,
    /// Where the agent is and how to print.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `unban`.
#[derive(Clone, Debug, Args)]
pub struct UnbanArgs {
    /// Address or CIDR prefix as listed by `bans`
    pub address: String,
    /// Where the agent is and how to print.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `limits`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LimitsArgs {
    /// What else to do with limits.
    #[command(subcommand)]
    pub command: Option<LimitsCommand>,
    /// Where the agent is and how to print.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `limits …`.
#[derive(Clone, Debug, Subcommand)]
pub enum LimitsCommand {
    /// Forget what a source and its services have used up, so that the next packets pass
    Clear {
        /// Address, in IPv6 its /64, or `all`
        #[arg(value_name = "ADDR|all", default_value = "all")]
        address: String,
        /// Where the agent is and how to print.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Address
    pub address: String,
    /// Where the agent is and how to print.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `rules …`.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// List the rules in force, with thresholds
    List {
        /// Configuration file whose overrides and rule files apply
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Check rule files and run their test vectors; without FILE, the built-in ones
    Check {
        /// Rule files
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// `config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration file
    Check {
        /// File, TOML or JSON [default: /etc/autoinmune/config.toml]
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print the default configuration with explanations
    Default,
}
