//! Rows and findings in the words of the detector's API, and back: both ends of `POST /detect/flows`.

use detect::learned::exchange::{self, FlowRow, Mismatch, Picker, Rows, WindowRow};
use detect::learned::flows::Named;
use detect::learned::watch::Observed;
use detect::learned::{Finding, Found};
use detect::{Class, Evidence, Signal};
use flow::{Direction, FlowKey};
use server::api::batch::{
    Batch, Cell, Ends, Finder, FindingBody, FlowBody, Reason, Scaled, Seconds, WindowBody,
};
use wire::Addr;

/// Reasons read of a finding: as many as learned detectors give, and some.
const REASONS: usize = 16;
/// Characters of a Community ID: `1:` and 20 bytes in base64.
const COMMUNITY_ID: usize = 30;

fn ends(key: &FlowKey, initiator: Direction) -> Ends {
    let ((source, source_port), (target, target_port)) =
        (key.source(initiator), key.source(initiator.reverse()));
    Ends { source_ip: source.ip(), source_port, target_ip: target.ip(), target_port, protocol: key.protocol }
}

fn between(e: &Ends) -> (FlowKey, Direction) {
    let (source, target) = (Addr::from(e.source_ip), Addr::from(e.target_ip));
    FlowKey::between((source, e.source_port), (target, e.target_port), e.protocol)
}

/// A flow as it is posted. `schema` is that of its row.
pub fn flow_body(schema: &[learn::Feature], row: &FlowRow) -> FlowBody {
    let cell = |(column, value): (usize, &f32)| match Rows::word(schema, column, *value) {
        Some(word) => Cell::Word(word.into()),
        // What is beyond the contract's range is no feature of a flow that there can be.
        None if (0.0..=1e15).contains(value) && !is_words(schema, column) => Cell::Number(*value),
        None => Cell::Absent,
    };
    FlowBody {
        at: Seconds::of(row.at_ns),
        since: Seconds::of(row.flow.first_ns),
        ends: ends(&row.flow.key, row.flow.initiator),
        values: row.values.iter().enumerate().map(cell).collect(),
    }
}

fn is_words(schema: &[learn::Feature], column: usize) -> bool {
    schema.get(column).is_some_and(|f| matches!(f.kind, learn::matrix::Kind::Categorical(_)))
}

/// A window as it is posted.
pub fn window_body(row: &WindowRow) -> WindowBody {
    let scaled = |v: &f32| Scaled(if (0.0..=64.0).contains(v) { *v } else { f32::NAN });
    WindowBody {
        at: Seconds::of(row.at_ns),
        since: Seconds::of(row.observed.start_ns),
        source_ip: row.observed.addr.ip(),
        windows: row.windows().map(|w| w.iter().map(scaled).collect()).collect(),
        ends: row.prompted_by.map(|(key, initiator)| ends(&key, initiator)),
    }
}

/// Why a batch cannot be judged: the features, or one row of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// A name that no feature has.
    #[error("there is no feature {0:?} here; run the same version at sensor and detector")]
    Unknown(String),
    /// Features of the same names that are something else.
    #[error(
        "sensor and detector do not mean the same by these features (schema {sent}, here {own}); run the same version at both"
    )]
    Schema {
        /// The sensor's hash.
        sent: String,
        /// The hash here.
        own: String,
    },
    /// Features that do not fit the model, or a row that does not fit them.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A window that is none.
    #[error("window {0}: it has not as many quantities as a window has")]
    Window(usize),
}

