//! `postgres`, in its own cluster.
//!
//! A shell watches each server. When its standard input closes, because the `Server` is dropped or this process has ended, it stops
//! the server and removes the directory. So statics, which are never dropped, are cleaned up, too.

use std::{
    collections::hash_map::RandomState,
    env, fs,
    hash::BuildHasher as _,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::not_run;
use crate::token_endpoint::escape;

/// Contains all kinds of characters that must be escaped in a URL.
pub(crate) const PASSWORD: &str = "s3cr/t:@ü#%";

pub(crate) struct Server {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    watchdog: Child,
}

/// Returns the server that most tests share, each in its own schema. Returns `None` and reports it if PostgreSQL is not installed.
pub(crate) fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(Server::start).as_ref()
}

/// Returns the name of a schema that no other test uses.
pub(crate) fn fresh_schema() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Server {
    /// Starts a server of its own, which the test may kill. Returns `None` and reports it if PostgreSQL is not installed.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            not_run(
                "tests with PostgreSQL",
                "initdb, pg_ctl and psql are not installed (Debian: apt-get install postgresql)",
            );
            return None;
        };
        let mut command = as_unprivileged_user();
        command.args(["sh", "-c", WATCHDOG, "watchdog"]).arg(&programs).arg(PASSWORD);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).current_dir("/");
        let mut watchdog = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(watchdog.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let folder = line.trim_end().strip_prefix("ready ").unwrap_or_else(|| panic!("initdb failed: {line}"));
        let mut server = Self { programs, folder: folder.into(), port: 0, watchdog };
        // A port below those that the system assigns, so that no other program gets it while the server is down.
        for _ in 0..50 {
            server.port = 10_000 + u16::try_from(RandomState::new().hash_one(0) % 20_000).unwrap();
            if server.try_restart() {
                return Some(server);
            }
        }
        panic!("PostgreSQL did not start: {}", fs::read_to_string(server.folder.join("log")).unwrap_or_default());
    }

    /// Returns a URL with the superuser.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres", PASSWORD, "postgres")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url_of(&self, user: &str, password: &str, database: &str) -> String {
        let password = escape(password);
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Path of the self-signed certificate for 127.0.0.1. The file is missing if `openssl` is not installed.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// Stops the server as a crash does: it writes nothing more, and must recover committed data from its log.
    pub(crate) fn kill(&self) {
        assert!(self.pg_ctl(&["stop", "-m", "immediate"]), "PostgreSQL did not stop");
    }

    /// Starts the server again, on the same port and with the same directory.
    pub(crate) fn restart(&self) {
        assert!((0..20).any(|_| self.try_restart()), "PostgreSQL did not start again");
    }

    fn try_restart(&self) -> bool {
        let folder = self.folder.display();
        let mut options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c max_connections=300 -c fsync=on",
            self.port
        );
        if self.certificate().exists() {
            let tls = format!(" -c ssl=on -c ssl_cert_file={folder}/server.pem -c ssl_key_file={folder}/server.key");
            options.push_str(&tls);
        }
        self.pg_ctl(&["start", "-o", &options])
    }

    fn pg_ctl(&self, what: &[&str]) -> bool {
        let mut command = as_unprivileged_user();
        command.arg(self.programs.join("pg_ctl")).arg("-D").arg(self.folder.join("data"));
        command.arg("-l").arg(self.folder.join("log")).arg("-w").args(what).current_dir("/");
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Suspends all processes of the server. The connections stay open.
    pub(crate) fn hang(&self) {
        self.signal("STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let main = file.lines().next().unwrap().to_owned();
        // The main process first, so that it starts no others.
        assert!(kill(signal, std::slice::from_ref(&main)), "kill -{signal} {main}");
        // Some of these may have ended in the meantime.
        kill(signal, &children(&main));
    }

    /// Runs SQL as the superuser. Returns the rows, one per line.
    pub(crate) fn sql(&self, text: &str) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-X", "-A", "-t", "-q", "-1", "-v", "ON_ERROR_STOP=1"]);
        command.args(["-p", &self.port.to_string(), "-d", "postgres"]).env("PGPASSWORD", PASSWORD);
        let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        psql.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = psql.wait_with_output().unwrap();
        assert!(output.status.success(), "{text}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Returns the directory of the newest installed version, or the one in the PATH.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = installed.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders.extend(env::split_paths(&env::var_os("PATH")?));
    folders.into_iter().find(|folder| ["initdb", "pg_ctl", "psql"].iter().all(|program| folder.join(program).exists()))
}

/// Returns a command prefix for the user `postgres` if this process is root, because PostgreSQL refuses to run as root.
pub(super) fn as_unprivileged_user() -> Command {
    let id = Command::new("id").arg("-u").output().unwrap();
    let mut command = Command::new(if id.stdout == b"0\n" { "runuser" } else { "env" });
    if id.stdout == b"0\n" {
        command.args(["-u", "postgres", "--"]);
    }
    command
}

/// Returns true if all of these processes existed.
fn kill(signal: &str, processes: &[String]) -> bool {
    Command::new("kill").arg(format!("-{signal}")).args(processes).stderr(Stdio::null()).status().unwrap().success()
}

fn children(parent: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let of_parent = |process: &String| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(parent)
    };
    all.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).filter(of_parent).collect()
}

/// Creates a cluster, waits until the starting process has closed standard input, and cleans up. A suspended server is resumed
/// first, because it could not stop otherwise.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
folder=$(mktemp -d) || exit 1
umask 077
printf '%s\n' "$2" > "$folder/password"
printf '%s\n' '[req]' 'distinguished_name = name' 'x509_extensions = own' '[name]' '[own]' \
    'subjectAltName = IP:127.0.0.1' 'basicConstraints = critical, CA:FALSE' > "$folder/request"
openssl req -x509 -config "$folder/request" -subj /CN=127.0.0.1 -days 2 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
    -keyout "$folder/server.key" -out "$folder/server.pem" 2> /dev/null || rm -f "$folder/server.pem"
if "$1/initdb" -D "$folder/data" -U postgres -A scram-sha-256 --pwfile="$folder/password" -E UTF8 --locale=C --no-sync \
    > "$folder/initdb.log" 2>&1
then echo "ready $folder"
else tr '\n' ' ' < "$folder/initdb.log"; echo
fi
cat > /dev/null
if read -r main 2> /dev/null < "$folder/data/postmaster.pid"; then
    all=$main
    for stat in /proc/[0-9]*/stat; do
        read -r process name state parent rest 2> /dev/null < "$stat" && [ "$parent" = "$main" ] && all="$all $process"
    done
    kill -CONT $all 2> /dev/null
    "$1/pg_ctl" stop -D "$folder/data" -m immediate -t 20 > /dev/null 2>&1 || kill -KILL $all 2> /dev/null
fi
rm -rf "$folder"
"#;
