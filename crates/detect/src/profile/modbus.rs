//! Who commands which controller over Modbus/TCP, and what is usual.

use super::table::Table;
use super::{Fact, Kind, Observation, Profile, Subject, Values};
use crate::metric::Metric;
use rustc_hash::FxHashSet;
use wire::Addr;
use wire::message::modbus::Modbus;
use wire::message::{Message, Side};

/// Clients, pairs of client and server, and servers remembered, each.
const CAPACITY: usize = 4096;
/// What a client did within this time counts together.
const WINDOW_NS: u64 = 60_000_000_000;
/// How long a client of a server, and a server, are remembered.
const HABIT_NS: u64 = 7 * 24 * 3600 * 1_000_000_000;
/// Different addresses, units and functions told apart, each.
const DISTINCT: usize = 256;
/// Exchanges before a client is one that a server knows.
const ACQUAINTED: u32 = 8;
/// Port of Modbus/TCP (IANA).
const MODBUS_PORT: u16 = 502;
/// Functions that change something: single and multiple coils and registers, mask, read/write, file record, and
/// diagnostics, which can restart a device.
const WRITES: [u8; 8] = [5, 6, 8, 15, 16, 21, 22, 23];

/// What one client does to one server in the running window.
#[derive(Debug, Default)]
struct Doing {
    since_ns: u64,
    requests: u32,
    answers: u32,
    exceptions: u32,
    strange_writes: u32,
    units: FxHashSet<u8>,
    functions: FxHashSet<u8>,
    addresses: FxHashSet<(u8, u16)>,
}

/// How a client and a unit of a server stand.
#[derive(Debug, Default)]
struct Habit {
    exchanges: u32,
    /// Functions that change something and were used since the pair is acquainted.
    written: bool,
}

/// Modbus by client and server; see the module.
#[derive(Debug)]
pub(crate) struct ModbusClients {
    doings: Table<(Addr, Addr), Doing>,
    habits: Table<(Addr, Addr, u8), Habit>,
    servers: Table<Addr, u32>,
}

impl Default for ModbusClients {
    fn default() -> Self {
        Self {
            doings: Table::new(CAPACITY, WINDOW_NS),
            habits: Table::new(CAPACITY * 4, HABIT_NS),
            servers: Table::new(CAPACITY, HABIT_NS),
        }
    }
}

fn insert<T: std::hash::Hash + Eq>(set: &mut FxHashSet<T>, item: T) {
    if set.len() < DISTINCT {
        set.insert(item);
    }
}

impl Profile for ModbusClients {
    fn subjects(&self) -> &'static [Subject] {
        &[Subject::ModbusClient, Subject::ControllerCall]
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Message, Kind::Started]
    }

    fn learn(&mut self, now_ns: u64, fact: &Fact<'_>, out: &mut Vec<Observation>) {
        match fact {
            Fact::Message { flow, from, message: Message::Modbus(modbus) } => {
                let pair = (flow.initiator().0, flow.responder().0);
                let since_ns = self.message(now_ns, pair, *from, modbus);
                if let Some(doing) = self.doings.get(&pair, now_ns).filter(|d| d.requests > 0) {
                    let values = Values::default()
                        .with(Metric::ModbusRequests, f64::from(doing.requests))
                        .with(Metric::ModbusExceptions, f64::from(doing.exceptions))
                        .with(
                            Metric::ModbusExceptionShare,
                            f64::from(doing.exceptions) / f64::from(doing.answers.max(1)),
                        )
                        .with(Metric::ModbusUnits, doing.units.len() as f64)
                        .with(Metric::ModbusFunctions, doing.functions.len() as f64)
                        .with(Metric::ModbusAddresses, doing.addresses.len() as f64)
                        .with(Metric::ModbusStrangeWrites, f64::from(doing.strange_writes));
                    let mut o = Observation::of_flow(Subject::ModbusClient, flow, since_ns, values);
                    o.detail = Some(format!("unit {}, function {}", modbus.unit, modbus.function).into());
                    out.push(o);
                }
            }
            Fact::Started(flow) => {
                let ((client, _), (server, port)) = (flow.initiator(), flow.responder());
                let known = |addr: &Addr| self.servers.get(addr, now_ns).is_some_and(|n| *n >= ACQUAINTED);
                if port != 0 && known(&client) && known(&server) {
                    let values = Values::default()
                        .with(Metric::ControllerCalls, 1.0)
                        .with(Metric::ControllerOtherPort, f64::from(u8::from(port != MODBUS_PORT)));
                    out.push(Observation::of_flow(Subject::ControllerCall, flow, now_ns, values));
                }
            }
            _ => {}
        }
    }

    fn evicted(&self) -> u64 {
        self.doings.evicted() + self.habits.evicted() + self.servers.evicted()
    }
}

impl ModbusClients {
    /// Counts a message; since when its pair's window runs.
    fn message(&mut self, now_ns: u64, pair: (Addr, Addr), from: Side, modbus: &Modbus) -> u64 {
        let (client, server) = pair;
        let doing = self.doings.touch(pair, now_ns);
        if now_ns.saturating_sub(doing.since_ns) > WINDOW_NS {
            *doing = Doing { since_ns: now_ns, ..Doing::default() };
        }
        let habit = self.habits.touch((client, server, modbus.unit), now_ns);
        if from == Side::Server {
            doing.answers = doing.answers.saturating_add(1);
            doing.exceptions = doing.exceptions.saturating_add(u32::from(modbus.exception.is_some()));
            if modbus.exception.is_none() {
                habit.exchanges = habit.exchanges.saturating_add(1);
                let answered = self.servers.touch(server, now_ns);
                *answered = answered.saturating_add(1);
            }
            return doing.since_ns;
        }
        doing.requests = doing.requests.saturating_add(1);
        insert(&mut doing.units, modbus.unit);
        insert(&mut doing.functions, modbus.function);
        if let Some(address) = modbus.address {
            insert(&mut doing.addresses, (modbus.function, address));
        }
        if WRITES.contains(&modbus.function) {
            if habit.exchanges < ACQUAINTED && !habit.written {
                doing.strange_writes = doing.strange_writes.saturating_add(1);
            } else {
                habit.written = true;
            }
        }
        doing.since_ns
    }
}
