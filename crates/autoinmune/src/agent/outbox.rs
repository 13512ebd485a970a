//! What the sensor gathers to have it judged elsewhere: rows of flows, and windows of sources.

use crate::line::Line;
use detect::learned::exchange::{Ended, FlowRow, Rows, WindowRow};
use detect::learned::{JudgedWindow, Models, row};
use flow::{EndReason, FlowRecord, Role};

/// Flows gathered between two looks, a second apart; further ones are dropped and counted.
const FLOWS: usize = 16_384;
/// Windows likewise.
const WINDOWS: usize = 4096;

/// What is gathered, by the agent's thread. Bounded: 20,480 rows of at most 700 bytes.
pub struct Outbox {
    rows: Rows,
    flows: Vec<FlowRow>,
    windows: Vec<JudgedWindow>,
    dropped: u64,
}

/// What was gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Flows that ended or grew.
    pub flows: Vec<FlowRow>,
    /// Windows that are over.
    pub windows: Vec<WindowRow>,
    /// When everything before it was told, ns.
    pub until_ns: u64,
    /// Rows dropped since the start because too many came at once.
    pub dropped: u64,
}

impl Outbox {
    /// Rows of the features that these models judge flows by, or else of the shipped ones.
    ///
    /// # Errors
    /// A feature that flows do not have.
    pub fn new(models: &Models) -> anyhow::Result<Self> {
        let shipped = row::schema();
        let schema = models.flows.as_ref().map_or(&shipped[..], |m| m.hybrid.schema());
        let rows = Rows::new(schema).map_err(|name| anyhow::anyhow!("flows have no feature '{name}'"))?;
        Ok(Self { rows, flows: Vec::new(), windows: Vec::new(), dropped: 0 })
    }

    /// The features of rows.
    pub fn schema(&self) -> &[learn::Feature] {
        self.rows.schema()
    }

    /// A flow left the table.
    pub fn flow(&mut self, at_ns: u64, record: &FlowRecord, reason: EndReason) {
        let ended = if reason == EndReason::Active { Ended::Aged } else { Ended::ForGood };
        self.add(at_ns, record, ended);
    }

    /// A flow has grown.
    pub fn grown(&mut self, at_ns: u64, record: &FlowRecord) {
        self.add(at_ns, record, Ended::Grown);
    }

    fn add(&mut self, at_ns: u64, record: &FlowRecord, ended: Ended) {
        if self.flows.len() >= FLOWS {
            self.dropped += 1;
        } else if let Some(row) = self.rows.row(at_ns, record, ended) {
            self.flows.push(row);
        }
    }

    /// A window is over.
    pub fn window(&mut self, window: &JudgedWindow) {
        if self.windows.len() >= WINDOWS {
            self.dropped += 1;
        } else {
            self.windows.push(window.clone());
        }
    }

    /// Hands over what was gathered, without that of sources on the allowlist: they are judged nowhere.
    pub fn take(&mut self, line: &Line) -> Gathered {
        let mut flows = std::mem::take(&mut self.flows);
        flows.retain(|row| !line.responder().is_allowed(row.flow.key.source(row.flow.initiator).0));
        let prompted = |window: JudgedWindow| {
            let addr = window.observed.addr;
            let prompted_by = line.census().entity_at(addr, Role::Source).and_then(|e| e.prompted_by);
            WindowRow { at_ns: window.at_ns, observed: window.observed, prompted_by }
        };
        let windows = std::mem::take(&mut self.windows);
        let windows = windows
            .into_iter()
            .filter(|w| !line.responder().is_allowed(w.observed.addr))
            .map(prompted)
            .collect();
        Gathered { flows, windows, until_ns: line.now_ns(), dropped: self.dropped }
    }
}
