//! Several sockets on one interface, of which each sees the frames of its own flows (packet(7), `PACKET_FANOUT`).
//!
//! The kernel asks a classic BPF program of ours for the socket, not its own flow hash: that hash leaves out the ports of
//! fragments only, so that fragments and the rest of their flow part, and its alternative, putting fragments together
//! first, would hide from the sensor what was odd about them. The program computes what [`wire::steer`] does for the
//! outermost IP header. What lies in a tunnel, and what the program cannot reach, comes to a socket that may be another
//! one's; workers ask [`wire::Steering::route`] and pass such frames on.

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use wire::Steering;
use wire::steer::{FOLD, MIX, REMIX, V4};

type Step = libc::sock_filter;

const fn step(code: u32, k: u32) -> Step {
    Step { code: code as u16, jt: 0, jf: 0, k }
}

/// A word of the network header at `at`, wherever that header begins: frames sent have their link header before it, frames
/// received have not.
const fn network_word(at: u32) -> Step {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (libc::SKF_NET_OFF as u32).wrapping_add(at))
}

const fn compute(operation: u32, k: u32) -> Step {
    step(libc::BPF_ALU | operation | libc::BPF_K, k)
}

const TO_X: Step = step(libc::BPF_MISC | libc::BPF_TAX, 0);
const ADD_X: Step = step(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 0);
const XOR_X: Step = step(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X, 0);
const KEEP: Step = step(libc::BPF_ST, 0);
const KEPT_TO_X: Step = step(libc::BPF_LDX | libc::BPF_MEM, 0);
const RETURN: Step = step(libc::BPF_RET | libc::BPF_A, 0);

/// Mixes the folded address in the accumulator.
const fn mixed(seed: u32) -> [Step; 6] {
    [
        compute(libc::BPF_ADD, seed),
        compute(libc::BPF_MUL, MIX),
        TO_X,
        compute(libc::BPF_RSH, 15),
        XOR_X,
        compute(libc::BPF_MUL, REMIX),
    ]
}

/// From the second mixed address in the accumulator and the first one kept to the number of the socket.
fn chosen(steering: &Steering) -> [Step; 10] {
    [
        KEPT_TO_X,
        ADD_X,
        TO_X,
        compute(libc::BPF_RSH, 16),
        XOR_X,
        compute(libc::BPF_MUL, MIX),
        compute(libc::BPF_RSH, 16),
        compute(libc::BPF_MUL, steering.workers() as u32),
        compute(libc::BPF_RSH, 16),
        RETURN,
    ]
}

fn version_4(steering: &Steering) -> Vec<Step> {
    let address = |at| {
        let folded = [network_word(at), compute(libc::BPF_ADD, V4)];
        folded.into_iter().chain(mixed(steering.seed()))
    };
    address(12).chain([KEEP]).chain(address(16)).chain(chosen(steering)).collect()
}

fn version_6(steering: &Steering) -> Vec<Step> {
    let address = |at| {
        let more = [4, 8, 12]
            .into_iter()
            .flat_map(move |i| [compute(libc::BPF_MUL, FOLD), TO_X, network_word(at + i), ADD_X]);
        [network_word(at)].into_iter().chain(more).chain(mixed(steering.seed()))
    };
    address(8).chain([KEEP]).chain(address(24)).chain(chosen(steering)).collect()
}

/// The program; frames that are not IP go to the first socket.
fn program(steering: &Steering) -> Vec<Step> {
    let (v4, v6) = (version_4(steering), version_6(steering));
    let jump = |ethertype: i32, past: usize| Step {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: past as u8,
        k: ethertype as u32,
    };
    let protocol = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL) as u32;
    let mut steps = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, protocol)];
    steps.push(jump(libc::ETH_P_IP, v4.len()));
    steps.extend(v4);
    steps.push(jump(libc::ETH_P_IPV6, v6.len()));
    steps.extend(v6);
    steps.push(step(libc::BPF_RET | libc::BPF_K, 0));
    steps
}

fn set_program(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    steps: &mut [Step],
) -> io::Result<()> {
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    crate::af_packet::set_option(fd, level, name, program)
}

