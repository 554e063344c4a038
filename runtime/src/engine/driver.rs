//! The thread of a pool over a network: hands chunks to peers, takes replies, ends what is to end.
//!
//! Whatever happens to a chunk, its flight is finished once: by a reply, by an ending, or by being lost. Replies to chunks that are not known, or
//! known no more, are thrown away; so a chunk that was run twice counts once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Buffer;
use super::course::{Course, Ending, Flight, Lost, Piece};
use super::hub::{Hub, Order};
use super::received::Received;
use super::transport::{Event, Parcel, PeerId, Transport};
use super::wire::{ChunkHead, ChunkId};
use crate::pool::estimate::CHUNK_NANOS;
use crate::task::TaskError;
use crate::{CancelLevel, CancelToken, ExitStatus};

/// A chunk whose peers are gone is handed out so often.
const MOST_DELIVERIES: u32 = 5;
/// A peer that cannot end its tasks is given this time beyond their limit to say so itself.
const SLACK: Duration = Duration::from_secs(2);
/// Tokens are looked at this often, while a run with one is under way.
const TOKENS_EVERY: Duration = Duration::from_millis(2);

struct Peer {
    workers: usize,
    kills: bool,
    process: u32,
    /// The chunks that it has.
    chunks: BTreeSet<u64>,
}

/// A chunk that a peer has.
struct Way {
    flight: Arc<Flight>,
    parcel: Arc<Parcel>,
    peer: PeerId,
    tries: u32,
    /// When it is given up, although the peer goes on.
    deadline: Option<Instant>,
}

/// A chunk that waits for a peer: by priority, then age.
type Turn = (Reverse<i32>, u64);

/// The state of the thread.
pub(super) struct Driver<T> {
    hub: Arc<Hub>,
    transport: T,
    peers: HashMap<PeerId, Peer>,
    /// By how busy they are: those with room.
    idle: BTreeSet<(usize, PeerId)>,
    waiting: BTreeMap<Turn, (Arc<Flight>, Arc<Parcel>, u32)>,
    under_way: HashMap<u64, Way>,
    /// Courses with tokens, and the level that was told.
    tokens: Vec<(Arc<Course>, CancelToken, Option<CancelLevel>)>,
    closing: bool,
}

impl<T: Transport> Driver<T> {
    pub(super) fn new(hub: Arc<Hub>, transport: T) -> Self {
        Driver {
            hub,
            transport,
            peers: HashMap::new(),
            idle: BTreeSet::new(),
            waiting: BTreeMap::new(),
            under_way: HashMap::new(),
            tokens: Vec::new(),
            closing: false,
        }
    }

