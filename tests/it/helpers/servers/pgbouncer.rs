//! `pgbouncer`, in front of a `postgres`.
//!
//! A shell watches it, as it does for `postgres`.

use std::{
    env, fs,
    hash::{BuildHasher as _, RandomState},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    not_run,
    postgres::{PASSWORD, Server, as_unprivileged_user},
};
use crate::token_endpoint::escape;

pub(crate) struct PgBouncer {
    folder: PathBuf,
    port: u16,
    watchdog: Child,
}

impl PgBouncer {
    /// Starts a pooler with two connections to the server. `settings` are further lines of its configuration. Returns `None` and
    /// reports it if `pgbouncer` is not installed.
    pub(crate) fn start(server: &Server, pool_mode: &str, settings: &str) -> Option<Self> {
        let folders = env::split_paths(&env::var_os("PATH")?).chain(["/usr/sbin".into()]).collect::<Vec<_>>();
        let Some(program) = folders.iter().map(|folder| folder.join("pgbouncer")).find(|program| program.exists())
        else {
            not_run("tests with PgBouncer", "pgbouncer is not installed (Debian: apt-get install pgbouncer)");
            return None;
        };
        for attempt in 0..20_u64 {
            let port = 10_000 + u16::try_from(RandomState::new().hash_one(attempt) % 20_000).unwrap();
            let folder = env::temp_dir().join(format!("tower-oauth-pgbouncer-{}-{port}", std::process::id()));
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(folder.join("users"), format!("\"postgres\" \"{PASSWORD}\"\n")).unwrap();
            let lines = format!(
                "[databases]\npostgres = host=127.0.0.1 port={} dbname=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}/users\n\
                 pool_mode = {pool_mode}\ndefault_pool_size = 2\nmax_client_conn = 200\n{settings}\n",
                server.port(),
                folder.display()
            );
            fs::write(folder.join("settings"), lines).unwrap();
            let mut command = as_unprivileged_user();
            command.args(["sh", "-c", WATCHDOG, "watchdog"]).arg(&program).arg(folder.join("settings"));
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).current_dir("/");
            let pooler = Self { watchdog: command.spawn().unwrap(), folder, port };
            if pooler.is_ready() {
                return Some(pooler);
            }
        }
        panic!("pgbouncer did not start on any of 20 ports");
    }

    /// Returns a URL with the superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/postgres?sslmode=disable", escape(PASSWORD), self.port)
    }

    fn is_ready(&self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Runs the pooler until the starting process has closed standard input.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
"$1" "$2" &
cat > /dev/null
kill -KILL $!
"#;