/// Sockets that have yet to be bound, none of which receives anything.
pub(crate) fn sockets(count: usize) -> io::Result<Vec<OwnedFd>> {
    // Protocol 0: nothing is received before the socket is bound to its interface.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    (0..count)
        .map(|_| socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None).map_err(io::Error::from))
        .collect()
}

/// Keeps every frame from a socket, until [`join`] lets them come: alone, each one would receive all of them.
pub(crate) fn deafen(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_program(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &mut [step(libc::BPF_RET | libc::BPF_K, 0)])
}

/// Makes bound sockets share their interface's frames, each getting those that are steered to its index.
pub(crate) fn join(sockets: &[impl AsFd], steering: &Steering) -> io::Result<()> {
    use crate::af_packet::{get_option, set_option};
    let [first, rest @ ..] = sockets else { return Ok(()) };
    let first = first.as_fd();
    let kind = |id: u32, flags: u32| (id | (libc::PACKET_FANOUT_CBPF | flags) << 16).cast_signed();
    set_option(first, libc::SOL_PACKET, libc::PACKET_FANOUT, kind(0, libc::PACKET_FANOUT_FLAG_UNIQUEID))?;
    let [group] = get_option(first, libc::SOL_PACKET, libc::PACKET_FANOUT)?;
    for socket in rest {
        let id = group & 0xffff;
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT, kind(id, 0))?;
    }
    set_program(first, libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, &mut program(steering))?;
    for socket in sockets {
        set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Addr;

    /// Runs the program on an IP packet, as far as it uses the machine.
    fn run(steps: &[Step], ethertype: i32, packet: &[u8]) -> u32 {
        let (mut a, mut x, mut kept, mut at) = (0_u32, 0_u32, 0_u32, 0);
        loop {
            let s = steps[at];
            at += 1;
            let operand = if u32::from(s.code) & libc::BPF_X == 0 { s.k } else { x };
            match u32::from(s.code) & 0x07 {
                libc::BPF_LD if s.k == (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL) as u32 => {
                    a = ethertype as u32;
                }
                libc::BPF_LD => {
                    let from = s.k.wrapping_sub(libc::SKF_NET_OFF as u32) as usize;
                    a = u32::from_be_bytes(packet[from..from + 4].try_into().expect("four bytes"));
                }
                libc::BPF_ALU => match u32::from(s.code) & 0xf0 {
                    libc::BPF_ADD => a = a.wrapping_add(operand),
                    libc::BPF_MUL => a = a.wrapping_mul(operand),
                    libc::BPF_RSH => a >>= operand,
                    libc::BPF_XOR => a ^= operand,
                    other => panic!("operation {other:x}"),
                },
                libc::BPF_MISC => x = a,
                libc::BPF_ST => kept = a,
                libc::BPF_LDX => x = kept,
                libc::BPF_JMP => at += usize::from(if a == s.k { s.jt } else { s.jf }),
                libc::BPF_RET => return if u32::from(s.code) & libc::BPF_A == 0 { s.k } else { a },
                other => panic!("class {other}"),
            }
        }
    }

    #[test]
    fn the_program_chooses_as_steering_does() {
        for workers in [1, 2, 3, 16] {
            let steering = Steering::new(0x1234_5678_9abc, workers);
            let steps = program(&steering);
            let mut seen = vec![false; workers];
            for n in 0..=255_u8 {
                let (a, b) = (Addr::v4([10, n, 7, n ^ 0x55]), Addr::v4([198, 18, n / 3, 9]));
                let packet = wire::craft::udp((a, 1), (b, 2), &[]);
                let chosen = run(&steps, libc::ETH_P_IP, &packet[14..]);
                assert_eq!(chosen as usize, steering.pair(&a, &b));
                seen[chosen as usize] = true;
                let mut v6 = [0x20; 16];
                (v6[3], v6[9], v6[15]) = (n, !n, n ^ 0x0f);
                let (a, b) = (Addr(v6), Addr([0xfe; 16]));
                let packet = wire::craft::udp((a, 1), (b, 2), &[]);
                assert_eq!(run(&steps, libc::ETH_P_IPV6, &packet[14..]) as usize, steering.pair(&a, &b));
            }
            assert!(seen.iter().all(|&s| s), "{seen:?}");
            assert_eq!(run(&steps, libc::ETH_P_ARP, &[]), 0);
        }
    }
}
