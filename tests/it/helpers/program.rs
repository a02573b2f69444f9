//! A program as a process: an example of this crate, which `cargo test` builds with the tests, or this test binary itself.
//!
//! A program gets the variables that the test gives and no others. It listens on a free port of the loopback address, its output
//! is captured, and it is killed when its [`Program`] is dropped.
#![allow(dead_code, reason = "the features decide which programs are driven")]

use std::{
    env,
    net::TcpListener,
    path::PathBuf,
    process::{Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use reqwest::{Client, redirect};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::support::{Answer, not_run};

/// In the value of a variable, stands for the program's own origin, such as `http://127.0.0.1:3000`.
pub(crate) const ORIGIN: &str = "{origin}";
/// Tests put this word into each secret that a program gets. No program may print it.
pub(crate) const SECRET: &str = "hush";
const HOST: &str = "127.0.0.1:";
const TIME_TO_START: Duration = Duration::from_secs(30);
const TIME_TO_END: Duration = Duration::from_secs(10);

/// A running program.
pub(crate) struct Program {
    name: String,
    /// `None` if the output up to the awaited line has no address.
    address: Option<String>,
    /// The lines of standard output and standard error, in the order in which they came.
    output: watch::Receiver<Vec<String>>,
    process: Child,
    client: OnceLock<Client>,
}

/// What a program gets before it starts.
pub(crate) struct Launch {
    name: String,
    path: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    scheme: String,
    input: String,
}

/// What a program did that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// An example of this crate, at a free port.
    pub(crate) fn example(name: &str) -> Launch {
        let tests = env::current_exe().unwrap();
        let path = tests.parent().and_then(|folder| folder.parent()).unwrap().join("examples").join(name);
        let path = path.with_extension(env::consts::EXE_EXTENSION);
        Launch::new(name, path).set("BIND", "127.0.0.1:0")
    }

    /// One test of this binary, as a process of its own.
    pub(crate) fn test(name: &str) -> Launch {
        Launch::new(name, env::current_exe().unwrap()).arguments(&["--exact", name, "--nocapture"])
    }

    /// Returns the address that the program listens on, such as `127.0.0.1:3000`.
    #[track_caller]
    pub(crate) fn address(&self) -> &str {
        self.address.as_deref().unwrap_or_else(|| panic!("{} prints no address:\n{}", self.name, self.log()))
    }

    /// Returns the URL of a path.
    #[track_caller]
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Returns the lines that the program has printed so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.output.borrow().clone()
    }

    /// Returns what the program has printed so far.
    pub(crate) fn log(&self) -> String {
        self.output.borrow().join("\n")
    }

    /// Returns the lines that begin like this.
    pub(crate) fn lines_with_start(&self, start: &str) -> Vec<String> {
        self.output.borrow().iter().filter(|line| line.starts_with(start)).cloned().collect()
    }

    /// Waits until the program has printed a line that contains the text. Returns the first such line.
    pub(crate) async fn line_with(&self, text: &str) -> String {
        match wait_for(&mut self.output.clone(), text).await {
            Ok(line) => line,
            Err(why) => panic!("{} {why} and has not printed {text:?}:\n{}", self.name, self.log()),
        }
    }

    /// Sends a request, and returns the response, whose body must be text. Follows no redirect.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let client = self.client.get_or_init(|| {
            let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(TIME_TO_START);
            client.build().unwrap()
        });
        let request = client.request(method.parse().unwrap(), self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = if body.is_empty() { request } else { request.body(body.to_owned()) };
        let response =
            request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}\n{}", self.log()));
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    /// `GET path` with these headers.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, "").await
    }

    /// Posts a form.
    pub(crate) async fn post_form(&self, path: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let headers = [&[("content-type", "application/x-www-form-urlencoded")], headers].concat();
        self.send("POST", path, &headers, &form).await
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.process.id().unwrap_or_else(|| panic!("{} has ended:\n{}", self.name, self.log())).to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }

    /// Sends a signal, such as `TERM`, on which the program must end with status 0. Returns everything that it has printed, which
    /// must not contain [`SECRET`].
    pub(crate) async fn stop(mut self, signal: &str) -> String {
        self.signal(signal).await;
        let status = timeout(TIME_TO_END, self.process.wait()).await;
        let status =
            status.unwrap_or_else(|_| panic!("{signal} does not stop {}:\n{}", self.name, self.log())).unwrap();
        assert_eq!(status.code(), Some(0), "{} ended with {status} on {signal}:\n{}", self.name, self.log());
        self.read_to_end().await;
        assert!(!self.log().contains(SECRET), "{} prints a secret:\n{}", self.name, self.log());
        self.log()
    }

    /// Kills the program, and returns when it has ended.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    async fn read_to_end(&mut self) {
        let closed = async { while self.output.changed().await.is_ok() {} };
        timeout(TIME_TO_END, closed).await.expect("its output ends with the process");
    }
}

