//! The connection to the server.

use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use crate::options::Auth;
use crate::{NatsError, NatsOptions, Result};

/// The longest pause between two tries to connect again.
const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(2);
/// How long a request to the server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that makes itself anew when it breaks.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) jetstream: Context,
    /// How often it was made.
    pub(crate) connected: watch::Receiver<u64>,
    /// What requests to JetStream begin with.
    pub(crate) api: String,
}

impl Link {
    pub(crate) async fn connect(url: &str, options: &NatsOptions, name: &str) -> Result<Link> {
        let addresses = addresses(url)?;
        let failed = |reason: String| NatsError::Connect { url: public(url), reason };
        let (tell, connected) = watch::channel(0);
        let auth = match &options.auth {
            Auth::None => auth_of(&addresses),
            auth => auth.clone(),
        };
        let mut connect = match &auth {
            Auth::Credentials(path) => ConnectOptions::with_credentials_file(path)
                .await
                .map_err(|error| failed(format!("credentials in {}: {error}", path.display())))?,
            Auth::None => ConnectOptions::new(),
            Auth::Token(token) => ConnectOptions::with_token(token.clone()),
            Auth::User(user, password) => ConnectOptions::with_user_and_password(user.clone(), password.clone()),
            Auth::NKey(seed) => ConnectOptions::with_nkey(seed.clone()),
        };
        if let Some(path) = &options.root_certificates {
            connect = connect.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &options.client_certificate {
            connect = connect.add_client_certificate(certificate.clone(), key.clone());
        }
        if options.require_tls {
            connect = connect.require_tls(true);
        }
        let connect = connect
            .name(name)
            // A host that was cut off sends no word of it: two pings without an answer end a connection.
            .ping_interval((options.lease / 3).max(Duration::from_millis(500)))
            .connection_timeout(options.connect_timeout.min(Duration::from_secs(5)))
            .reconnect_delay_callback(|attempts| {
                let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
                Duration::from_millis(50).saturating_mul(attempts).min(MAX_RECONNECT_PAUSE)
            })
            .event_callback(move |event| {
                if matches!(event, Event::Connected) {
                    tell.send_modify(|times| *times += 1);
                }
                async {}
            });
        let client = tokio::time::timeout(options.connect_timeout, connect.connect(addresses))
            .await
            .map_err(|_| failed(format!("no answer within {:?}", options.connect_timeout)))?
            .map_err(|error| match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    NatsError::Refused { url: public(url), reason: chain(&error) }
                }
                _ => failed(chain(&error)),
            })?;
        let context = jetstream::context::ContextBuilder::new().timeout(REQUEST_TIMEOUT).ack_timeout(REQUEST_TIMEOUT);
        let (jetstream, api) = match &options.domain {
            Some(domain) => (context.domain(domain).build(client.clone()), format!("$JS.{domain}.API")),
            None => (context.build(client.clone()), "$JS.API".to_owned()),
        };
        Ok(Link { client, jetstream, connected, api })
    }

    /// The most bytes that a message's body may have, with room for what is around it.
    pub(crate) fn max_inline(&self) -> usize {
        self.client.max_payload().saturating_sub(1024).max(1024)
    }
}

/// An error with what led to it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

/// One URL, or several with commas between them.
fn addresses(url: &str) -> Result<Vec<ServerAddr>> {
    let parts = url.split(',').map(str::trim).filter(|part| !part.is_empty());
    let addresses: Vec<ServerAddr> = parts
        .map(|part| {
            part.parse::<ServerAddr>().map_err(|error| {
                NatsError::InvalidInput(format!("{} is no address of a NATS server: {error}", public(part)))
            })
        })
        .collect::<Result<_>>()?;
    if addresses.is_empty() {
        return Err(NatsError::InvalidInput("no address of a NATS server was given: nats://host:4222".into()));
    }
    Ok(addresses)
}

/// What the first address that names a user says of it: `user:password@`, or `token@`.
fn auth_of(addresses: &[ServerAddr]) -> Auth {
    let named = addresses.iter().find_map(|address| Some((address.username()?, address.password())));
    match named {
        None => Auth::None,
        Some((user, Some(password))) => Auth::User(unescaped(user), unescaped(password)),
        Some((token, None)) => Auth::Token(unescaped(token)),
    }
}

/// A part of a URL with `%40` and the like as what they stand for.
fn unescaped(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// URLs without the users, passwords and tokens in them.
pub(crate) fn public(url: &str) -> String {
    let parts = url.split(',').map(|part| match part.rsplit_once('@') {
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://{host}"),
            None => host.to_owned(),
        },
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(public("nats://me:p@ss@host:4222"), "nats://host:4222");
        assert_eq!(public("nats://token@a,tls://x:y@b:1"), "nats://a,tls://b:1");
        assert_eq!(public("host"), "host");
    }

    #[test]
    fn who_the_client_is_stands_in_the_first_url_that_says_it() {
        let auth = |url: &str| auth_of(&addresses(url).unwrap());
        assert!(matches!(auth("nats://a,nats://b"), Auth::None));
        assert!(
            matches!(auth("nats://a,nats://ann:p%40ss%@b"), Auth::User(user, password) if user == "ann" && password == "p@ss%")
        );
        assert!(matches!(auth("nats://t0ken@a"), Auth::Token(token) if token == "t0ken"));
    }

    #[test]
    fn an_address_is_one_url_or_several() {
        assert_eq!(addresses("nats://a:4222, b").unwrap().len(), 2);
        assert!(addresses("").is_err());
        let error = addresses("http://me:secret@host").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
