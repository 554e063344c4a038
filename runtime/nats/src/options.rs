//! How to reach a server, and how to keep what lies there.

use std::path::PathBuf;
use std::time::Duration;

use crate::{NatsError, Result};

/// Where the server keeps tasks and results of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Storage {
    /// In files: they outlive a restart of the server.
    #[default]
    File,
    /// In memory: faster. After a restart of the server the pool sends again what was under way, results that it had not fetched included.
    Memory,
}

/// How a pool and its workers use a NATS server: who they are, how they are encrypted, and how long what they store there is kept.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use offspring_nats::{NatsOptions, NatsPool};
///
/// let options = NatsOptions::new()
///     .credentials_file("/run/secrets/nats.creds")
///     .root_certificates("/etc/ssl/our-ca.pem")
///     .replicas(3)
///     .lease(Duration::from_secs(10));
/// let pool = NatsPool::builder("tls://nats.example.org").options(options).connect()?;
/// # Ok::<(), offspring_nats::NatsError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct NatsOptions {
    pub(crate) auth: Auth,
    pub(crate) root_certificates: Option<PathBuf>,
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) require_tls: bool,
    pub(crate) domain: Option<String>,
    pub(crate) storage: Storage,
    pub(crate) replicas: usize,
    pub(crate) lease: Duration,
    pub(crate) deliveries: u32,
    pub(crate) keep: Duration,
    pub(crate) abandoned_after: Duration,
    pub(crate) beat: Duration,
    pub(crate) connect_timeout: Duration,
}

/// Who the client is. Not shown by `Debug`.
#[derive(Clone, Default)]
pub(crate) enum Auth {
    /// As the URL says, or nobody.
    #[default]
    None,
    Token(String),
    User(String, String),
    NKey(String),
    Credentials(PathBuf),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::None => "None",
            Auth::Token(_) => "Token",
            Auth::User(..) => "User",
            Auth::NKey(_) => "NKey",
            Auth::Credentials(_) => "Credentials",
        })
    }
}

/// The file with credentials for workers that are started by the environment.
const CREDENTIALS: &str = "OFFSPRING_NATS_CREDENTIALS";
/// The file with root certificates for them.
const CA: &str = "OFFSPRING_NATS_CA";

impl Default for NatsOptions {
    fn default() -> Self {
        NatsOptions::new()
    }
}

impl NatsOptions {
    /// What the environment says: the file in `OFFSPRING_NATS_CREDENTIALS` has the client's credentials, the one in `OFFSPRING_NATS_CA` the root
    /// certificates. Without them: what the URL says (`nats://user:password@host`, `nats://token@host`, `tls://host`).
    pub fn new() -> NatsOptions {
        let path = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        NatsOptions {
            auth: path(CREDENTIALS).map_or(Auth::None, Auth::Credentials),
            root_certificates: path(CA),
            client_certificate: None,
            require_tls: false,
            domain: None,
            storage: Storage::File,
            replicas: 1,
            lease: Duration::from_secs(30),
            deliveries: 5,
            keep: Duration::from_secs(24 * 3600),
            abandoned_after: Duration::from_secs(600),
            beat: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// Shows this token to the server.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.auth = Auth::Token(token.into());
        self
    }

    /// Shows this user and password to the server.
    pub fn user_and_password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.auth = Auth::User(user.into(), password.into());
        self
    }

    /// Signs the server's challenge with this seed (`SU..`).
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.auth = Auth::NKey(seed.into());
        self
    }

    /// Takes a JWT and a seed from a file as `nsc` writes it.
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.auth = Auth::Credentials(path.into());
        self
    }

    /// Believes servers whose certificate was signed by one of these, in PEM form; without it, those that the system believes.
    pub fn root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.root_certificates = Some(path.into());
        self
    }

    /// Shows this certificate to the server, in PEM form, and its key.
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client_certificate = Some((certificate.into(), key.into()));
        self
    }

    /// Refuses servers that do not encrypt. `tls://` in the URL says the same.
    pub fn require_tls(mut self) -> Self {
        self.require_tls = true;
        self
    }

    /// Uses the JetStream of this domain, where the server is a leaf of it.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Where the server keeps tasks and results. Default: in files. The pool's to say.
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// On how many servers of a cluster each message is kept: 1, 3 or 5. Default 1. The pool's to say.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// After how long without a sign of a worker the tasks that it holds are given to others. Default 30 seconds. The pool's to say.
    ///
    /// Workers say three times in each lease that they still hold a task, however long it runs: this is no limit of the task's time. A worker
    /// whose host was only cut off for longer goes on with its tasks while others run them, too; the result that comes first counts.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How many workers may be lost with a chunk of tasks before it is given up as deadly: a chunk of several tasks is then sent task by task, and
    /// a task that is given up fails with [`WorkerDied`](offspring::TaskError::WorkerDied). Default 5, at least 2. The pool's to say.
    ///
    /// A worker is a host, a container or a process that serves. What becomes of a task whose process in a worker's local pool dies is for the
    /// options of the run to say (`retries`).
    ///
    /// Nobody can tell which of the tasks that a lost worker held was the reason. So what was handed out that often, less one, is run alone: its
    /// worker finishes what it does, runs this and nothing else, and only when it is lost then is the chunk given up. Its neighbours
    /// come to no harm, and neither does a task whose lease ran out because a machine was busy or cut off.
    pub fn deliveries(mut self, deliveries: u32) -> Self {
        self.deliveries = deliveries;
        self
    }

    /// The longest that the server keeps a message, fetched or not. Default 24 hours. The pool's to say.
    ///
    /// It is what ends the messages of a pool that crashed, should nobody come to clean up. A task that waits for a worker longer than this
    /// is sent again.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// After how long without a sign of its pool a run is given up: the server forgets who took its results, and the next pool or worker that
    /// comes by removes its streams. Default 10 minutes. The pool's to say.
    ///
    /// A pool that was only cut off for longer makes new streams and sends again what was under way.
    pub fn abandoned_after(mut self, silence: Duration) -> Self {
        self.abandoned_after = silence;
        self
    }

    /// How often a pool and its workers say that they are there. Default 1 second; three times without a word, and a worker is not counted
    /// any more.
    pub fn beat(mut self, beat: Duration) -> Self {
        self.beat = beat;
        self
    }

    /// How long the first connection may take. Default 10 seconds. A pool fails after that; a worker tries again for ever.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(NatsError::InvalidInput(what.to_owned()));
        if !(1..=5).contains(&self.replicas) {
            return refuse("replicas: 1 to 5 servers can keep a message");
        }
        if self.lease < Duration::from_millis(100) {
            return refuse("lease: at least 100 milliseconds, or every task would be run by several workers");
        }
        if self.deliveries < 2 {
            return refuse(
                "deliveries: at least 2, as the first worker that is lost does not tell which of its tasks was the reason",
            );
        }
        if self.beat < Duration::from_millis(10) || self.abandoned_after < self.beat * 3 {
            return refuse("beat: at least 10 milliseconds, and abandoned_after at least three times as long");
        }
        if self.keep < self.lease * 2 {
            return refuse("keep: at least two leases, or tasks would vanish while they are run");
        }
        Ok(())
    }
}