/// The rows of a batch, for a model of flows of this schema.
///
/// # Errors
/// What sensor and detector do not agree about.
pub fn rows(batch: &Batch, model: &[learn::Feature]) -> Result<(Vec<FlowRow>, Vec<WindowRow>), Disagreement> {
    let own = exchange::schema_hash(&batch.features).map_err(Disagreement::Unknown)?;
    if own != batch.schema {
        return Err(Disagreement::Schema { sent: batch.schema.clone(), own });
    }
    let picker = Picker::new(model, &batch.features)?;
    let mut cells = Vec::new();
    let mut flows = Vec::with_capacity(batch.flows.len());
    for flow in &batch.flows {
        cells.clear();
        cells.extend(flow.values.iter().map(|cell| match cell {
            Cell::Absent => exchange::Cell::Absent,
            Cell::Number(value) => exchange::Cell::Number(*value),
            Cell::Word(word) => exchange::Cell::Word(word),
        }));
        let (key, initiator) = between(&flow.ends);
        let named = Named { key, initiator, first_ns: flow.since.ns().min(flow.at.ns()) };
        flows.push(FlowRow { at_ns: flow.at.ns(), flow: named, values: picker.row(&cells)? });
    }
    let mut windows = Vec::with_capacity(batch.windows.len());
    for (i, window) in batch.windows.iter().enumerate() {
        let values: Vec<Vec<f32>> = window.windows.iter().map(|w| w.iter().map(|v| v.0).collect()).collect();
        let sequence = exchange::sequence(&values).ok_or(Disagreement::Window(i))?;
        let (addr, start_ns) = (Addr::from(window.source_ip), window.since.ns().min(window.at.ns()));
        windows.push(WindowRow {
            at_ns: window.at.ns(),
            observed: Observed { addr, start_ns, sequence },
            prompted_by: window.ends.as_ref().map(between),
        });
    }
    Ok((flows, windows))
}

/// A signal of a learned detector as it is answered; `None` of others.
pub fn finding_body(signal: &Signal) -> Option<FindingBody> {
    let finding = Finding::of(signal)?;
    let (finder, verdict) = match finding.found {
        Found::Flows(_) => (Finder::Flows, None),
        Found::Windows(reading) => (Finder::Windows, Some(reading)),
    };
    let reason = |e: &Evidence| Reason {
        feature: e.metric.to_owned(),
        observed: e.observed,
        usual: e.threshold,
        contribution: e.contribution.unwrap_or(0.0),
    };
    Some(FindingBody {
        finder,
        source_ip: finding.source.ip(),
        threat_type: signal.class.name().to_owned(),
        grade: finding.grade,
        confidence: signal.confidence,
        verdict,
        since: Seconds::of(finding.since_ns),
        at: Seconds::of(finding.at_ns),
        target_ip: finding.target.map(|a| a.ip()),
        target_port: finding.port,
        protocol: finding.protocol,
        community_id: finding.community_id,
        reasons: finding.evidence.iter().map(reason).collect(),
        explanation: signal.explain(),
    })
}

