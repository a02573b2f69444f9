//! nginx and HAProxy in front of the program, with the lines of configuration that `CertificateHeader` documents.
//!
//! A shell watches each proxy: it ends the proxy when the test process ends, whatever the reason.

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    certificates::{Identity, ServerCertificate, pem},
    client::{Client, PROTOCOLS, VERSIONS},
    start, token,
};
use crate::{fake_issuer::FakeIssuer, programs::protected_api::Api, support::not_run};

/// A running proxy. It ends when this value is dropped.
struct Proxy {
    address: String,
    watchdog: Child,
}

/// The proxies, each with the form of the header that it writes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// `$ssl_client_escaped_cert`.
    Nginx,
    /// `:%[ssl_c_der,base64]:`.
    HaProxyRfc9440,
    /// `%[ssl_c_der,base64]`.
    HaProxyBase64,
}

impl Kind {
    /// Returns the value of `OAUTH_CLIENT_CERT`.
    fn setting(self) -> &'static str {
        match self {
            Self::HaProxyRfc9440 => "rfc9440",
            Self::Nginx | Self::HaProxyBase64 => "pem:X-SSL-Client-Cert",
        }
    }

    /// Returns the header that the proxy replaces, with the value that names this certificate.
    fn header(self, identity: &Identity) -> (&'static str, String) {
        match self {
            Self::Nginx => ("X-SSL-Client-Cert", identity.escaped_pem()),
            Self::HaProxyRfc9440 => ("Client-Cert", format!(":{}:", identity.base64())),
            Self::HaProxyBase64 => ("X-SSL-Client-Cert", identity.base64()),
        }
    }

    fn program(self) -> Option<PathBuf> {
        let name = if matches!(self, Self::Nginx) { "nginx" } else { "haproxy" };
        let folders = env::split_paths(&env::var_os("PATH")?).chain(["/usr/sbin".into()]).collect::<Vec<_>>();
        let found = folders.iter().map(|folder| folder.join(name)).find(|program| program.exists());
        if found.is_none() {
            not_run("tests behind a proxy", &format!("{name} is not installed (Debian: apt-get install {name})"));
        }
        found
    }

    fn configuration(self, server: &ServerCertificate, port: u16, api: &str) -> String {
        let folder = server.folder().display();
        match self {
            Self::Nginx => format!(
                "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\n\
                 http {{\n  access_log off;\n  client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n  \
                 fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n  scgi_temp_path {folder}/scgi;\n  \
                 server {{\n    listen 127.0.0.1:{port} ssl http2;\n    ssl_certificate {folder}/cert.pem;\n    \
                 ssl_certificate_key {folder}/key.pem;\n    ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_session_cache shared:sessions:1m;\n    \
                 ssl_verify_client optional_no_ca;\n    location / {{\n      proxy_pass http://{api};\n      \
                 proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;\n    }}\n  }}\n}}\n"
            ),
            Self::HaProxyRfc9440 => ha_proxy(
                server,
                port,
                api,
                "http-request del-header Client-Cert\n  \
                 http-request set-header Client-Cert :%[ssl_c_der,base64]: if { ssl_c_used }",
            ),
            Self::HaProxyBase64 => {
                ha_proxy(server, port, api, "http-request set-header X-SSL-Client-Cert %[ssl_c_der,base64]")
            }
        }
    }
}

fn ha_proxy(server: &ServerCertificate, port: u16, api: &str, lines: &str) -> String {
    let folder = server.folder().display();
    format!(
        "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend front\n  bind 127.0.0.1:{port} ssl crt {folder}/both.pem ca-file {folder}/clients.pem verify optional \
         ca-ignore-err all crt-ignore-err all alpn h2,http/1.1\n  {lines}\n  default_backend back\n\
         backend back\n  server api {api}\n"
    )
}