impl Launch {
    fn new(name: &str, path: PathBuf) -> Self {
        let (arguments, variables) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), path, arguments, variables, scheme: "http".to_owned(), input: String::new() }
    }

    /// Sets a variable. The last value counts.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets variables.
    pub(crate) fn settings(self, variables: &[(&str, &str)]) -> Self {
        variables.iter().fold(self, |launch, (name, value)| launch.set(name, value))
    }

    /// Removes a variable that the examples get.
    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Sets the scheme of [`ORIGIN`]. Default: `http`.
    pub(crate) fn scheme(mut self, scheme: &str) -> Self {
        scheme.clone_into(&mut self.scheme);
        self
    }

    /// Sets what the program reads from standard input, for [`ends`](Self::ends).
    pub(crate) fn input(mut self, text: &str) -> Self {
        text.clone_into(&mut self.input);
        self
    }

    /// Starts the program, and waits until it prints a line that contains the text. Returns `None` and reports it if the program
    /// was not built.
    pub(crate) async fn start(self, ready: &str) -> Option<Program> {
        if !self.was_built() {
            return None;
        }
        let knows_its_port = self.variables.iter().any(|(_, value)| value.contains(ORIGIN));
        // Another program may take a port that was free.
        for attempt in 1.. {
            let port = knows_its_port.then(free_port);
            let mut process = self.command(port).stdin(Stdio::null()).spawn().unwrap();
            let (lines, mut output) = watch::channel(Vec::new());
            read_lines(process.stdout.take().unwrap(), lines.clone());
            read_lines(process.stderr.take().unwrap(), lines);
            let started = wait_for(&mut output, ready).await;
            let address = {
                let lines = output.borrow();
                let last = lines.iter().position(|line| line.contains(ready)).map_or(0, |at| at + 1);
                lines[..last].iter().rev().find_map(|line| address(line))
            };
            let program = Program { name: self.name.clone(), address, output, process, client: OnceLock::new() };
            let Err(why) = started else { return Some(program) };
            let may_try_again = knows_its_port && attempt < 5 && program.log().contains("cannot listen");
            assert!(may_try_again, "{} {why} and has not printed {ready:?}:\n{}", self.name, program.log());
        }
        None
    }

    /// Runs the program until it ends by itself. Returns `None` and reports it if the program was not built.
    pub(crate) async fn ends(self) -> Option<Ended> {
        if !self.was_built() {
            return None;
        }
        let run = async {
            let mut process = self.command(None).stdin(Stdio::piped()).spawn().unwrap();
            // The program may end without reading.
            process.stdin.take().unwrap().write_all(self.input.as_bytes()).await.ok();
            process.wait_with_output().await.unwrap()
        };
        let run = timeout(TIME_TO_START, run).await;
        let Output { status, stdout, stderr } = run.unwrap_or_else(|_| panic!("{} does not end", self.name));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Some(Ended { status: status.code(), stdout: text(stdout), stderr: text(stderr) })
    }

    /// Runs the program, which must end at once with status 2. It must report each of these mistakes on a line of its own, which
    /// begins with one of these texts, and must not print [`SECRET`]. Returns the messages. Returns `None` and reports it if the
    /// program was not built.
    pub(crate) async fn refuses_to_start(self, mistakes: &[&str]) -> Option<String> {
        let Ended { status, stdout, stderr } = self.ends().await?;
        assert_eq!(status, Some(2), "{stderr}");
        assert!(stdout.is_empty(), "{stdout}");
        for mistake in mistakes {
            assert!(stderr.contains(&format!("\n{mistake}")), "{mistake:?} is missing in:\n{stderr}");
        }
        assert!(!stderr.contains(SECRET), "the program prints a secret:\n{stderr}");
        Some(stderr)
    }

    /// Returns the path of the program. Returns `None` and reports it if the program was not built.
    pub(crate) fn built(self) -> Option<PathBuf> {
        self.was_built().then_some(self.path)
    }

    fn was_built(&self) -> bool {
        let built = self.path.is_file();
        if !built {
            let missing = "the example programs (cargo build --all-features --examples)";
            not_run(&format!("the program {}", self.name), missing);
        }
        built
    }

    /// Returns the command, which listens on this port if its variables name the origin.
    fn command(&self, port: Option<u16>) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Without it, Windows opens no sockets.
        command.envs(env::var_os("SystemRoot").map(|root| ("SystemRoot", root)));
        let address = port.map(|port| format!("127.0.0.1:{port}"));
        let origin = address.as_ref().map(|address| format!("{}://{address}", self.scheme)).unwrap_or_default();
        command.envs(self.variables.iter().map(|(name, value)| (name, value.replace(ORIGIN, &origin))));
        command.envs(address.map(|address| ("BIND", address)));
        command
    }
}

