//! What a classifier of captures needs beside itself to judge live: what usual flows look like to it, and somebody who watches
//! windows of sources, which `train` knows nothing of.

use crate::eval::Judged;
use crate::learned;
use crate::tables::Table;
use bundle::{Bundle, Draft, Schema};
use detect::learned::calibrate::{FlowSample, Heard, calibrate};
use detect::learned::flows::FlowModel;
use detect::learned::row::Columns;
use learn::codec::to_bytes;
use learn::hybrid::Hybrid;

/// Fewest normal flows tested with that a classifier is calibrated by.
const LEAST: usize = 100;
/// False alarms of one host a day that are accepted.
const ALARMS_PER_DAY: f64 = 1.0;

/// A classifier that can judge live.
pub struct Live {
    model: FlowModel,
    /// The ensemble of the bundle that comes with the program.
    shipped: Bundle,
}

/// Makes a classifier one that can judge live, by the normal flows that it did not learn from; or says why it cannot.
pub fn live(model: &Hybrid, test: &Table, judged: &Judged<'_>) -> Result<Live, String> {
    Columns::new(model.schema())
        .map_err(|name| format!("it learnt from '{name}', which flows do not have while they run"))?;
    let (mut usual, mut heard) = (Vec::new(), Vec::new());
    for (place, judgement) in judged.judgements.iter().enumerate() {
        if test.classes.get(place) != Some(&judged.normal) {
            continue;
        }
        let of = |values: &[u64]| values.get(place).copied().unwrap_or(0);
        let row = test.matrix.row(place).to_vec();
        usual.push(FlowSample { source: of(&test.sources), group: 0, at_ns: of(&test.times), row });
        heard.push(Heard { score: judgement.score, verdict: judgement.verdict });
    }
    if usual.len() < LEAST {
        return Err(format!(
            "{} normal flows were tested with, and {LEAST} are needed to calibrate; give more captures, or raise --test-share",
            usual.len()
        ));
    }
    let model = calibrate(model.clone(), &usual, &heard, ALARMS_PER_DAY).map_err(|e| e.to_string())?;
    let shipped = learned::shipped().map_err(|e| format!("{e:#}"))?;
    Ok(Live { model, shipped })
}

impl Live {
    /// Adds to a bundle what is to be added; `windows_from` in its figures says whose the ensemble is.
    pub fn add_to(&self, draft: &mut Draft) -> anyhow::Result<()> {
        let manifest = &mut draft.manifest;
        for (name, value) in
            [(learned::ALARMS, self.model.alarms_per_day), (learned::FLOW_SEEN, self.model.seen)]
        {
            manifest.thresholds.insert(name.to_owned(), value);
        }
        manifest.figures["windows_from"] = self.shipped.id().into();
        let windows: Option<&Schema> = self.shipped.manifest().schemas.get(learned::WINDOWS);
        if let Some(schema) = windows {
            manifest.schemas.insert(learned::WINDOWS.to_owned(), schema.clone());
            let ensemble = self.shipped.model(learned::WINDOWS, learned::ENSEMBLE, None)?.to_vec();
            draft.add(learned::WINDOWS, learned::ENSEMBLE, Some(learned::WINDOWS), ensemble);
        }
        draft.add(learned::CALIBRATION, learned::CONFORMAL, None, to_bytes(&self.model.calibration));
        Ok(())
    }
}
