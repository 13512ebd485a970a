//! Workers that read AF_PACKET sockets, each its own of every interface.
//!
//! The kernel puts a frame into the socket of its worker by the addresses of its outermost header. A frame whose flow is
//! another worker's all the same (in a tunnel, or with a header that the kernel did not reach) is copied and handed over,
//! and so is an ICMP error that quotes another worker's flow. What does not fit into a worker's inbox is lost and counted,
//! as is what does not fit into its sockets.
//!
//! Positions are times of the workers' clocks. A worker without traffic says so every [`QUIET`], so that the judge waits no
//! longer for it.

use super::crew::{Told, said};
use super::merge::{Batch, Merge, Next};
use crate::line::{FINISH_PORTION, Judge, Reports, Tap, Worked, Worker};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use flow::TrackerConfig;
use kernel::CaptureError;
use kernel::af_packet::{AfPacket, CapturedFrame, wait};
use kernel::clock::wall_ns;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wire::{LinkType, Steering};

/// Longest silence of a worker.
const QUIET: Duration = Duration::from_millis(20);
/// How often the judge is told the time, ns: ends of blocks and incidents need no more.
const ADVANCE_EVERY_NS: u64 = 10_000_000;
/// Reports after which a batch is sent at once.
const BATCH_REPORTS: usize = 512;
/// Batches that may wait for the judge, for each worker. Beyond, the worker waits, and the kernel drops what no longer fits
/// into its sockets.
const WAITING: usize = 64;
/// Frames that may wait in a worker's inbox: some milliseconds of a busy tunnel, and at most 8 MB with the usual snap length.
const INBOX: usize = 4096;

/// A frame for another worker.
struct Handed {
    at_ns: u64,
    link: LinkType,
    data: Box<[u8]>,
    orig_len: u32,
    /// Only what it quotes is the other worker's.
    quote: bool,
}

/// What one worker's sockets counted, for any thread to see.
#[derive(Default)]
struct Meter {
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

/// What sockets counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCounts {
    /// Frames that came, dropped ones included.
    pub packets: u64,
    /// Bytes on the wire of those that were read.
    pub bytes: u64,
    /// Frames dropped for want of room.
    pub dropped: u64,
}

/// What all workers share, none of it to wait for.
struct Shared {
    stop: AtomicBool,
    /// By worker, then by interface.
    meters: Vec<Vec<Meter>>,
    /// Frames that did not fit into an inbox.
    undelivered: AtomicU64,
}

/// The workers of a running agent.
pub struct Live {
    threads: Vec<Option<JoinHandle<Result<(), CaptureError>>>>,
    heard: Vec<Receiver<Told>>,
    spares: Vec<Sender<Batch<Reports>>>,
    merge: Merge<Reports>,
    worked: Vec<Worked>,
    /// When the judge was last told the time.
    advanced_ns: u64,
    shared: Arc<Shared>,
}

