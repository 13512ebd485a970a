//! Blocks outlive the agent as far as they should, and no further.

use crate::support::{Host, PATIENCE, until};
use lab::address::{ATTACKERS, ATTACKERS6};

const CONFIG: &str = "[http]\naddress = 'off'\n";

#[test]
fn a_clean_end_leaves_nothing() {
    let Some(host) = Host::new("a_clean_end_leaves_nothing", &[]) else { return };
    let agent = host.agent(CONFIG, &["--enforce"]);
    assert!(!host.leftovers().is_empty(), "while it runs, it is attached");
    agent.json(&["ban", &ATTACKERS[0].to_string()]);
    assert!(!host.answers(ATTACKERS[0]));
    agent.stop();
    assert_eq!(host.leftovers(), Vec::<String>::new());
    assert!(host.answers(ATTACKERS[0]), "its blocks end with it");
    let agent = host.agent(CONFIG, &["--enforce"]);
    assert_eq!(agent.json(&["bans"]), serde_json::json!([]), "and do not come back");
    agent.stop();
}

#[test]
fn kept_blocks_stay_in_force_end_by_themselves_and_are_taken_over() {
    let Some(host) = Host::new("kept_blocks_stay_in_force_end_by_themselves_and_are_taken_over", &[]) else {
        return;
    };
    let agent = host.agent(CONFIG, &["--enforce", "--keep-blocks"]);
    agent.json(&["ban", &ATTACKERS[0].to_string(), "--for", "12s"]);
    agent.json(&["ban", &ATTACKERS[1].to_string(), "--for", "10m", "--why", "kept"]);
    agent.json(&["ban", &ATTACKERS6[0].to_string(), "--for", "10m"]);
    let before = agent.block(ATTACKERS[1]).expect("listed");
    agent.stop();
    // Nobody runs now; the kernel holds the line.
    assert!(!host.answers(ATTACKERS[1]) && !host.answers(ATTACKERS6[0]));
    assert!(host.answers(ATTACKERS[2]));
    host.wait_for_answer(ATTACKERS[0], true, "the end of a block without an agent");
    assert!(!host.answers(ATTACKERS[1]));
    let agent = host.agent(CONFIG, &["--enforce"]);
    let after = agent.block(ATTACKERS[1]).expect("the block is taken over");
    for field in ["owner", "reason", "since_ns", "offence"] {
        assert_eq!(after[field], before[field], "{field}: {before} {after}");
    }
    let moved = after["until_ns"].as_u64().expect("ns").abs_diff(before["until_ns"].as_u64().expect("ns"));
    assert!(moved < 1_000_000_000, "{before} {after}");
    assert!(agent.block(ATTACKERS[0]).is_none());
    assert!(!host.answers(ATTACKERS[1]) && !host.answers(ATTACKERS6[0]));
    agent.json(&["unban", &ATTACKERS[1].to_string()]);
    assert!(host.answers(ATTACKERS[1]));
    agent.stop();
    assert!(host.answers(ATTACKERS6[0]));
    assert_eq!(host.leftovers(), Vec::<String>::new());
}

#[test]
fn blocks_survive_kill_9_until_their_end() {
    let Some(host) = Host::new("blocks_survive_kill_9_until_their_end", &[]) else { return };
    let agent = host.agent(CONFIG, &["--enforce"]);
    agent.json(&["ban", &ATTACKERS[0].to_string(), "--for", "12s"]);
    agent.json(&["ban", &ATTACKERS[1].to_string(), "--for", "10m", "--why", "before the crash"]);
    // Reasons and owners are written within a second or so; the kernel alone knows address and end.
    let kept = host.path("state/blocks.json");
    until("the blocks on disk", PATIENCE, || {
        std::fs::read_to_string(&kept).ok().filter(|t| t.contains("before the crash"))
    });
    agent.kill();
    assert!(!host.answers(ATTACKERS[1]), "the block outlives the agent");
    host.wait_for_answer(ATTACKERS[0], true, "the end of a block without an agent");
    let agent = host.agent(CONFIG, &["--enforce"]);
    let block = agent.block(ATTACKERS[1]).expect("the next start takes it over");
    assert_eq!(block["reason"], "before the crash", "{block}");
    assert!(block["remaining_seconds"].as_f64().expect("a number") < 600.0);
    assert!(!host.answers(ATTACKERS[1]));
    agent.kill();
    // In shadow mode the next start lifts it: nothing may be blocked then.
    let agent = host.agent(CONFIG, &[]);
    host.wait_for_answer(ATTACKERS[1], true, "shadow mode to lift what an enforcing run left");
    agent.stop();
    assert_eq!(host.leftovers(), Vec::<String>::new());
}