impl Proxy {
    /// Starts the proxy in front of the program. Returns `None` and reports it if the proxy is not installed.
    fn start(kind: Kind, server: &ServerCertificate, api: &Api) -> Option<Self> {
        let program = kind.program()?;
        // HAProxy needs an authority, which has signed no client's certificate.
        server.write("clients.pem", &pem(Identity::new().leaf()));
        for attempt in 0..20_u64 {
            let port = 10_000 + u16::try_from(RandomState::new().hash_one(attempt) % 20_000).unwrap();
            let file = server.write("proxy.conf", &kind.configuration(server, port, api.address()));
            let mut command = Command::new("sh");
            command.args(["-c", WATCHDOG, "watchdog"]).arg(&program);
            match kind {
                Kind::Nginx => command.args(["-p", server.folder().to_str().unwrap(), "-e", "stderr", "-c", &file]),
                Kind::HaProxyRfc9440 | Kind::HaProxyBase64 => command.args(["-db", "-f", &file]),
            };
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            let mut proxy = Self { address: format!("127.0.0.1:{port}"), watchdog: command.spawn().unwrap() };
            if proxy.is_ready() {
                return Some(proxy);
            }
        }
        panic!("{kind:?} did not start on any of 20 ports");
    }

    /// Waits until the proxy listens. Returns false if it has ended, for instance because the port is in use.
    fn is_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) && self.watchdog.try_wait().unwrap().is_none() {
            if TcpStream::connect(&self.address).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Runs the proxy until the starting process has closed standard input, or until the proxy ends.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
exec 3<&0
"$@" < /dev/null 3<&- &
proxy=$!
{ cat <&3 > /dev/null; kill -KILL $proxy; } &
exec 3<&-
wait $proxy
kill -KILL $!
"#;

/// Starts the program and the proxy in front of it.
async fn behind(kind: Kind, issuer: &FakeIssuer, server: &ServerCertificate) -> Option<(Proxy, Api)> {
    let api = start(issuer, &[("OAUTH_CLIENT_CERT", kind.setting())]).await?;
    Some((Proxy::start(kind, server, &api)?, api))
}

/// Checks what must hold behind each proxy.
async fn check(kind: Kind) {
    let (issuer, server) = (FakeIssuer::start().await, ServerCertificate::new());
    let Some((proxy, _api)) = behind(kind, &issuer, &server).await else { return };
    let identity = Identity::new();
    let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    let authorization = format!("Bearer {bound}");
    let (name, value) = kind.header(&identity);
    let forged = [("authorization", &*authorization), (name, &*value)];
    let twice = [&forged[..], &forged[1..]].concat();
    for (version, protocol) in VERSIONS.iter().flat_map(|version| PROTOCOLS.map(|protocol| (version, protocol))) {
        let case = format!("{kind:?}, {version:?}, {protocol:?}");
        let own = Client::with_version(&server, Some(&identity), version);
        for resumed in [false, true] {
            let mut connection = own.connect(&proxy.address, protocol).await.unwrap();
            assert_eq!(connection.resumed, resumed, "{case}");
            // The second request is on the kept connection.
            for headers in [&forged[..1], &forged, &twice, &forged[..1]] {
                let answer = connection.get("/whoami", headers).await.unwrap();
                assert_eq!(answer.status, 200, "{case}, resumed {resumed}: {answer:?}");
            }
        }
        for other in [None, Some(Identity::new()), Some(identity.renewed())] {
            let client = Client::with_version(&server, other.as_ref(), version);
            for headers in [&forged[..1], &forged, &twice] {
                let mut connection = client.connect(&proxy.address, protocol).await.unwrap();
                let answer = connection.get("/whoami", headers).await.unwrap();
                assert!(answer.is_refusal(401, "invalid_token"), "{case}, {headers:?}: {answer:?}");
            }
            let unbound = token(&issuer).sign();
            let mut connection = client.connect(&proxy.address, protocol).await.unwrap();
            assert_eq!(connection.present(&unbound).await.status, 200, "{case}");
        }
    }
}

/// RFC 9440 §2.4 (MUST, accepts)
#[tokio::test]
async fn nginx_passes_the_certificate_on_and_replaces_headers_from_outside() {
    check(Kind::Nginx).await;
}

/// RFC 9440 §2.4 (MUST, accepts)
#[tokio::test]
async fn haproxy_passes_the_certificate_on_as_rfc_9440_says() {
    check(Kind::HaProxyRfc9440).await;
}

/// RFC 9440 §2.4 (MUST, accepts)
#[tokio::test]
async fn haproxy_passes_the_certificate_on_in_base64() {
    check(Kind::HaProxyBase64).await;
}
