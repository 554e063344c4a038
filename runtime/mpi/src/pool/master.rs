//! Rank 0's side: chunks to the other ranks, replies back.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use offspring::CancelLevel;
use offspring::engine::{Event, Parcel, PeerId, Transport, build_id};

use super::channel::{Arrived, Channel, Held, Kind};
use super::greeting::{Greeting, RankInfo};
use crate::sys::{self, RawComm};
use crate::{MpiError, Result};

/// Looks without a pause, then pauses between them: a rank that waits must not take a core from one that works.
pub(super) const LOOKS: u32 = 200;
pub(super) const PAUSE: Duration = Duration::from_micros(50);
/// Ranks that are at something which nobody waits for get this long to come to its end, once the pool is closed.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// What wakes the thread from another.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    news: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.news.notify_one();
    }

    /// Waits for it, at most so long; `true`: it has rung since this was last asked.
    fn wait(&self, most: Option<Duration>) -> bool {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        match most {
            _ if *rung => {}
            Some(Duration::ZERO) => {}
            None => rung = self.news.wait_while(rung, |rung| !*rung).unwrap_or_else(PoisonError::into_inner),
            Some(most) => {
                let waited = self.news.wait_timeout_while(rung, most, |rung| !*rung);
                rung = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        std::mem::take(&mut *rung)
    }
}

/// The way from rank 0 to all others.
#[derive(Debug)]
pub(super) struct Master {
    channel: Channel,
    size: i32,
    bell: Arc<Bell>,
    ranks: Vec<(RankInfo, bool)>,
    /// They were told of.
    told: bool,
    /// Chunks without a reply.
    under_way: usize,
    broken: bool,
}

impl Master {
    /// Waits until all other ranks have said who they are, and tells them to serve.
    pub(super) fn welcome(comm: RawComm, size: i32, patience: Duration) -> Result<Master> {
        let mut channel = Channel::new(comm);
        let deadline = Instant::now() + patience;
        let mut greetings: Vec<Option<Greeting>> = vec![None; size as usize];
        let mut other = None;
        let mut left = size - 1;
        while left > 0 {
            let Some(Arrived { from, kind, bytes }) = channel.receive()? else {
                if Instant::now() >= deadline {
                    let absent = (1..size).filter(|rank| greetings[*rank as usize].is_none()).collect();
                    return Err(MpiError::Absent { ranks: absent, waited: patience });
                }
                std::thread::sleep(PAUSE);
                continue;
            };
            let greeting = Greeting::read(bytes.bytes()).filter(|_| kind == Kind::Greeting);
            if greeting.as_ref().is_none_or(|greeting| greeting.build != build_id()) {
                other = other.or(Some(from));
            }
            let place = greetings.get_mut(from.max(0) as usize);
            if let (Some(place), Some(greeting)) = (place, greeting) {
                *place = Some(greeting);
            }
            left -= 1;
        }
        for rank in 1..size {
            channel.send(rank, Kind::Answer, Held::Bytes(Box::new([u8::from(other.is_none())])))?;
        }
        if let Some(rank) = other {
            while !channel.flush()? {}
            return Err(MpiError::OtherBuild { rank });
        }
        let ranks = greetings.into_iter().enumerate().filter_map(|(rank, greeting)| {
            let Greeting { workers, kills, process, host, .. } = greeting?;
            Some((RankInfo { rank, host, process, workers: workers as usize }, kills))
        });
        let (ranks, bell) = (ranks.collect(), Arc::default());
        Ok(Master { channel, size, bell, ranks, told: false, under_way: 0, broken: false })
    }

    pub(super) fn ranks(&self) -> Vec<RankInfo> {
        self.ranks.iter().map(|(info, _)| info.clone()).collect()
    }

    /// Takes what is there.
    fn look(&mut self, events: &mut Vec<Event>) -> Result<()> {
        while let Some(Arrived { kind, bytes, .. }) = self.channel.receive()? {
            if kind == Kind::Reply {
                self.under_way = self.under_way.saturating_sub(1);
                events.push(Event::Reply { bytes, again: 0 });
            }
        }
        self.channel.flush()?;
        Ok(())
    }

    fn end(&mut self, stuck: &[PeerId]) -> Result<()> {
        for rank in 1..self.size {
            self.channel.send(rank, Kind::Bye, Held::Bytes(Box::new([])))?;
        }
        // Each says that it has sent all, so that nothing is on its way when MPI ends.
        let deadline = Instant::now() + LAST_PATIENCE;
        let mut left = self.size - 1;
        while left > 0 {
            match self.channel.receive()? {
                Some(Arrived { kind: Kind::Gone, .. }) => left -= 1,
                Some(Arrived { bytes, .. }) => self.channel.give_back(bytes),
                None if !stuck.is_empty() && Instant::now() >= deadline => {
                    // It cannot be made to end in any other way.
                    super::serve::complain_of(stuck);
                    sys::abort(1);
                }
                None => std::thread::sleep(PAUSE),
            }
            self.channel.flush()?;
        }
        while !self.channel.flush()? {}
        Ok(())
    }
}

impl Transport for Master {
    fn send(&mut self, peer: PeerId, parcel: &Arc<Parcel>) -> Result<(), String> {
        let sent = self.channel.send(peer as i32, Kind::Chunk, Held::Parcel(parcel.clone()));
        self.under_way += 1;
        sent.map_err(|error| error.to_string())
    }

    fn cancel(&mut self, peer: PeerId, parcel: &Arc<Parcel>, level: CancelLevel) {
        let level = match level {
            CancelLevel::Cooperative => 0,
            CancelLevel::Soft => 1,
            _ => 2,
        };
        let mut bytes = Vec::with_capacity(17);
        bytes.extend_from_slice(&parcel.id().pool.to_le_bytes());
        bytes.extend_from_slice(&parcel.id().chunk.to_le_bytes());
        bytes.push(level);
        // Where that fails, so does the next look, which says it.
        let _ = self.channel.send(peer as i32, Kind::Cancel, Held::Bytes(bytes.into()));
    }

    fn poll(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.told, true) {
            events.extend(self.ranks.iter().map(|(info, kills)| Event::Peer {
                peer: info.rank as PeerId,
                workers: info.workers,
                kills: *kills,
                process: info.process,
            }));
            return;
        }
        let deadline = wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut looks = 0;
        loop {
            if !self.broken
                && let Err(error) = self.look(events)
            {
                self.broken = true;
                events.push(Event::Closed { why: format!("MPI has failed: {error}") });
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !events.is_empty() || left.is_some_and(|left| left.is_zero()) {
                return;
            }
            looks += 1;
            let idle = self.under_way == 0 && self.channel.is_idle();
            let most = match () {
                () if idle || self.broken => left,
                () if looks < LOOKS => Some(Duration::ZERO),
                () => Some(left.map_or(PAUSE, |left| left.min(PAUSE))),
            };
            if self.bell.wait(most) {
                return;
            }
        }
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let bell = self.bell.clone();
        Arc::new(move || bell.ring())
    }

    fn close(&mut self, stuck: &[PeerId]) {
        if self.broken || self.end(stuck).is_err() {
            sys::abort(1);
        }
    }
}
