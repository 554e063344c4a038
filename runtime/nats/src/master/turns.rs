//! Chunks that are run alone, because they were handed out too often.
//!
//! When a worker is lost, nobody knows which of the chunks that it held was the reason, and a lease can also run out for no reason at all. So
//! nothing follows from that but that the chunk is handed out again; in the end to workers that run it alone, and ask here before they
//! begin. Only one that was told to begin and was then heard of no more tells something of the chunk.

use async_nats::Message;
use tokio::time::Instant;

use super::workers::patience;
use super::{Master, Place};
use crate::wire::{Answer, Ask};

/// A worker that asked to run a chunk alone.
pub(super) struct Turn {
    worker: u64,
    /// When it did so first.
    asked: Instant,
    /// It was told to begin.
    may_begin: bool,
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Master<B> {
    pub(super) async fn asked(&mut self, message: Message) {
        let (Some(reply), Some(ask)) = (message.reply, Ask::decode(message.payload)) else { return };
        let answer = match self.answer(ask) {
            Some(answer) => answer,
            None => {
                let tries = self.options.deliveries;
                let why =
                    "workers that had it were lost, the last while it ran nothing else (`NatsOptions::deliveries`)";
                self.give_up(ask.chunk, tries, why.into()).await;
                Answer::Forget
            }
        };
        // If this is lost, the worker asks again.
        let _ = self.link.client.publish(reply, answer.encode()).await;
    }

    /// May this worker begin? `None`: nobody may any more.
    fn answer(&mut self, ask: Ask) -> Option<Answer> {
        let now = Instant::now();
        let Some(flight) = self.flights.get_mut(&ask.chunk) else { return Some(Answer::Forget) };
        if flight.place == Place::Arriving {
            return Some(Answer::Wait);
        }
        if !flight.turns.iter().any(|turn| turn.worker == ask.worker) {
            flight.turns.push(Turn { worker: ask.worker, asked: now, may_begin: false });
        }
        let asked = flight.turns.iter().find(|turn| turn.worker == ask.worker).map_or(now, |turn| turn.asked);
        let mut answer = Answer::Begin;
        for other in flight.turns.iter().filter(|turn| turn.may_begin && turn.worker != ask.worker) {
            match self.workers.get(&other.worker) {
                None if now < self.doubts_until => answer = Answer::Wait,
                None => return None,
                // Dead, or cut off, or just slow: that shows soon.
                Some(seen) if seen.heard <= asked => answer = Answer::Wait,
                // It lives, and its result may come; or it has given it up.
                Some(_) => {}
            }
        }
        let begins = answer == Answer::Begin;
        flight.turns.iter_mut().filter(|turn| turn.worker == ask.worker).for_each(|turn| turn.may_begin |= begins);
        Some(answer)
    }

    /// A worker leaves: it is not lost, whatever becomes of what it has.
    pub(super) fn forgive(&mut self, worker: u64) {
        self.flights.values_mut().for_each(|flight| flight.turns.retain(|turn| turn.worker != worker));
    }

    /// What was said to this end may not have come: nobody is taken for lost for a while.
    pub(super) fn doubt(&mut self) {
        self.doubts_until = Instant::now() + patience(self.slowest);
    }
}
