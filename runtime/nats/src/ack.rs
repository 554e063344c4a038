//! Confirming messages: what to say, and what a message's reply subject tells of it.

use std::time::Duration;

use bytes::Bytes;

/// It is done, and need not be kept.
pub(crate) const DONE: Bytes = Bytes::from_static(b"+ACK");
/// It is still being worked at: the lease begins anew.
pub(crate) const STILL_AT_IT: Bytes = Bytes::from_static(b"+WPI");
/// It makes no sense, and must not be handed out again.
pub(crate) const NONSENSE: Bytes = Bytes::from_static(b"+TERM");
/// Somebody else may have it, at once.
pub(crate) const BACK: Bytes = Bytes::from_static(b"-NAK");

/// Somebody is to have it, after a while.
pub(crate) fn later(pause: Duration) -> Bytes {
    format!(r#"-NAK {{"delay":{}}}"#, pause.as_nanos()).into()
}

/// Which message it is; the same whenever it is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AckPlace {
    /// Its number in its stream.
    pub(crate) stream: u64,
    /// When it was stored, in nanoseconds: a stream that is made again counts from the beginning.
    pub(crate) time: u64,
}

/// Reads a reply subject: `$JS.ACK.[domain.account.]stream.consumer.deliveries.number.number in consumer.time.pending[.random]`.
/// Gives the message, and how often it was handed out.
pub(crate) fn place(reply: &str) -> Option<(AckPlace, u64)> {
    let mut parts = reply.split('.');
    if (parts.next(), parts.next()) != (Some("$JS"), Some("ACK")) {
        return None;
    }
    let before = match parts.clone().count() {
        7 => 2,
        9.. => 4,
        _ => return None,
    };
    let deliveries = parts.nth(before)?.parse().ok()?;
    let stream = parts.next()?.parse().ok()?;
    let time = parts.nth(1)?.parse().ok()?;
    Some((AckPlace { stream, time }, deliveries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_reply_subject_are_read_and_others_are_not() {
        let expected = Some((AckPlace { stream: 42, time: 1_700_000_000_000_000_000 }, 3));
        assert_eq!(place("$JS.ACK.S.C.3.42.7.1700000000000000000.9"), expected);
        assert_eq!(place("$JS.ACK.hub.ACC.S.C.3.42.7.1700000000000000000.9"), expected);
        assert_eq!(place("$JS.ACK.hub.ACC.S.C.3.42.7.1700000000000000000.9.x"), expected);
        assert_eq!(place("$JS.ACK.S.C.1.x.7.1.3"), None);
        assert_eq!(place("$JS.ACK.S.C"), None);
        assert_eq!(place("_INBOX.a.b.c.d.e.f.g.h"), None);
    }
}
