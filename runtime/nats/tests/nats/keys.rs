//! Keys in place of passwords: a server that knows the public half, and one that believes what an operator has signed.

use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use offspring_tests::nats::{Server, nats_server};
use offspring_tests::watchdog;

use crate::secrets::needs;
use crate::workers::options;

fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("a file can be written");
    path.to_str().expect("a path in UTF-8").to_owned()
}

#[test]
fn a_challenge_is_signed_with_a_key() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let user = KeyPair::new_user();
    let directory = tempfile::tempdir().unwrap();
    let users = format!("authorization {{ users = [ {{ nkey: {} }} ] }}\n", user.public_key());
    let server = Server::with(&["-c", &file(directory.path(), "server.conf", &users)], "nats");
    let seed = user.seed().unwrap();
    needs(&server, options().nkey(&seed), server.url(), &[("TEST_NKEY", &seed)]);
    let another = KeyPair::new_user().seed().unwrap();
    let refused = offspring_nats::NatsPool::builder(server.url())
        .options(options().nkey(another).connect_timeout(Duration::from_secs(3)))
        .connect()
        .unwrap_err();
    assert_eq!(refused.kind(), offspring::ErrorKind::Io, "{refused}");
}

/// What `nsc` makes: claims about the holder of a key, signed with another one.
fn token(issuer: &KeyPair, subject: &KeyPair, claims: &str) -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let head = part(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let body = part(&format!(
        r#"{{"jti":"test","iat":1700000000,"iss":"{}","sub":"{}","name":"test","nats":{claims}}}"#,
        issuer.public_key(),
        subject.public_key()
    ));
    let signed = format!("{head}.{body}");
    let signature = BASE64URL_NOPAD.encode(&issuer.sign(signed.as_bytes()).expect("a private key signs"));
    format!("{signed}.{signature}")
}

#[test]
fn a_credentials_file_is_shown() {
    if !nats_server() {
        return;
    }
    let _watch = watchdog(Duration::from_secs(120));
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    // JetStream wants another account beside, which has none.
    let system = KeyPair::new_account();
    let limits = r#""subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1"#;
    let storage = r#","mem_storage":-1,"disk_storage":-1,"streams":-1,"consumer":-1"#;
    let claims = |storage: &str| format!(r#"{{"limits":{{{limits}{storage}}},"type":"account","version":2}}"#);
    let of_operator = token(&operator, &operator, r#"{"type":"operator","version":2}"#);
    let of_account = token(&operator, &account, &claims(storage));
    let of_system = token(&operator, &system, &claims(""));
    let of_user = r#"{"pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2}"#;
    let credentials = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        token(&account, &user, of_user),
        user.seed().unwrap()
    );
    let directory = tempfile::tempdir().unwrap();
    let operators = file(directory.path(), "operator.jwt", &of_operator);
    let (account, system) = (account.public_key(), system.public_key());
    let server = format!(
        "operator: {operators:?}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload: {{\n  {account}: {of_account}\n  {system}: {of_system}\n}}\n"
    );
    let server = Server::with(&["-c", &file(directory.path(), "server.conf", &server)], "nats");
    let credentials = file(directory.path(), "user.creds", &credentials);
    let right = options().credentials_file(&credentials);
    needs(&server, right, server.url(), &[("OFFSPRING_NATS_CREDENTIALS", &credentials)]);
}
