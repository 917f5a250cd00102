//! Servers of others that a user can install: where they are, and how they are configured to do the same.
//! Their logs are on, as ours is.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::{env, fs};

use countersign_tests::keys::{AUDIENCE, ISSUER};

use crate::Outcome;
use crate::floor::{CHECK, OPEN};
use crate::material::{CERTIFICATE, PASSWORD, PRIVATE_KEY};
use crate::programs::Program;

/// Servers that a user would write on a library, in crates of their own: `tests/benches/NAME` is built to
/// `target/NAME` by `tests/benches/run`.
const LIBRARIES: [&str; 2] = ["axum", "fastwebsockets"];
/// File of the public RSA key in the form that OpenSSL reads.
pub(crate) const RSA_KEY: &str = "RS256.spki.pem";

/// Returns those that are installed, and says which are not.
pub(crate) fn installed(root: &Path) -> (Vec<Program>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mut peers = vec![
        (
            find("haproxy").map(Program::Haproxy),
            "HAProxy: apt-get install haproxy".to_owned(),
        ),
        (
            find("nginx").map(Program::Nginx),
            "nginx: apt-get install nginx-light".to_owned(),
        ),
    ];
    peers.extend(LIBRARIES.map(|name| {
        let path = root.join(format!("target/{name}/release/countersign-bench-{name}"));
        let how = format!(
            "{name}: cargo build --release --manifest-path tests/benches/{name}/Cargo.toml --target-dir target/{name}"
        );
        (path.exists().then_some(Program::Library(name, path)), how)
    }));
    for (program, how) in peers {
        match program {
            Some(program) => found.push(program),
            None => missing.push(how),
        }
    }
    (found, missing)
}

/// Debian has them where only root looks.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|path| path.exists())
}

/// What a configuration has to know.
pub(crate) struct Place {
    folder: PathBuf,
    pub(crate) tcp: u16,
    pub(crate) tls: u16,
    upstream: u16,
}

impl Place {
    /// Chooses two ports that are free.
    pub(crate) fn choose(folder: &Path, upstream: u16) -> Outcome<Self> {
        let (tcp, tls) = (
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
        );
        Ok(Self {
            folder: folder.to_owned(),
            tcp: tcp.local_addr()?.port(),
            tls: tls.local_addr()?.port(),
            upstream,
        })
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// One thread; Basic against a list, tokens by its own converters.
pub(crate) fn haproxy(place: &Place) -> String {
    let token = |algorithm: &str, key: &str| {
        let key = place.file(key);
        format!(
            "    acl {algorithm} path /{algorithm}
    http-request deny deny_status 401 if {algorithm} !{{ http_auth_bearer,jwt_header_query('$.alg') -m str {algorithm} }}
    http-request deny deny_status 401 if {algorithm} !{{ http_auth_bearer,jwt_payload_query('$.iss') -m str {ISSUER} }}
    http-request deny deny_status 401 if {algorithm} !{{ http_auth_bearer,jwt_payload_query('$.aud') -m str {AUDIENCE} }}
    http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int') if {algorithm}
    http-request set-var(txn.left) date(),neg,add(txn.exp) if {algorithm}
    http-request deny deny_status 401 if {algorithm} {{ var(txn.left) -m int lt 0 }}
    http-request deny deny_status 401 if {algorithm} !{{ http_auth_bearer,jwt_verify({algorithm},\"{key}\") 1 }}
"
        )
    };
    format!(
        "global
    nbthread 1
    maxconn 9900
    log stdout format raw local0
    ssl-default-bind-options ssl-min-ver TLSv1.3
userlist users
    user alice insecure-password {password}
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    timeout http-request 10s
frontend edge
    bind 127.0.0.1:{tcp}
    bind 127.0.0.1:{tls} ssl crt {certificate} alpn http/1.1
    acl plain path /plain
    http-request auth realm edge if plain !{{ http_auth(users) }}
{es}{rs}    default_backend floor
backend floor
    http-request set-path {OPEN}
    server floor 127.0.0.1:{upstream}
",
        password = PASSWORD.replace(' ', "\\ "),
        tcp = place.tcp,
        tls = place.tls,
        certificate = place.file("server.pem"),
        es = token("ES256", "ES256.pem"),
        rs = token("RS256", RSA_KEY),
        upstream = place.upstream,
    )
}

/// One worker; Basic against a file, tokens by asking the floor with `auth_request`.
pub(crate) fn nginx(place: &Place) -> String {
    let users = place.file("nginx.users");
    // Nothing to be done if it cannot be written: nginx says so.
    let _ = fs::write(&users, format!("alice:{{PLAIN}}{PASSWORD}\n"));
    let pass = format!(
        "proxy_pass http://127.0.0.1:{}{OPEN}; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;",
        place.upstream
    );
    format!(
        "daemon off;
user root;
worker_processes 1;
pid {pid};
error_log {log} error;
events {{ worker_connections 19000; }}
worker_rlimit_nofile 20000;
http {{
  access_log {access};
  client_body_temp_path {temporary}; proxy_temp_path {temporary}; fastcgi_temp_path {temporary};
  uwsgi_temp_path {temporary}; scgi_temp_path {temporary};
  keepalive_requests 100000;
  proxy_http_version 1.1;
  proxy_read_timeout 1h;
  upstream check {{ server 127.0.0.1:{upstream}; keepalive 8; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{tcp};
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    location = /plain {{ auth_basic edge; auth_basic_user_file {users}; {pass} }}
    location / {{ auth_request {CHECK}; {pass} }}
    location = {CHECK} {{ internal; proxy_pass http://check{CHECK}; proxy_pass_request_body off;
      proxy_set_header Content-Length \"\"; proxy_set_header Connection \"\"; }}
  }}
}}
",
        pid = place.file("nginx.pid"),
        log = place.file("nginx.log"),
        access = place.file("nginx.access.log"),
        temporary = place.file("nginx.temporary"),
        upstream = place.upstream,
        tcp = place.tcp,
        tls = place.tls,
        certificate = place.file(CERTIFICATE),
        key = place.file(PRIVATE_KEY),
    )
}