impl Live {
    /// Opens the interfaces and starts the workers.
    ///
    /// # Errors
    /// See [`AfPacket::open_group`].
    pub fn start(
        interfaces: &[String],
        snap: u32,
        steering: Steering,
        tracker: TrackerConfig,
    ) -> Result<Self, CaptureError> {
        let count = steering.workers();
        let mut sockets: Vec<Vec<AfPacket>> = (0..count).map(|_| Vec::new()).collect();
        for name in interfaces {
            for (own, socket) in sockets.iter_mut().zip(AfPacket::open_group(name, snap, &steering)?) {
                own.push(socket);
            }
        }
        let meters = (0..count).map(|_| interfaces.iter().map(|_| Meter::default()).collect());
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            meters: meters.collect(),
            undelivered: AtomicU64::new(0),
        });
        let (inboxes, inbox_ends): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(INBOX)).unzip();
        let tracker = super::share(&tracker, count);
        let (mut threads, mut heard, mut spares) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (sockets, inbox)) in sockets.into_iter().zip(inbox_ends).enumerate() {
            let (told, told_here) = bounded(WAITING);
            let (spare, spare_there) = bounded(WAITING);
            heard.push(told_here);
            spares.push(spare);
            let hand = Hand {
                index,
                steering,
                worker: Worker::new(tracker),
                batch: Batch::default(),
                position: 0,
                inboxes: inboxes.clone(),
                told,
                spare: spare_there,
                shared: Arc::clone(&shared),
            };
            let thread = thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || hand.run(sockets, &inbox))
                .map_err(|source| CaptureError::Io { what: "starting a worker's thread", source })?;
            threads.push(Some(thread));
        }
        let worked = vec![Worked::default(); count];
        Ok(Self { threads, heard, spares, merge: Merge::new(count), worked, advanced_ns: 0, shared })
    }

    /// Judges what the workers tell, until something was judged or for `patience`. `worked` becomes what they counted.
    ///
    /// # Errors
    /// Why a worker ended.
    pub fn feed(
        &mut self,
        patience: Duration,
        judge: &mut Judge,
        worked: &mut Worked,
        tap: &mut impl Tap,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        while !self.judge(judge, tap)
            && let Some(worker) = self.merge.awaited()
        {
            match self.heard[worker].recv_deadline(until) {
                Ok(told) => self.take(worker, told),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(self.failure(worker)),
            }
        }
        // What nobody is behind of has passed.
        let upto = self.merge.upto();
        if upto < u64::MAX && upto.abs_diff(self.advanced_ns) >= ADVANCE_EVERY_NS {
            self.advanced_ns = upto;
            judge.advance(upto, tap);
        }
        *worked = self.worked();
        Ok(())
    }

    /// Ends the workers, judges all that they still tell, and ends everything.
    pub fn finish(&mut self, judge: &mut Judge, worked: &mut Worked, tap: &mut impl Tap) {
        self.shared.stop.store(true, Ordering::Relaxed);
        loop {
            self.judge(judge, tap);
            let Some(worker) = self.merge.awaited() else { break };
            match self.heard[worker].recv() {
                Ok(told) => self.take(worker, told),
                // It has failed before, which was reported: nobody waits for it.
                Err(_) => self.merge.push(worker, Batch::end()),
            }
        }
        *worked = self.worked();
        for thread in self.threads.iter_mut().filter_map(Option::take) {
            // What failed has been reported.
            let _ = thread.join();
        }
    }

    fn take(&mut self, worker: usize, told: Told) {
        self.worked[worker] = told.worked;
        self.merge.push(worker, told.batch);
    }

    /// Judges what can be judged; whether there was anything.
    fn judge(&mut self, judge: &mut Judge, tap: &mut impl Tap) -> bool {
        let mut any = false;
        while let Some(next) = self.merge.next() {
            any = true;
            match next {
                Next::Told(report) => judge.take(report, tap),
                Next::Tick(now_ns) => judge.advance(now_ns, tap),
            }
        }
        for (worker, batch) in self.merge.spent() {
            // A worker that has enough of them, or has ended, needs no more.
            let _ = self.spares[worker].try_send(batch);
        }
        any
    }

    /// Why a worker ended that was not told to.
    fn failure(&mut self, worker: usize) -> anyhow::Error {
        match self.threads[worker].take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error.into(),
            Some(Err(panic)) => anyhow::anyhow!("a worker panicked: {}", said(&*panic)),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a worker ended by itself"),
        }
    }

    fn worked(&self) -> Worked {
        self.worked.iter().fold(Worked::default(), |mut sum, worked| {
            sum += worked;
            sum
        })
    }

    /// What each worker counted.
    pub fn each_worked(&self) -> &[Worked] {
        &self.worked
    }

    /// What the sockets of an interface counted, by its place among the interfaces.
    pub fn interface(&self, place: usize) -> SocketCounts {
        sum(self.shared.meters.iter().filter_map(|own| own.get(place)))
    }

    /// What the sockets of a worker counted.
    pub fn worker(&self, index: usize) -> SocketCounts {
        sum(self.shared.meters.get(index).into_iter().flatten())
    }

    /// Frames that one worker had for another and could not deliver.
    pub fn undelivered(&self) -> u64 {
        self.shared.undelivered.load(Ordering::Relaxed)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Threads end by themselves then, whether or not somebody waits for them.
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn sum<'a>(meters: impl Iterator<Item = &'a Meter>) -> SocketCounts {
    meters.fold(SocketCounts::default(), |mut sum, meter| {
        sum.packets += meter.packets.load(Ordering::Relaxed);
        sum.bytes += meter.bytes.load(Ordering::Relaxed);
        sum.dropped += meter.dropped.load(Ordering::Relaxed);
        sum
    })
}

/// What a worker's thread owns beside its sockets.
struct Hand {
    index: usize,
    steering: Steering,
    worker: Worker,
    batch: Batch<Reports>,
    /// Where the latest reports were marked.
    position: u64,
    inboxes: Vec<Sender<Handed>>,
    told: Sender<Told>,
    spare: Receiver<Batch<Reports>>,
    shared: Arc<Shared>,
}

