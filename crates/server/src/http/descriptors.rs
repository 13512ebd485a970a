//! File descriptors for as many connections as are promised.
//!
//! Where a process may have 1,024 of them, as service managers and shells have it by default, as many connections would leave
//! none for anything else: `accept` fails, and who is idle holds the place of who is not. So the soft limit is raised as far
//! as needed and allowed, and where that is not enough fewer connections are promised.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the rest of the program may need at the same time: files, maps, logs, pipes.
const RESERVED: u64 = 256;

/// Makes room for `connections` more descriptors beside [`RESERVED`]; how many connections there may be.
pub(super) fn make_room(connections: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let Some(raised) = raised(limit, connections as u64) else {
        return fitting(limit.current, connections);
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => fitting(raised.current, connections),
        Err(_) => fitting(limit.current, connections),
    }
}

/// The limits to ask for; `None` where what there is suffices.
fn raised(limit: Rlimit, connections: u64) -> Option<Rlimit> {
    let needed = connections.saturating_add(RESERVED);
    let current = limit.current.filter(|current| *current < needed)?;
    let allowed = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    (allowed > current).then_some(Rlimit { current: Some(allowed), maximum: limit.maximum })
}

/// How many connections a soft limit has room for, at least one: half of it where [`RESERVED`] would take more.
fn fitting(current: Option<u64>, connections: usize) -> usize {
    let Some(current) = current else { return connections };
    let room = current.saturating_sub(RESERVED).max(current / 2).max(1);
    usize::try_from(room).map_or(connections, |room| room.min(connections))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_raised_as_far_as_needed_and_allowed() {
        let check = |current: Option<u64>, maximum: Option<u64>, expected: Option<u64>| {
            let raised = raised(Rlimit { current, maximum }, 1024);
            assert_eq!(raised.as_ref().and_then(|l| l.current), expected, "{current:?} {maximum:?}");
            assert!(raised.is_none_or(|l| l.maximum == maximum), "the hard limit stays");
        };
        check(Some(1024), Some(524_288), Some(1280));
        check(Some(1024), None, Some(1280));
        check(Some(1024), Some(1100), Some(1100));
        check(Some(1024), Some(1024), None);
        check(Some(4096), Some(4096), None);
        check(None, None, None);
    }

    #[test]
    fn fewer_connections_are_promised_where_descriptors_are_few() {
        for (current, expected) in [
            (None, 1024),
            (Some(1280), 1024),
            (Some(1024), 768),
            (Some(300), 150),
            (Some(2), 1),
            (Some(0), 1),
        ] {
            assert_eq!(fitting(current, 1024), expected, "{current:?}");
        }
    }
}
