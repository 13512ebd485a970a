//! Names that were asked for in captures, and what became of the questions.

use anyhow::Context as _;
use detect::domains::label;
use flow::{Tracker, TrackerConfig, What};
use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::Path;
use wire::capture::Reader;
use wire::message::Message;

/// Response code of a name that does not exist, RFC 1035 §4.1.1.
const NO_SUCH_NAME: u8 = 3;

/// The labels asked for in a capture, each once.
#[derive(Default)]
pub(super) struct Labels {
    /// With an answer.
    pub(super) existing: BTreeSet<String>,
    /// Of names that do not exist.
    pub(super) missing: BTreeSet<String>,
}

/// Adds the labels of a capture.
pub(super) fn read(path: &Path, labels: &mut Labels) -> anyhow::Result<()> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = Reader::new(BufReader::new(file)).with_context(|| path.display().to_string())?;
    let mut tracker = Tracker::new(TrackerConfig::default());
    let (mut events, mut now) = (Vec::new(), 0);
    // Some captures end in the middle of a frame.
    while let Ok(Some(frame)) = reader.next() {
        let Some(link) = frame.link else { continue };
        let Ok(packet) = wire::parse(link, frame.data, frame.orig_len) else { continue };
        now = now.max(frame.ts_ns);
        tracker.observe(now, &packet, &mut events);
        for event in events.drain(..) {
            let What::Message(_, message) = event.what else { continue };
            let Message::Dns(dns) = *message else { continue };
            let Some(label) = label(&dns.name).filter(|_| dns.response) else { continue };
            match dns.rcode {
                0 if dns.answers > 0 => labels.existing.insert(label.to_owned()),
                NO_SUCH_NAME => labels.missing.insert(label.to_owned()),
                _ => continue,
            };
        }
    }
    Ok(())
}