    /// Drives until the pool is closed and all is done.
    pub(super) fn run(mut self) {
        let (mut orders, mut events) = (Vec::new(), Vec::new());
        loop {
            self.hub.take_orders(&mut orders);
            orders.drain(..).for_each(|order| self.follow(order));
            self.look_at_tokens();
            self.hand_out();
            let next_deadline = self.look_at_deadlines();
            if self.closing && self.waiting.is_empty() && self.is_settled() {
                break;
            }
            let for_tokens = (!self.tokens.is_empty()).then_some(TOKENS_EVERY);
            let wait =
                next_deadline.map(|at| at.saturating_duration_since(Instant::now())).into_iter().chain(for_tokens);
            self.transport.poll(wait.min(), &mut events);
            events.drain(..).for_each(|event| self.take(event));
        }
        let stuck: Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| !peer.chunks.is_empty()).map(|(id, _)| *id).collect();
        self.transport.close(&stuck);
        // What came too late.
        self.hub.break_down(&"the pool is closed".into());
        self.hub.take_orders(&mut orders);
        for order in orders {
            if let Order::Start(flight, _) = order {
                flight.give_up(Lost::Ended(Ending::Closed));
            }
        }
    }

    /// Is nothing under way that anybody waits for?
    fn is_settled(&self) -> bool {
        self.under_way.values().all(|way| way.flight.is_done())
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Start(flight, parcel) => {
                if let Some(token) = &flight.course.policy.token
                    && !self.tokens.iter().any(|(course, ..)| Arc::ptr_eq(course, &flight.course))
                {
                    self.tokens.push((flight.course.clone(), token.clone(), None));
                }
                self.wait_for_turn(flight, parcel, 0);
            }
            Order::End(course, level) => self.end(&course, level),
            Order::Close => {
                self.closing = true;
                // Handles that nobody holds any more.
                let flights = self.waiting.values().map(|(flight, ..)| flight);
                let flights = flights.chain(self.under_way.values().map(|way| &way.flight));
                let unwanted: Vec<Arc<Course>> = flights
                    .map(|flight| flight.course.clone())
                    .filter(|course| course.unwanted.load(Relaxed))
                    .collect();
                for course in unwanted {
                    course.end(Ending::Closed);
                    self.end(&course, CancelLevel::Hard);
                }
            }
            Order::Terminate => self.give_up_all(&Ending::Closed),
        }
    }

    fn give_up_all(&mut self, ending: &Ending) {
        for (_, (flight, ..)) in std::mem::take(&mut self.waiting) {
            flight.course.end(ending.clone());
            flight.give_up(Lost::Ended(ending.clone()));
        }
        for way in self.under_way.values() {
            way.flight.course.end(ending.clone());
            way.flight.give_up(Lost::Ended(ending.clone()));
            self.transport.cancel(way.peer, &way.parcel, CancelLevel::Hard);
        }
    }

    fn wait_for_turn(&mut self, flight: Arc<Flight>, parcel: Arc<Parcel>, tries: u32) {
        if let Some(ending) = flight.course.ending() {
            return flight.give_up(Lost::Ended(ending));
        }
        self.waiting.insert((Reverse(parcel.priority), parcel.id.chunk), (flight, parcel, tries));
    }

    /// Ends all chunks of a course.
    fn end(&mut self, course: &Arc<Course>, level: CancelLevel) {
        let ending = course.ending().unwrap_or(Ending::Cancelled);
        let is_its = |flight: &Flight| Arc::ptr_eq(&flight.course, course);
        self.waiting.retain(|_, (flight, ..)| {
            let ends = is_its(flight);
            if ends {
                flight.give_up(Lost::Ended(ending.clone()));
            }
            !ends
        });
        for way in self.under_way.values().filter(|way| is_its(&way.flight)) {
            self.transport.cancel(way.peer, &way.parcel, level);
            let kills = self.peers.get(&way.peer).is_some_and(|peer| peer.kills);
            if level == CancelLevel::Hard && !kills {
                way.flight.give_up(Lost::Ended(ending.clone()));
            }
        }
    }

    fn look_at_tokens(&mut self) {
        if self.tokens.is_empty() {
            return;
        }
        let mut tokens = std::mem::take(&mut self.tokens);
        for (course, token, told) in &mut tokens {
            let level = token.level();
            if level > *told
                && let Some(level) = level
            {
                *told = Some(level);
                course.end(Ending::Cancelled);
                self.end(course, level);
            }
        }
        let in_use = |course: &Arc<Course>| {
            let waits = self.waiting.values().any(|(flight, ..)| Arc::ptr_eq(&flight.course, course));
            waits || self.under_way.values().any(|way| Arc::ptr_eq(&way.flight.course, course))
        };
        tokens.retain(|(course, ..)| in_use(course));
        self.tokens = tokens;
    }

    /// Gives up what is overdue; when the next is due.
    fn look_at_deadlines(&mut self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        // Few chunks have one.
        for way in self.under_way.values().filter(|way| way.deadline.is_some() && !way.flight.is_done()) {
            let Some(deadline) = way.deadline else { continue };
            if deadline > Instant::now() {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
                continue;
            }
            let worker = self.peers.get(&way.peer).map_or(0, |peer| peer.process);
            let limit = way.flight.course.policy.timeout.unwrap_or_default();
            let context = way.flight.context(way.flight.range.start);
            way.flight.give_up(Lost::Error(TaskError::TimedOut { context, limit, worker, tries: 1 }));
        }
        next
    }

    /// Gives peers what they have room for.
    fn hand_out(&mut self) {
        while !self.idle.is_empty() {
            let Some((turn, (flight, parcel, tries))) = self.waiting.pop_first() else { return };
            let policy = &flight.course.policy;
            let nanos = self.hub.estimate(flight.course.task).map(|nanos| nanos * parcel.items as f64);
            let is_short = nanos.is_some_and(|nanos| nanos <= CHUNK_NANOS as f64 * 2.0);
            let found = self.idle.iter().find_map(|&(load, id)| {
                let peer = self.peers.get(&id)?;
                let short = is_short && (peer.kills || policy.timeout.is_none());
                (peer.chunks.len() < self.transport.room(peer.workers, short)).then_some((load, id))
            });
            let Some((load, id)) = found else {
                self.waiting.insert(turn, (flight, parcel, tries));
                return;
            };
            let Some(peer) = self.peers.get_mut(&id) else { return };
            let limit = policy.timeout.filter(|_| !peer.kills);
            let deadline = limit.and_then(|limit| {
                let all = limit.saturating_mul(u32::try_from(parcel.items).unwrap_or(u32::MAX));
                Instant::now().checked_add(all.saturating_add(policy.grace.unwrap_or_default()).saturating_add(SLACK))
            });
            if let Err(why) = self.transport.send(id, &parcel) {
                let context = flight.context(flight.range.start);
                let (reason, kind) = (why, crate::ErrorKind::NotSendable);
                flight.give_up(Lost::Error(TaskError::NotSendable { context, reason, kind }));
                continue;
            }
            peer.chunks.insert(parcel.id.chunk);
            self.idle.remove(&(load, id));
            self.note_load(id);
            self.under_way.insert(parcel.id.chunk, Way { flight, parcel, peer: id, tries: tries + 1, deadline });
        }
    }

    /// Puts a peer where it belongs among those with room.
    fn note_load(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        if peer.workers > 0 && peer.chunks.len() < self.transport.room(peer.workers, true) {
            self.idle.insert((load(peer), id));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Peer { peer: id, workers, kills, process } => {
                self.forget_load(id);
                let chunks = self.peers.remove(&id).map(|peer| peer.chunks).unwrap_or_default();
                self.peers.insert(id, Peer { workers, kills, process, chunks });
                self.note_load(id);
                self.tell_workers();
            }
            Event::Left { peer: id, why } => {
                self.forget_load(id);
                let Some(peer) = self.peers.remove(&id) else { return };
                self.tell_workers();
                for chunk in peer.chunks {
                    let Some(Way { flight, parcel, tries, .. }) = self.under_way.remove(&chunk) else { continue };
                    if flight.is_done() {
                        continue;
                    }
                    if tries < MOST_DELIVERIES {
                        flight.course.count(0, 0, 1);
                        self.wait_for_turn(flight, parcel, tries);
                    } else {
                        self.lose(flight, &parcel, tries, &why);
                    }
                }
            }
            Event::Reply { bytes, again } => self.reply(bytes, again),
            Event::Lost { chunk, tries, why } => {
                if let Some(way) = self.drop_way(chunk) {
                    self.lose(way.flight, &way.parcel, tries, &why);
                }
            }
            Event::Closed { why } => {
                let why: Arc<str> = why.into();
                self.hub.break_down(&why);
                self.give_up_all(&Ending::Broken(why));
                self.closing = true;
            }
        }
    }

    fn forget_load(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get(&id) {
            self.idle.remove(&(load(peer), id));
        }
    }

    fn tell_workers(&self) {
        let workers = self.peers.values().map(|peer| peer.workers).sum();
        self.hub.set_workers(workers, self.peers.values().all(|peer| peer.kills));
    }

    /// A chunk is with its peer no more.
    fn drop_way(&mut self, chunk: u64) -> Option<Way> {
        let way = self.under_way.remove(&chunk)?;
        self.forget_load(way.peer);
        if let Some(peer) = self.peers.get_mut(&way.peer) {
            peer.chunks.remove(&chunk);
        }
        self.note_load(way.peer);
        Some(way)
    }

    fn reply(&mut self, bytes: Buffer, again: u32) {
        // Not ours, damaged, or of another build: the chunk's own reply may still come.
        let Ok(head) = Received::head_of(&bytes, self.hub.build) else { return };
        if head.id.pool != self.hub.pool {
            return;
        }
        let Some(way) = self.drop_way(head.id.chunk) else { return };
        let Way { flight, .. } = way;
        flight.course.count(0, 0, again.into());
        match Received::new(bytes, self.hub.build, flight.course.entry, flight.range.clone()) {
            Ok(reply) => {
                self.hub.learn(flight.course.task, reply.head().busy);
                let is_over = flight.course.note_failures(reply.head().failures);
                flight.finish(Piece::Reply(Arc::new(reply)));
                if is_over {
                    self.end(&flight.course.clone(), CancelLevel::Cooperative);
                }
            }
            Err(error) => {
                let context = flight.context(flight.range.start);
                let (reason, kind) = (error.to_string(), error.kind());
                flight.give_up(Lost::Error(TaskError::NotSendable { context, reason, kind }));
            }
        }
    }

    /// A chunk is carried no further: its items are sent one by one, as most of them are not to blame.
    fn lose(&mut self, flight: Arc<Flight>, parcel: &Parcel, tries: u32, why: &str) {
        // A transport may drop what was cancelled before anybody had it.
        if let Some(ending) = flight.course.ending() {
            flight.give_up(Lost::Ended(ending));
            return;
        }
        let give_up = |flight: &Flight, what: &str| {
            let context = flight.context(flight.range.start);
            flight.give_up(Lost::Error(TaskError::WorkerDied {
                context,
                status: ExitStatus::Unknown,
                worker: 0,
                tries,
                note: Some(what.to_owned()),
                oom_killed: None,
                usage: None,
                stderr: None,
            }));
            if flight.course.note_failures(flight.range.len()) { Some(flight.course.clone()) } else { None }
        };
        let mut over = None;
        if flight.range.len() == 1 {
            over = give_up(&flight, why);
        } else {
            let pieces = flight.cut();
            for piece in pieces {
                match self.part_of(parcel, &piece) {
                    Ok(parcel) => self.wait_for_turn(piece, Arc::new(parcel), 0),
                    Err(error) => over = give_up(&piece, &error).or(over),
                }
            }
        }
        if let Some(course) = over {
            self.end(&course, CancelLevel::Cooperative);
        }
    }

    /// The parcel of a part of a chunk.
    fn part_of(&self, parcel: &Parcel, piece: &Flight) -> Result<Parcel, String> {
        let mut head = ChunkHead::read(parcel.bytes(), self.hub.build).map_err(|error| error.to_string())?;
        head.range = piece.range.clone();
        head.id = ChunkId { pool: self.hub.pool, chunk: self.hub.next_chunk() };
        let trailer = head.write(self.hub.build);
        let mut bytes = Buffer::new().map_err(|error| error.to_string())?;
        let room = bytes.room(head.len + trailer.len()).map_err(|error| error.to_string())?;
        room[..head.len].copy_from_slice(&parcel.bytes()[..head.len]);
        room[head.len..].copy_from_slice(&trailer);
        Ok(Parcel {
            id: head.id,
            run: parcel.run,
            items: piece.range.len(),
            priority: parcel.priority,
            is_suspect: true,
            bytes,
        })
    }
}

/// How busy a peer is, for comparison with others.
fn load(peer: &Peer) -> usize {
    (peer.chunks.len() << 10) / peer.workers.max(1)
}