/// What a detector says it found, if it can be believed to be that. Nothing of its text is taken over: names must be known
/// ones, numbers in their range, and what follows from the finding is not asked of it.
pub fn finding(body: &FindingBody) -> Option<Finding> {
    let class = Class::ALL.into_iter().find(|c| c.name() == body.threat_type)?;
    let found = match (body.finder, body.verdict) {
        (Finder::Flows, _) => Found::Flows((class != Class::Anomaly).then_some(class)),
        (Finder::Windows, Some(reading)) => Found::Windows(reading),
        (Finder::Windows, None) => return None,
    };
    let evidence = |r: &Reason| {
        let sound = r.observed.is_finite() && r.usual.is_finite() && (0.0..=1.0).contains(&r.contribution);
        sound.then_some(Evidence {
            metric: exchange::metric(&r.feature)?,
            observed: r.observed,
            threshold: r.usual,
            at_least: r.observed >= r.usual,
            contribution: Some(r.contribution),
        })
    };
    let plain = |id: &String| {
        id.len() == COMMUNITY_ID
            && id.strip_prefix("1:").is_some_and(|digest| {
                digest.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
            })
    };
    let (since_ns, at_ns) = (body.since.ns(), body.at.ns());
    Some(Finding {
        source: Addr::from(body.source_ip),
        found,
        grade: body.grade,
        at_ns,
        since_ns: since_ns.min(at_ns),
        target: body.target_ip.map(Addr::from),
        port: body.target_port,
        protocol: body.protocol,
        community_id: body.community_id.clone().filter(plain),
        evidence: body.reasons.iter().take(REASONS).filter_map(evidence).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use detect::learned::ensemble::Reading;
    use detect::learned::evidence::Grade;
    use detect::learned::row;
    use detect::learned::vector::WIDTH;

    fn named() -> Named {
        let (from, to) = (Addr::v4([192, 0, 2, 9]), Addr::v4([192, 0, 2, 1]));
        let (key, initiator) = FlowKey::between((from, 40_000), (to, 22), 6);
        Named { key, initiator, first_ns: 1_700_000_000_000_000_000 }
    }

    fn batch(flows: Vec<FlowBody>, windows: Vec<WindowBody>) -> Batch {
        let features: Vec<String> = row::SHIPPED.iter().map(|n| (*n).to_owned()).collect();
        let schema = exchange::schema_hash(&features).expect("known");
        let (sensor, run) = ("gate".to_owned(), "0123456789abcdef".to_owned());
        Batch { sensor, run, number: 1, time: Seconds(1.7e9), schema, features, flows, windows }
    }

    #[test]
    fn rows_come_over_as_they_were() {
        let schema = row::schema();
        let mut values = vec![f32::NAN; schema.len()];
        (values[0], values[1], values[8]) = (0.1, 1.0, 1234.567);
        let sent = FlowRow { at_ns: 1_700_000_001_000_000_000, flow: named(), values };
        let mut sequence = [f32::NAN; WIDTH * 6];
        sequence[WIDTH * 5..].fill(0.3);
        sequence[WIDTH * 5 + 3] = f32::NAN;
        let addr = Addr::v4([192, 0, 2, 9]);
        let observed = Observed { addr, start_ns: 1_700_000_000_000_000_000, sequence };
        let window = WindowRow {
            at_ns: 1_700_000_011_000_000_000,
            observed,
            prompted_by: Some((named().key, named().initiator)),
        };
        let posted = batch(vec![flow_body(&schema, &sent)], vec![window_body(&window)]);
        let text = serde_json::to_string(&posted).expect("JSON");
        let read: Batch = serde_json::from_str(&text).expect("a batch");
        read.check().expect("as the contract has it");
        let (flows, windows) = rows(&read, &schema).expect("rows");
        assert_eq!((flows[0].flow, flows[0].at_ns), (sent.flow, sent.at_ns));
        // NaN is not equal to itself; bits are.
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&flows[0].values), bits(&sent.values));
        assert_eq!(bits(&windows[0].observed.sequence), bits(&window.observed.sequence));
        assert_eq!(windows[0].prompted_by, window.prompted_by);
    }

    #[test]
    fn whatever_comes_is_read_or_refused_and_nothing_panics() {
        let schema = row::schema();
        let flow =
            FlowRow { at_ns: 1_700_000_001_000_000_000, flow: named(), values: vec![1.0; schema.len()] };
        let observed = Observed { addr: Addr::v4([192, 0, 2, 9]), start_ns: 0, sequence: [0.5; WIDTH * 6] };
        let window = WindowRow { at_ns: 1, observed, prompted_by: Some((named().key, named().initiator)) };
        let good = batch(vec![flow_body(&schema, &flow)], vec![window_body(&window)]);
        let good = serde_json::to_vec(&good).expect("JSON");
        let mut random = learn::random::Random::new(1, 0);
        let bits = b"-0.91e+\"[]{},:nulltrue\\ux\xff";
        let (mut read, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => bytes[at] = bits[random.below(bits.len())],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, bits[random.below(bits.len())]),
                }
            }
            let taken = serde_json::from_slice::<Batch>(&bytes)
                .is_ok_and(|b| b.check().is_ok() && rows(&b, &schema).is_ok());
            read += u32::from(taken);
            refused += u32::from(!taken);
        }
        assert!(read > 100 && refused > 1000, "{read} read, {refused} refused");
    }

    #[test]
    fn disagreements_are_named() {
        let schema = row::schema();
        let check = |change: &dyn Fn(&mut Batch), about: &str| {
            let row = FlowRow { at_ns: 0, flow: named(), values: vec![1.0; schema.len()] };
            let mut b = batch(vec![flow_body(&schema, &row)], Vec::new());
            change(&mut b);
            let said = rows(&b, &schema).map(|_| ()).unwrap_err().to_string();
            assert!(said.contains(about), "{about}: {said}");
        };
        check(&|b| b.schema = "0".repeat(16), "run the same version");
        check(&|b| b.features[3] = "phase of the moon".into(), "phase of the moon");
        check(&|b| b.flows[0].values.truncate(3), "3 values");
        check(&|b| b.flows[0].values[0] = Cell::Word("x".into()), "\"dur\" is not a number");
        check(
            &|b| {
                b.features.pop();
                b.schema = exchange::schema_hash(&b.features).expect("known");
            },
            "needs the feature",
        );
        let short = WindowBody {
            at: Seconds(2.0),
            since: Seconds(1.0),
            source_ip: [192, 0, 2, 1].into(),
            windows: vec![vec![Scaled(1.0)]],
            ends: None,
        };
        check(&|b| b.windows = vec![short.clone()], "window 0");
    }

    fn found(found: Found) -> Finding {
        Finding {
            source: Addr::v4([192, 0, 2, 9]),
            found,
            grade: Grade::High,
            at_ns: 1_700_000_002_000_000_000,
            since_ns: 1_700_000_001_000_000_000,
            target: Some(Addr::v4([192, 0, 2, 1])),
            port: None,
            protocol: Some(6),
            community_id: Some(flow::community_id_from(&named().key, named().initiator, 0)),
            evidence: vec![Evidence {
                metric: "window_packets",
                observed: 9.0,
                threshold: 3.0,
                at_least: true,
                contribution: Some(0.5),
            }],
        }
    }

    #[test]
    fn findings_come_over_as_they_were() {
        for what in [
            Found::Flows(Some(Class::PortScan)),
            Found::Flows(None),
            Found::Windows(Reading::HighConfidenceAttack),
        ] {
            let sent = found(what);
            let body = finding_body(&sent.clone().signal()).expect("a learned one");
            let text = serde_json::to_string(&body).expect("JSON");
            let read: FindingBody = serde_json::from_str(&text).expect("a finding");
            assert_eq!(finding(&read), Some(sent));
        }
    }

    #[test]
    fn a_hostile_detector_puts_no_words_into_our_mouth() {
        let good = finding_body(&found(Found::Flows(Some(Class::PortScan))).signal()).expect("a finding");
        let of = |change: &dyn Fn(&mut FindingBody)| {
            let mut body = good.clone();
            change(&mut body);
            finding(&body)
        };
        assert_eq!(of(&|b| b.threat_type = "\u{1b}]0;owned\u{7}".into()), None);
        assert_eq!(of(&|b| b.finder = Finder::Windows), None, "no verdict");
        let odd = of(&|b| {
            b.explanation = "\u{1b}[2J".into();
            b.community_id = Some("1:\u{1b}[31maaaaaaaaaaaaaaaaaaaaaaa".into());
            b.reasons[0].feature = "x\nforged: line".into();
        })
        .expect("the rest is good");
        assert_eq!((odd.community_id.as_deref(), odd.evidence.len()), (None, 0));
        assert!(!odd.signal().explain().contains('\u{1b}'));
        let endless = of(&|b| b.reasons = vec![b.reasons[0].clone(); 10_000]).expect("a finding");
        assert_eq!(endless.evidence.len(), REASONS);
        let turned = of(&|b| (b.since, b.at) = (Seconds(2e9), Seconds(1e9))).expect("a finding");
        assert!(turned.since_ns <= turned.at_ns);
    }
}
