//! `autoinmune models …`: the bundles there are, which is in use, and whose are trusted.

use crate::cli::Format as Output;
use crate::config;
use crate::eval::share;
use crate::exit::{Exit, fail};
use crate::learned;
use crate::text;
use bundle::{Bundle, Difference, Manifest, PublicKey, SigningKey, Store, Trust};
use clap::{Args, Subcommand, ValueHint};
use learn::hybrid::Hybrid;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Name of the model that judges flows, and of its schema.
pub const FLOW: &str = "flow";
/// Its kind.
pub const HYBRID: &str = "hybrid";
/// What the bundle that comes with the program is called in commands and in the configuration.
const BUILT_IN: &str = "default";
/// Directory of the store, in the state directory.
pub const STORE: &str = "models";
/// The key with which this machine signs, in the store.
pub const SIGNING_KEY: &str = "signing-key.pem";

/// `models …`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the bundles of the store
    List {
        /// Where and whose.
        #[command(flatten)]
        trust: TrustArgs,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show what a bundle was made of and how good it is
    Show(OneArgs),
    /// Check signature, version, schemas and hashes of a bundle
    Verify(OneArgs),
    /// Put a bundle into use; one of a directory is kept in the store first
    Promote(PromoteArgs),
    /// Put the bundle into use that was before
    Rollback {
        /// Where and whose.
        #[command(flatten)]
        trust: TrustArgs,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show in what two bundles differ
    Diff {
        /// Directory, or identifier in the store
        #[arg(value_name = "DIR|ID", value_hint = ValueHint::DirPath)]
        from: String,
        /// Directory, or identifier in the store
        #[arg(value_name = "DIR|ID", value_hint = ValueHint::DirPath)]
        to: String,
        /// Where and whose.
        #[command(flatten)]
        trust: TrustArgs,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// One bundle.
#[derive(Clone, Debug, Args)]
pub struct OneArgs {
    /// Directory, or identifier in the store or its beginning; `default` is the one that comes with the program
    #[arg(value_name = "DIR|ID", value_hint = ValueHint::DirPath)]
    pub bundle: String,
    /// Where and whose.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// One bundle to be put into use.
#[derive(Clone, Debug, Args)]
pub struct PromoteArgs {
    /// Which.
    #[command(flatten)]
    pub one: OneArgs,
    /// Keep it in the store without putting it into use, as one that cannot judge live
    #[arg(long)]
    pub keep_only: bool,
}

/// Where bundles are and who is trusted.
#[derive(Clone, Debug, Default, Args)]
pub struct TrustArgs {
    /// Directory of bundles [default: models in the state directory]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
    /// Trust bundles of this key too: 64 hexadecimal digits, or a file with them
    #[arg(long, value_name = "KEY|FILE", value_hint = ValueHint::FilePath)]
    pub trust: Vec<String>,
    /// Configuration file with the state directory and further trusted keys
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// An error of the bundle crate with its exit code.
pub fn refused(error: bundle::Error) -> anyhow::Error {
    let exit = match error.root() {
        bundle::Error::Io { doing: "write" | "make" | "remove" | "lock", source, .. } => {
            match source.kind() {
                std::io::ErrorKind::PermissionDenied => Exit::Permission,
                _ => Exit::Failure,
            }
        }
        _ => Exit::Input,
    };
    fail(exit, error.to_string())
}

impl TrustArgs {
    /// The store, and whose bundles are loaded: those of this machine's own key, of the configuration and of the command line.
    ///
    /// # Errors
    /// The configuration is wrong, or a key is none.
    pub fn resolve(&self) -> anyhow::Result<(Store, Trust)> {
        let config = config::resolve(self.config.as_deref())?;
        let store = Store::new(self.store.clone().unwrap_or_else(|| config.state_dir.join(STORE)));
        let mut trust = trusted(&config, store.dir());
        for text in &self.trust {
            trust = trust.and(key(text)?);
        }
        Ok((store, trust))
    }

    /// The key that signs: the file given, or that of the store, made on first use.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub fn signing_key(&self, file: Option<&Path>) -> anyhow::Result<SigningKey> {
        if let Some(file) = file {
            return SigningKey::read(file).map_err(refused);
        }
        let (store, _) = self.resolve()?;
        let path = store.dir().join(SIGNING_KEY);
        let (key, made) = SigningKey::read_or_make(&path).map_err(refused)?;
        if made {
            eprintln!("autoinmune: made a key to sign with in {}", path.display());
        }
        Ok(key)
    }
}

/// Whose bundles a configuration trusts, with the store in `store`; those that come with the program among them.
pub fn trusted(config: &config::Config, store: &Path) -> Trust {
    let trust = Trust::new(learned::shipped_key().into_iter().chain(config.models_trust.iter().copied()));
    // What this machine trained itself. Others can't read the key, and then don't trust it either.
    match SigningKey::read(&store.join(SIGNING_KEY)) {
        Ok(own) => trust.and(own.public()),
        Err(_) => trust,
    }
}

fn key(text: &str) -> anyhow::Result<PublicKey> {
    if let Some(key) = PublicKey::parse(text) {
        return Ok(key);
    }
    let read = std::fs::read_to_string(text).map_err(|e| {
        fail(Exit::Input, format!("--trust {text}: neither 64 hexadecimal digits nor a file: {e}"))
    })?;
    PublicKey::parse(&read).ok_or_else(|| {
        fail(Exit::Input, format!("--trust {text}: the file does not hold a key, 64 hexadecimal digits"))
    })
}

/// A bundle by its directory, or by its identifier in the store; `default` is the one that comes with the program.
///
/// # Errors
/// There is none, or it is not as it should be.
pub fn find(name: &str, args: &TrustArgs) -> anyhow::Result<Bundle> {
    if name == BUILT_IN {
        return learned::shipped();
    }
    let (store, trust) = args.resolve()?;
    if is_directory(name) { Bundle::load(Path::new(name), &trust) } else { store.get(name, &trust) }
        .map_err(refused)
}

fn is_directory(name: &str) -> bool {
    name.contains('/') || Path::new(name).is_dir()
}

/// The model of a bundle that judges flows.
///
/// # Errors
/// There is none, or it is not what the bundle says.
pub fn flow_model(bundle: &Bundle) -> anyhow::Result<Hybrid> {
    let bytes = bundle.model(FLOW, HYBRID, None).map_err(refused)?;
    let model: Hybrid = learn::codec::from_bytes(bytes)
        .map_err(|e| fail(Exit::Input, format!("{}: the model '{FLOW}': {e}", bundle.id())))?;
    bundle.model(FLOW, HYBRID, Some(model.schema())).map_err(refused)?;
    Ok(model)
}

/// Runs the command.
///
/// # Errors
/// One sentence with the way out; exit code 2 for a bundle that would not be loaded.
pub fn run(command: &ModelsCommand) -> anyhow::Result<Exit> {
    match command {
        ModelsCommand::List { trust, output } => list(trust, *output),
        ModelsCommand::Show(args) => {
            let bundle = find(&args.bundle, &args.trust)?;
            print(args.output, &described(&bundle), || shown(&bundle))
        }
        ModelsCommand::Verify(args) => {
            let bundle = find(&args.bundle, &args.trust)?;
            let what = format!(
                "{} is as it was signed by {}: {} models, {} bytes\n",
                bundle.id(),
                bundle.signer(),
                bundle.manifest().models.len(),
                bundle.bytes()
            );
            print(args.output, &described(&bundle), || what)
        }
        ModelsCommand::Promote(args) => promote(args),
        ModelsCommand::Rollback { trust, output } => {
            let (store, trust) = trust.resolve()?;
            let bundle = store.roll_back(&trust).map_err(refused)?;
            let id = bundle.as_ref().map(Bundle::id);
            let text = format!("{} is in use\n", id.unwrap_or("the built-in bundle"));
            print(*output, &json!({"active": id}), || text)
        }
        ModelsCommand::Diff { from, to, trust, output } => {
            let (from, to) = (find(from, trust)?, find(to, trust)?);
            let found = bundle::difference(from.manifest(), to.manifest());
            print(*output, &found, || differences(&found))
        }
    }
}

fn print(output: Output, data: &impl Serialize, human: impl FnOnce() -> String) -> anyhow::Result<Exit> {
    match output {
        Output::Human => print!("{}", human()),
        Output::Json => println!("{}", serde_json::to_string_pretty(data)?),
    }
    Ok(Exit::Ok)
}

fn described(bundle: &Bundle) -> Value {
    json!({
        "id": bundle.id(),
        "signer": bundle.signer().to_string(),
        "bytes": bundle.bytes(),
        "manifest": bundle.manifest(),
    })
}

fn list(args: &TrustArgs, output: Output) -> anyhow::Result<Exit> {
    let (store, trust) = args.resolve()?;
    let kept = store.list(&trust).map_err(refused)?;
    let active = store.active_id().map_err(refused)?;
    let shipped = learned::shipped().map_err(|e| format!("{e:#}"));
    let mut entries = vec![(BUILT_IN.to_owned(), active.is_none(), shipped)];
    entries.extend(kept.into_iter().map(|e| (e.id, e.active, e.bundle.map_err(|e| e.root().to_string()))));
    let data: Vec<Value> = entries
        .iter()
        .map(|(id, active, bundle)| match bundle {
            Ok(bundle) => {
                let mut value = described(bundle);
                value["id"] = id.as_str().into();
                value["active"] = (*active).into();
                value["built_in"] = (id == BUILT_IN).into();
                value
            }
            Err(error) => json!({"id": id, "active": active, "error": error}),
        })
        .collect();
    let human = || {
        let header = ["bundle", "in use", "made", "models", "AUC", "macro F1"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for (id, active, bundle) in &entries {
            let active = if *active { "yes" } else { "" }.to_owned();
            match bundle {
                Ok(bundle) => {
                    let m = bundle.manifest();
                    let models: Vec<&str> = m.models.iter().map(|m| m.name.as_str()).collect();
                    let figure = |path: &str| {
                        share(m.figures.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN))
                    };
                    rows.push(vec![
                        id.clone(),
                        active,
                        m.created.clone(),
                        models.join(", "),
                        figure("/binary/auc"),
                        figure("/macro_f1"),
                    ]);
                }
                Err(error) => rows.push(vec![id.clone(), active, format!("refused: {error}")]),
            }
        }
        text::table(&rows)
    };
    print(output, &data, human)
}

fn promote(args: &PromoteArgs) -> anyhow::Result<Exit> {
    let OneArgs { bundle, trust: trusted, output } = &args.one;
    let (store, trust) = trusted.resolve()?;
    let bundle = find(bundle, trusted)?;
    if args.keep_only {
        let id = store.keep(&bundle).map_err(refused)?;
        let active = store.active_id().map_err(refused)?;
        return print(*output, &json!({"kept": id, "active": active}), || {
            format!("{id} is kept; what is in use stays\n")
        });
    }
    // An agent would pass over it and say so in its log, where nobody looks.
    learned::models(&bundle).map_err(|e| {
        let id = bundle.id();
        let why = format!("{e:#}");
        let why = why.strip_prefix(&format!("{id}: ")).unwrap_or(&why);
        fail(Exit::Input, format!("{id} cannot judge live: {why}; --keep-only keeps it in the store"))
    })?;
    let id = store.keep(&bundle).map_err(refused)?;
    let bundle = store.promote(&id, &trust).map_err(refused)?;
    let text = format!("{} is in use; a running agent takes it with its next reload\n", bundle.id());
    print(*output, &json!({"active": bundle.id()}), || text)
}

fn shown(bundle: &Bundle) -> String {
    let m: &Manifest = bundle.manifest();
    let l = &m.lineage;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![name.to_owned(), value]);
        }
    };
    let counts = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
    };
    row("bundle", bundle.id().to_owned());
    row("made", format!("{} by {}", m.created, m.program));
    row("signed by", bundle.signer().to_string());
    row("command", l.command.clone());
    for data in &l.data {
        row("data", format!("{} ({} bytes, SHA-256 {})", data.file, data.bytes, data.sha256));
    }
    row("span", l.span.join(" to "));
    row("split", l.split.clone());
    row("rows", counts(&l.rows));
    row("classes", counts(&l.classes));
    row("label", l.label.clone());
    row("normal", l.normal.clone());
    row("seed", l.seed.to_string());
    for (name, schema) in &m.schemas {
        row("schema", format!("{name}: {} features, SHA-256 {}", schema.features.len(), schema.sha256));
    }
    for model in &m.models {
        row(
            "model",
            format!("{} ({}), {} bytes, SHA-256 {}", model.name, model.kind, model.bytes, model.sha256),
        );
    }
    for (name, value) in &m.thresholds {
        row("threshold", format!("{name} {value}"));
    }
    for (name, path) in [
        ("AUC", "/binary/auc"),
        ("precision", "/binary/precision"),
        ("recall", "/binary/recall"),
        ("F1", "/binary/f1"),
        ("false positives", "/binary/fpr"),
        ("macro F1", "/macro_f1"),
    ] {
        if let Some(value) = m.figures.pointer(path).and_then(Value::as_f64) {
            row(name, share(value));
        }
    }
    text::table(&rows)
}

fn differences(found: &[Difference]) -> String {
    if found.is_empty() {
        return "They do not differ.\n".to_owned();
    }
    let word = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rows: Vec<Vec<String>> =
        found.iter().map(|d| vec![d.field.clone(), word(&d.from), "→".to_owned(), word(&d.to)]).collect();
    text::table(&rows)
}
