//! Taking messages from a consumer, as many as there is room for.
//!
//! A pull request stays at the server until it is satisfied or its time is up. Requests are lost with a connection, with the server's process
//! and with a change of leader in a cluster; so what was asked for counts as asked only until the requests must have ended.

use std::time::Duration;

use async_nats::{Client, Message, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::link::Link;
use crate::{NatsError, Result};

/// How long a request stays at the server.
const EXPIRES: Duration = Duration::from_secs(10);
/// What its answer may take beyond that.
const SLACK: Duration = Duration::from_secs(2);
/// The pause before a server is asked again that has no such consumer.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Puller {
    client: Client,
    /// Where requests go.
    subject: Subject,
    inbox: Subject,
    arrivals: Subscriber,
    connected: watch::Receiver<u64>,
    /// Messages that were asked for and have not come.
    asked: usize,
    /// When all requests must have ended.
    ends: Instant,
    /// Not to ask before, as the server could not help.
    not_before: Instant,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Pulled {
    Message(Message),
    /// Nothing, but something may be asked for again.
    Room,
    /// The server knows no such consumer: it is not ready yet, or the consumer is gone.
    Unknown,
    /// The connection was closed for good.
    Closed,
}

impl Puller {
    pub(crate) async fn new(link: &Link, stream: &str, consumer: &str) -> Result<Puller> {
        let inbox = Subject::from(link.client.new_inbox());
        let arrivals = link
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| NatsError::server("cannot listen for tasks", error))?;
        let now = Instant::now();
        Ok(Puller {
            client: link.client.clone(),
            subject: format!("{}.CONSUMER.MSG.NEXT.{stream}.{consumer}", link.api).into(),
            inbox,
            arrivals,
            connected: link.connected.clone(),
            asked: 0,
            ends: now,
            not_before: now,
        })
    }

    /// How many messages may still come without being asked for again.
    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    /// Asks for so many more.
    pub(crate) async fn ask(&mut self, messages: usize) {
        if messages == 0 || Instant::now() < self.not_before {
            return;
        }
        let request = format!(r#"{{"batch":{messages},"expires":{}}}"#, EXPIRES.as_nanos());
        let sent = self.client.publish_with_reply(self.subject.clone(), self.inbox.clone(), request.into()).await;
        if sent.is_ok() {
            self.asked += messages;
            self.ends = Instant::now() + EXPIRES + SLACK;
        }
    }

    /// The next that happens. May be dropped while it waits; nothing is lost then.
    pub(crate) async fn next(&mut self) -> Pulled {
        let paused = self.not_before > Instant::now();
        let wake = if paused { self.not_before } else { self.ends };
        tokio::select! {
            biased;
            message = self.arrivals.next() => match message {
                Some(message) => self.arrived(message),
                None => Pulled::Closed,
            },
            changed = self.connected.changed() => match changed {
                Ok(()) => {
                    self.asked = 0;
                    self.not_before = Instant::now();
                    Pulled::Room
                }
                Err(_) => Pulled::Closed,
            },
            () = tokio::time::sleep_until(wake), if paused || self.asked > 0 => {
                if !paused {
                    self.asked = 0;
                }
                Pulled::Room
            }
        }
    }

    fn arrived(&mut self, message: Message) -> Pulled {
        match message.status {
            None | Some(StatusCode::OK) => {
                self.asked = self.asked.saturating_sub(1);
                Pulled::Message(message)
            }
            Some(StatusCode::IDLE_HEARTBEAT) => Pulled::Room,
            Some(StatusCode::NO_RESPONDERS | StatusCode::NOT_FOUND) => self.pause(),
            Some(_) if message.description.as_deref() == Some("Consumer Deleted") => self.pause(),
            // The time of a request is up, or the server ended it: so many of its messages will not come.
            Some(_) => {
                let pending = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
                let pending = pending.and_then(|value| value.as_str().parse().ok()).unwrap_or(self.asked);
                self.asked = self.asked.saturating_sub(pending);
                Pulled::Room
            }
        }
    }

    fn pause(&mut self) -> Pulled {
        self.asked = 0;
        self.not_before = Instant::now() + PAUSE;
        Pulled::Unknown
    }
}
