//! Debian's nats-server on a loopback port, with a directory that is removed with it.
#![allow(clippy::print_stdout, reason = "tests say why they skip")]

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Is there a `nats-server`? Says so if not; where tests must not skip, that is a failure.
pub fn nats_server() -> bool {
    let there = binary().is_some();
    if !there {
        assert!(std::env::var_os("OFFSPRING_TESTS_NO_SKIP").is_none(), "nats-server is missing");
        println!("skipped: there is no nats-server (Debian package nats-server)");
    }
    there
}

fn binary() -> Option<PathBuf> {
    // Debian has it where only root's PATH looks.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join("nats-server")).find(|file| file.is_file())
}

/// A running server; ended with this.
#[derive(Debug)]
pub struct Server {
    process: Option<Child>,
    directory: TempDir,
    port: u16,
    arguments: Vec<String>,
    scheme: &'static str,
}

impl Server {
    /// A server on the loopback interface.
    pub fn start() -> Server {
        Server::with(&[], "nats")
    }

    /// One with more arguments; `{}` in them stands for its directory.
    pub fn with(arguments: &[&str], scheme: &'static str) -> Server {
        let directory = tempfile::tempdir().expect("a directory for the server");
        let path = directory.path().to_str().expect("a path in UTF-8").to_owned();
        let arguments = arguments.iter().map(|argument| argument.replace("{}", &path)).collect();
        let mut server = Server { process: None, directory, port: free_port(), arguments, scheme };
        server.restart();
        server
    }

    /// Where it keeps what it stores.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// How clients reach it.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("the server can be killed");
            process.wait().expect("the server can be awaited");
        }
    }

    /// Starts it with what it had stored before; returns when it answers.
    pub fn restart(&mut self) {
        self.kill();
        for _ in 0..5 {
            let mut process = Command::new(binary().expect("nats-server is there"))
                .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"])
                .arg(self.directory.path())
                .args(&self.arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("nats-server starts");
            let deadline = Instant::now() + Duration::from_secs(30);
            while Instant::now() < deadline && process.try_wait().expect("the server can be asked").is_none() {
                if answers(self.port) {
                    self.process = Some(process);
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = process.kill();
            let _ = process.wait();
            // Somebody else took the port in between. A server that workers know cannot move.
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("nats-server does not answer on port {}", self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server says who it is at once.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut word = [0; 4];
    stream.read_exact(&mut word).is_ok() && &word == b"INFO"
}

/// A loopback port that nobody listens at just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}
