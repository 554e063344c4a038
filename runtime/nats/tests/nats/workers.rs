//! Processes of this program as workers.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use offspring::{Pool, PoolError};
use offspring_nats::{NatsOptions, NatsPool};

use offspring_tests::nats::Server;

/// Short times, so that tests need not wait.
pub(crate) fn options() -> NatsOptions {
    let seconds = |name: &str, otherwise| {
        let told = std::env::var(name).ok().and_then(|value| value.parse().ok());
        Duration::from_secs_f64(told.unwrap_or(otherwise))
    };
    let mut options = NatsOptions::new();
    if let Ok(seed) = std::env::var("TEST_NKEY") {
        options = options.nkey(seed);
    }
    options.lease(seconds("TEST_LEASE", 2.0)).beat(Duration::from_millis(200)).deliveries(20)
}

pub(crate) fn local() -> Result<Pool, PoolError> {
    let workers = std::env::var("TEST_LOCAL_WORKERS").ok().and_then(|value| value.parse().ok());
    Pool::builder().workers(workers.unwrap_or(1)).build()
}

pub(crate) fn pool(server: &Server) -> NatsPool {
    NatsPool::builder(server.url()).options(options()).connect().expect("a pool connects")
}

/// Ends this process when the one that started it ends, however that happens: it holds the other end of the standard input.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(3);
    });
}

/// This program again, as the test with this name.
pub(crate) fn this_program(test: &str, launcher: &[&str]) -> Command {
    let program = std::env::current_exe().expect("a program knows its file");
    let mut command = match launcher {
        [] => Command::new(&program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(&program);
            command
        }
    };
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

/// A program of this package's examples, which are built with its tests.
pub(crate) fn example(name: &str) -> std::path::PathBuf {
    let test = std::env::current_exe().expect("a program knows its file");
    let target = test.parent().and_then(|deps| deps.parent()).expect("it lies two folders below the target");
    target.join("examples").join(name)
}

/// Workers; the rest of them ends with this.
pub(crate) struct Workers {
    url: String,
    environment: Vec<(String, String)>,
    processes: Vec<Child>,
}

impl Workers {
    pub(crate) fn of(server: &Server) -> Workers {
        Workers::at(server.url())
    }

    pub(crate) fn at(url: String) -> Workers {
        Workers { url, environment: Vec::new(), processes: Vec::new() }
    }

    /// With this in the environment of those that are started from here on.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Workers {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn start(&mut self) {
        self.start_by(&[]);
    }

    /// Started by another program, which gets this one's command line.
    pub(crate) fn start_by(&mut self, launcher: &[&str]) {
        let mut command = this_program("serves_when_asked", launcher);
        command.env("OFFSPRING_NATS_SERVE", &self.url).envs(self.environment.iter().cloned()).stderr(Stdio::inherit());
        self.processes.push(command.spawn().expect("a worker starts"));
    }

    /// Ends the oldest without asking.
    pub(crate) fn kill_one(&mut self) {
        let mut worker = self.processes.remove(0);
        worker.kill().expect("a worker can be killed");
        worker.wait().expect("a worker can be awaited");
    }

    /// Asks the oldest to end, and waits until it has.
    pub(crate) fn ask_one_to_leave(&mut self) -> ExitStatus {
        let mut worker = self.processes.remove(0);
        let asked = Command::new("kill").arg(worker.id().to_string()).status().expect("kill can be run");
        assert!(asked.success());
        // Its standard input must stay open: closing it would end it, too.
        loop {
            if let Some(status) = worker.try_wait().expect("a worker can be asked") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts others for those that have ended.
    pub(crate) fn replace_the_dead(&mut self) {
        let before = self.processes.len();
        self.processes.retain_mut(|worker| worker.try_wait().expect("a worker can be asked").is_none());
        for _ in self.processes.len()..before {
            self.start();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.processes {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}
