//! The threads: the workers, one of whom at a time reads, and the judge on the thread of the caller.

use super::captures::Captures;
use super::deal::{Deal, Dealer, Item, STEPS, Spent};
use super::merge::{Batch, Log, Merge, Next, Order};
use crate::line::{Cursor, FINISH_PORTION, Judge, Report, Reports, Tap, Worked, Worker};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use wire::{LinkType, Steering};

/// Blocks that may wait for a worker, and batches for the judge: enough that nobody waits for a thread to be woken, few
/// enough that what waits is still in the processor's cache.
const WAITING: usize = 4;

/// How long a worker that has nothing to do leaves the reading to others.
const IDLE: Duration = Duration::from_micros(200);

/// Frames whose headers are fetched at once, before they are looked at: they lie in the reader's cache, each in another
/// place, and waiting for them one by one costs several times what parsing does.
const FETCHED: usize = 16;

/// What a worker's thread does with what it is dealt; methods as those of [`Worker`].
pub trait Work: Send {
    /// Takes a frame.
    fn frame(&mut self, at_ns: u64, link: Option<LinkType>, data: &[u8], len: u32, out: &mut Reports);
    /// Takes a frame of another worker's that quotes a flow of this one's.
    fn quote(&mut self, at_ns: u64, link: LinkType, data: &[u8], len: u32, out: &mut Reports);
    /// Lets time pass.
    fn advance(&mut self, now_ns: u64, out: &mut Reports);
    /// Ends at most `flows` flows; whether some are left.
    fn finish_some(&mut self, flows: usize, out: &mut Reports) -> bool;
    /// Empties what was told.
    fn clear(&mut self, told: &mut Reports);
    /// What was counted so far.
    fn worked(&self) -> Worked;
}

impl Work for Worker {
    fn frame(&mut self, at_ns: u64, link: Option<LinkType>, data: &[u8], len: u32, out: &mut Reports) {
        Self::frame(self, at_ns, link, data, len, out);
    }

    fn quote(&mut self, at_ns: u64, link: LinkType, data: &[u8], len: u32, out: &mut Reports) {
        Self::quote(self, at_ns, link, data, len, out);
    }

    fn advance(&mut self, now_ns: u64, out: &mut Reports) {
        Self::advance(self, now_ns, out);
    }

    fn finish_some(&mut self, flows: usize, out: &mut Reports) -> bool {
        Self::finish_some(self, flows, out)
    }

    fn clear(&mut self, told: &mut Reports) {
        Self::clear(self, told);
    }

    fn worked(&self) -> Worked {
        Self::worked(self)
    }
}

impl Log for Reports {
    type Item<'a> = Report<'a>;
    type Cursor = Cursor;

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn read<'a>(&'a self, at: &mut Cursor) -> Option<Report<'a>> {
        Self::read(self, at)
    }
}

impl Order for Report<'_> {
    fn order(&self) -> Option<(u8, u64)> {
        match self {
            Self::Flow(event) => event.order(),
            Self::Arp { .. } | Self::Anomaly { .. } => None,
        }
    }
}

/// A batch, and what its worker has counted when it was told.
pub(super) struct Told {
    pub(super) batch: Batch<Reports>,
    pub(super) worked: Worked,
}

/// A worker's ends of its channels, and where frames come from.
struct Desk<'d, 'a, 'c> {
    dealer: &'d Mutex<Dealer<'a, 'c>>,
    deals: Receiver<Deal>,
    told: Sender<Told>,
    spare: Receiver<Batch<Reports>>,
    spent: Sender<Spent>,
}