impl Hand {
    fn run(mut self, mut sockets: Vec<AfPacket>, inbox: &Receiver<Handed>) -> Result<(), CaptureError> {
        let mut sent = Instant::now();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let mut frames = 0;
            let begun_ns = wall_ns();
            for (place, socket) in sockets.iter_mut().enumerate() {
                let link = socket.link_type();
                let mut bytes = 0;
                frames += socket.take(&mut |frame| {
                    bytes += u64::from(frame.orig_len);
                    self.frame(link, &frame);
                })?;
                self.meter(place).bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            for handed in inbox.try_iter().take(INBOX) {
                frames += 1;
                self.handed(&handed);
            }
            if frames == 0 {
                // What came before has been read.
                self.worker.advance(begun_ns, &mut self.batch.told);
                self.mark();
            }
            if self.batch.told.len() >= BATCH_REPORTS || sent.elapsed() >= QUIET {
                sent = Instant::now();
                self.count(&mut sockets);
                let upto = self.position.max(self.worker.tracker().now_ns());
                if !self.tell(upto) {
                    return Ok(());
                }
            }
            if frames == 0 {
                wait(&sockets, QUIET)?;
            }
        }
        self.count(&mut sockets);
        self.finish();
        Ok(())
    }

    fn meter(&self, place: usize) -> &Meter {
        &self.shared.meters[self.index][place]
    }

    /// Takes a frame of an own socket.
    fn frame(&mut self, link: LinkType, frame: &CapturedFrame<'_>) {
        let route = self.steering.route(link, frame.data, frame.orig_len);
        if route.worker == self.index {
            let (at_ns, data) = (frame.ts_ns, frame.data);
            self.worker.frame(at_ns, Some(link), data, frame.orig_len, &mut self.batch.told);
            self.mark();
        } else {
            self.hand_over(route.worker, link, frame, false);
        }
        match route.quoted {
            Some(quoted) if quoted == self.index => {
                self.worker.quote(frame.ts_ns, link, frame.data, frame.orig_len, &mut self.batch.told);
                self.mark();
            }
            Some(quoted) => self.hand_over(quoted, link, frame, true),
            None => {}
        }
    }

    fn hand_over(&self, to: usize, link: LinkType, frame: &CapturedFrame<'_>, quote: bool) {
        let (at_ns, orig_len) = (frame.ts_ns, frame.orig_len);
        let handed = Handed { at_ns, link, data: frame.data.into(), orig_len, quote };
        if self.inboxes[to].try_send(handed).is_err() {
            self.shared.undelivered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a frame that another worker's socket received.
    fn handed(&mut self, handed: &Handed) {
        let Handed { at_ns, link, data, orig_len, quote } = handed;
        if *quote {
            self.worker.quote(*at_ns, *link, data, *orig_len, &mut self.batch.told);
        } else {
            self.worker.frame(*at_ns, Some(*link), data, *orig_len, &mut self.batch.told);
        }
        self.mark();
    }

    fn mark(&mut self) {
        // A clock that is set back must not let what is told now come before what was told.
        self.position = self.position.max(self.worker.tracker().now_ns());
        self.batch.mark(self.position);
    }

    /// Notes what the kernel counted. A socket whose counters cannot be read says so when it is read.
    fn count(&self, sockets: &mut [AfPacket]) {
        for (place, socket) in sockets.iter_mut().enumerate() {
            if let Ok(counts) = socket.counts() {
                self.meter(place).packets.store(counts.packets, Ordering::Relaxed);
                self.meter(place).dropped.store(counts.dropped, Ordering::Relaxed);
            }
        }
    }

    /// Sends the batch; whether the judge still listens.
    fn tell(&mut self, upto: u64) -> bool {
        let empty = self.spare.try_recv().unwrap_or_default();
        let empty = Batch::again(empty, |told| self.worker.clear(told));
        let mut batch = std::mem::replace(&mut self.batch, empty);
        batch.upto = upto;
        self.told.send(Told { batch, worked: self.worker.worked() }).is_ok()
    }

    fn finish(mut self) {
        while self.worker.finish_some(FINISH_PORTION, &mut self.batch.told) {
            self.mark();
            if !self.tell(self.position) {
                return;
            }
        }
        self.mark();
        self.tell(u64::MAX);
    }
}