/// Pastes a command with `curl -i` into a shell, as a user does. It must succeed within ten seconds. Returns the response that it
/// prints, or `None` and reports it if curl is missing.
pub(crate) async fn paste(line: &str) -> Option<Answer> {
    let installed = Command::new("curl").arg("--version").output().await.is_ok_and(|output| output.status.success());
    if !installed {
        not_run("the command lines that programs print", "curl is not installed (Debian: apt-get install curl)");
        return None;
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env("no_proxy", "127.0.0.1").env("NO_PROXY", "127.0.0.1");
    let output = shell.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(TIME_TO_END, output).await.unwrap_or_else(|_| panic!("it does not end: {line}")).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{line}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Some(Answer {
        status: status.unwrap_or_else(|| panic!("{text}")),
        headers: headers.collect(),
        body: body.to_owned(),
    })
}

/// Reads the lines until the end, so that the program never waits for a full pipe.
fn read_lines(pipe: impl AsyncRead + Send + Unpin + 'static, lines: watch::Sender<Vec<String>>) {
    let mut pipe = BufReader::new(pipe);
    tokio::spawn(async move {
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines.send_modify(|lines| lines.push(text));
            line.clear();
        }
    });
}

/// Waits for a line that contains the text. If it does not come, returns why.
async fn wait_for(output: &mut watch::Receiver<Vec<String>>, text: &str) -> Result<String, &'static str> {
    let has_it = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
    match timeout(TIME_TO_START, output.wait_for(has_it)).await {
        Ok(Ok(lines)) => lines.iter().find(|line| line.contains(text)).cloned().ok_or("lost the line"),
        Ok(Err(_)) => Err("ended"),
        Err(_) => Err("has run for 30 s"),
    }
}

/// Returns the first address of the loopback interface in this line, or the one that it calls the listening one.
fn address(line: &str) -> Option<String> {
    let line = line.split_once("listening on ").map_or(line, |(_, rest)| rest);
    line.match_indices(HOST).find_map(|(start, _)| {
        let port = &line[start + HOST.len()..];
        let end = port.find(|next: char| !next.is_ascii_digit()).unwrap_or(port.len());
        (end > 0).then(|| format!("{HOST}{}", &port[..end]))
    })
}

/// Returns a port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