/// Runs what comes next of `captures` through `workers` and `judge`, up to the end or to frames of an earlier time, and ends
/// all flows and incidents. Returns what the workers counted.
///
/// # Errors
/// If a thread panicked: its message.
pub fn run<W: Work>(
    captures: &mut Captures<'_>,
    steering: &Steering,
    workers: Vec<W>,
    judge: &mut Judge,
    tap: &mut impl Tap,
) -> anyhow::Result<Worked> {
    let (spent, spent_here) = bounded(workers.len() * 2 * WAITING);
    let (mut dealt, mut deals): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for _ in &workers {
        // As many as wait, one that is being dealt out meanwhile, and the end.
        let (deal, deals_there) = bounded(WAITING + 2);
        dealt.push(deal);
        deals.push(deals_there);
    }
    let dealer = Mutex::new(Dealer::new(captures, *steering, dealt, spent_here));
    thread::scope(|scope| {
        let (mut heard, mut spares, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (worker, deals)) in workers.into_iter().zip(deals).enumerate() {
            let (told, told_here) = bounded(WAITING);
            let (spare, spare_there) = bounded(2 * WAITING);
            heard.push(told_here);
            spares.push(spare);
            let desk = Desk { dealer: &dealer, deals, told, spare: spare_there, spent: spent.clone() };
            let builder = thread::Builder::new().name(format!("worker-{index}"));
            threads.push(builder.spawn_scoped(scope, move || work(index, worker, &desk))?);
        }
        let worked = listen(&heard, &spares, judge, tap);
        // Whoever waits for this thread or for frames must not wait any longer.
        drop((heard, spares));
        dealer.lock().unwrap_or_else(PoisonError::into_inner).end();
        // All of them before any is reported: a panic nobody asked for goes on in this thread.
        let ended: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        if let Some(panic) = ended.into_iter().find_map(Result::err) {
            anyhow::bail!("a thread of the engine panicked: {}", said(&*panic));
        }
        worked.ok_or_else(|| anyhow::anyhow!("a worker ended before its input"))
    })
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Judges what all workers tell. `None` if one of them ended before it had told everything.
fn listen(
    heard: &[Receiver<Told>],
    spares: &[Sender<Batch<Reports>>],
    judge: &mut Judge,
    tap: &mut impl Tap,
) -> Option<Worked> {
    let mut merge = Merge::new(heard.len());
    let mut worked = vec![Worked::default(); heard.len()];
    loop {
        while let Some(next) = merge.next() {
            match next {
                Next::Told(report) => judge.take(report, tap),
                Next::Tick(now_ns) => judge.advance(now_ns, tap),
            }
        }
        for (worker, batch) in merge.spent() {
            // A worker that has enough of them, or has ended, needs no more.
            let _ = spares[worker].try_send(batch);
        }
        let Some(worker) = merge.awaited() else { break };
        let told = heard[worker].recv().ok()?;
        worked[worker] = told.worked;
        merge.push(worker, told.batch);
    }
    judge.finish(tap);
    Some(worked.iter().fold(Worked::default(), |mut sum, worked| {
        sum += worked;
        sum
    }))
}

/// A worker's thread.
fn work(index: usize, mut worker: impl Work, desk: &Desk<'_, '_, '_>) {
    while let Some(deal) = desk.deal() {
        let mut batch = desk.empty(&mut worker);
        for (at_item, item) in deal.items.iter().enumerate() {
            if at_item % FETCHED == 0 {
                fetch(&deal, at_item + FETCHED);
            }
            let frame = |at: u32| (deal.position + STEPS * u64::from(at), deal.block.frame(at as usize));
            match *item {
                Item::Clock { at_ns, before, tick } => {
                    let (position, _) = frame(before);
                    worker.advance(at_ns, &mut batch.told);
                    batch.mark(position);
                    if tick && index == 0 {
                        batch.tick(position + 1, at_ns);
                    }
                }
                Item::Frame(at) => {
                    let (position, Some(f)) = frame(at) else { continue };
                    worker.frame(f.ts_ns, f.link, f.data, f.orig_len, &mut batch.told);
                    batch.mark(position + 2);
                }
                Item::Quote(at) => {
                    let (position, Some(f)) = frame(at) else { continue };
                    if let Some(link) = f.link {
                        worker.quote(f.ts_ns, link, f.data, f.orig_len, &mut batch.told);
                        batch.mark(position + 3);
                    }
                }
            }
        }
        let position = deal.upto();
        batch.upto = position;
        let Deal { block, mut items, end_ns, .. } = deal;
        items.clear();
        // Nobody may be left to take it back.
        let _ = desk.spent.try_send(Spent { block: Arc::into_inner(block), items });
        if let Some(end_ns) = end_ns {
            finish(index, worker, batch, (position, end_ns), desk);
            return;
        }
        if !desk.tell(batch, &worker) {
            return;
        }
    }
}

/// Brings headers of frames from the item at `from` on into the cache.
#[inline]
fn fetch(deal: &Deal, from: usize) {
    for item in deal.items.iter().skip(from).take(FETCHED) {
        if let Item::Frame(at) = *item
            && let Some(frame) = deal.block.frame(at as usize)
        {
            // Both ends of what headers mostly take up, as they begin anywhere within a line of the cache.
            std::hint::black_box((frame.data.first().copied(), frame.data.get(63).copied()));
        }
    }
}

/// Ends all flows: first those that wait for an answer, of all workers, then the rest.
fn finish(
    index: usize,
    mut worker: impl Work,
    mut batch: Batch<Reports>,
    (position, end_ns): (u64, u64),
    desk: &Desk<'_, '_, '_>,
) {
    worker.advance(end_ns, &mut batch.told);
    batch.mark(position);
    if index == 0 {
        batch.tick(position + 1, end_ns);
    }
    let mut more = worker.finish_some(0, &mut batch.told);
    batch.mark(position + 2);
    while more {
        batch.upto = position + 3;
        if !desk.tell(batch, &worker) {
            return;
        }
        batch = desk.empty(&mut worker);
        more = worker.finish_some(FINISH_PORTION, &mut batch.told);
        batch.mark(position + 3);
    }
    batch.upto = u64::MAX;
    desk.tell(batch, &worker);
}

impl Desk<'_, '_, '_> {
    /// What is to be done next; `None` if nothing is any more.
    fn deal(&self) -> Option<Deal> {
        loop {
            if self.deals.is_empty()
                // Who fails to get it need not wait for it: whoever has it deals to everyone.
                && let Ok(mut dealer) = self.dealer.try_lock()
            {
                dealer.deal(WAITING);
            }
            match self.deals.recv_timeout(IDLE) {
                Ok(deal) => return Some(deal),
                Err(RecvTimeoutError::Disconnected) => return None,
                // Another worker had enough to do, and may have less by now.
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// An empty batch, from used ones if there are any: here and not by the judge, as memory is cheapest to free for the
    /// thread that took it.
    fn empty(&self, worker: &mut impl Work) -> Batch<Reports> {
        Batch::again(self.spare.try_recv().unwrap_or_default(), |told| worker.clear(told))
    }

    /// Sends a batch; whether the judge still listens.
    fn tell(&self, batch: Batch<Reports>, worker: &impl Work) -> bool {
        self.told.send(Told { batch, worked: worker.worked() }).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::eve::Context;
    use crate::replay::line_config;
    use crate::summary::Collector;
    use flow::TrackerConfig;
    use std::path::PathBuf;

    /// A worker that gives up at the frame of some number.
    struct Weak {
        worker: Worker,
        frames_left: usize,
    }

    impl Work for Weak {
        fn frame(&mut self, at_ns: u64, link: Option<LinkType>, data: &[u8], len: u32, out: &mut Reports) {
            assert!(self.frames_left > 0, "out of breath");
            self.frames_left -= 1;
            self.worker.frame(at_ns, link, data, len, out);
        }

        fn quote(&mut self, at_ns: u64, link: LinkType, data: &[u8], len: u32, out: &mut Reports) {
            self.worker.quote(at_ns, link, data, len, out);
        }

        fn advance(&mut self, now_ns: u64, out: &mut Reports) {
            self.worker.advance(now_ns, out);
        }

        fn finish_some(&mut self, flows: usize, out: &mut Reports) -> bool {
            self.worker.finish_some(flows, out)
        }

        fn clear(&mut self, told: &mut Reports) {
            self.worker.clear(told);
        }

        fn worked(&self) -> Worked {
            self.worker.worked()
        }
    }

    /// Runs our story many times over with workers that take so many frames.
    fn story(frames: [usize; 3]) -> anyhow::Result<Worked> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/story.pcap");
        let paths = [PathBuf::from(file)];
        let config = config::resolve(None)?;
        let mut judge = Judge::new(line_config(&config, config.policy.clone()).judge);
        let weak = |frames_left| Weak { worker: Worker::new(TrackerConfig::default()), frames_left };
        let steering = Steering::new(0, frames.len());
        let mut tap = Collector::new(None, Context::default());
        run(&mut Captures::new(&paths, 4096), &steering, frames.map(weak).into(), &mut judge, &mut tap)
    }

    #[test]
    fn a_worker_that_panics_ends_the_run_with_its_words() {
        let all = story([usize::MAX; 3]).expect("nobody panics");
        assert!(all.intake.packets > 1000, "{all:?}");
        for weak in 0..3 {
            for frames_left in [0, 50] {
                let mut frames = [usize::MAX; 3];
                frames[weak] = frames_left;
                let error = story(frames).expect_err("one panics").to_string();
                assert_eq!(error, "a thread of the engine panicked: out of breath", "{weak} {frames_left}");
            }
        }
    }
}
