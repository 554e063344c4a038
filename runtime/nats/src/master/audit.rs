//! Is what the pool believes to be at the server still there?

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use tokio::time::Instant;

use super::{Master, Place};
use crate::streams;

/// So many messages are looked for in one audit.
const MAX_LOOKED_FOR: usize = 256;

impl<B: AsRef<[u8]> + Send + Sync + 'static> Master<B> {
    pub(super) async fn audit_if_due(&mut self) {
        let now = Instant::now();
        let quiet = now - self.last_result.max(self.last_audit) >= self.options.lease;
        if self.is_suspicious || quiet {
            self.last_audit = now;
            self.audit().await;
        }
    }

    async fn audit(&mut self) {
        match streams::are_there(&self.link, &self.names).await {
            // The server cannot be asked now: again at the next beat.
            None => return,
            Some(true) => {}
            Some(false) => {
                if streams::make(&self.link, &self.names, &self.options).await.is_err() {
                    return;
                }
                let all: Vec<u64> = self.flights.keys().copied().collect();
                all.into_iter().for_each(|chunk| self.publish_if_stored(chunk));
            }
        }
        self.is_suspicious = false;
        self.look_for_the_missing().await;
    }

    fn publish_if_stored(&mut self, chunk: u64) {
        if self.flights.get(&chunk).is_some_and(|flight| matches!(flight.place, Place::Stored(_))) {
            self.publish_anew(chunk);
        }
    }

    /// Chunks that are stored as far as is known here, and are not: gone by age, or confirmed by a worker while their results were lost.
    async fn look_for_the_missing(&mut self) {
        let now = Instant::now();
        let mut old: Vec<(u64, u64)> = Vec::new();
        for (&chunk, flight) in &self.flights {
            if let Place::Stored(number) = flight.place
                && now - flight.since >= self.options.lease
            {
                old.push((chunk, number));
            }
        }
        if old.is_empty() {
            return;
        }
        let Ok(stream) = self.link.jetstream.get_stream_no_info(self.names.tasks()).await else { return };
        for &(chunk, number) in old.iter().take(MAX_LOOKED_FOR) {
            match stream.get_raw_message(number).await {
                // Others are looked for next time.
                Ok(_) => {
                    if let Some(flight) = self.flights.get_mut(&chunk) {
                        flight.since = now;
                    }
                }
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => self.publish_anew(chunk),
                Err(_) => return,
            }
        }
    }
}
