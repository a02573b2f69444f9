//! The commands of an operator: lists and ends sessions and keys in the store that the instances share.

use std::{env, ffi::OsString, time::SystemTime};

use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{ClientCredentialsGrant, Clients, SessionId, StoreError, TokenEndpoint},
};

use crate::{mistakes::Mistakes, store::Store};

const USAGE: &str = "\
Usage:
  authorization_server                                     serves
  authorization_server sessions list SUBJECT               id, client, since, last used, scopes, audiences
  authorization_server sessions end ID
  authorization_server sessions end --subject SUBJECT
  authorization_server sessions end --client CLIENT_ID
  authorization_server keys list                           kid, since, alg
  authorization_server keys withdraw KID

The commands use ISSUER (or BIND) and STORE of the same environment. The values of a line are separated by tabs.
Exit status: 0; 1 if the store fails; 2 if the arguments or the environment are wrong.";

/// What the arguments ask for.
enum Command<'a> {
    ListSessions(&'a str),
    EndSession(SessionId),
    EndSessionsOfSubject(&'a str),
    EndSessionsOfClient(&'a str),
    ListKeys,
    WithdrawKey(&'a str),
}

/// Executes the command of these arguments, and returns the exit status.
pub(crate) async fn run(arguments: &[OsString]) -> i32 {
    let Some(texts) = arguments.iter().map(|argument| argument.to_str()).collect::<Option<Vec<_>>>() else {
        eprintln!("An argument is not UTF-8.\n\n{USAGE}");
        return WRONG_USE;
    };
    if texts == ["--help"] {
        println!("{USAGE}");
        return 0;
    }
    let command = match Command::parse(&texts) {
        Ok(command) => command,
        Err(found) => {
            eprintln!("{found}\n\n{USAGE}");
            return WRONG_USE;
        }
    };
    let endpoint = match endpoint().await {
        Ok(endpoint) => endpoint,
        Err((status, found)) => {
            eprintln!("{found}");
            return status;
        }
    };
    match command.execute(&endpoint).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("STORE: {error}");
            STORE_FAILS
        }
    }
}

impl<'a> Command<'a> {
    fn parse(texts: &[&'a str]) -> Result<Self, &'static str> {
        match *texts {
            ["sessions", "list", subject] if !is_option(subject) => Ok(Self::ListSessions(subject)),
            ["sessions", "end", "--subject", subject] => Ok(Self::EndSessionsOfSubject(subject)),
            ["sessions", "end", "--client", client] => Ok(Self::EndSessionsOfClient(client)),
            ["sessions", "end", id] if !is_option(id) || id.len() == 22 => {
                id.parse().map(Self::EndSession).map_err(|_| "This is not the id of a session.")
            }
            ["keys", "list"] => Ok(Self::ListKeys),
            ["keys", "withdraw", key_id] => Ok(Self::WithdrawKey(key_id)),
            _ => Err("There is no such command."),
        }
    }

    async fn execute(self, endpoint: &TokenEndpoint) -> Result<(), StoreError> {
        match self {
            Self::ListSessions(subject) => list_sessions(endpoint, subject).await?,
            Self::EndSession(id) => {
                endpoint.end_session(id).await?;
                println!("ended {id}");
            }
            Self::EndSessionsOfSubject(subject) => {
                println!("ended {}", endpoint.end_sessions_of_subject(subject).await?);
            }
            Self::EndSessionsOfClient(client) => println!("ended {}", endpoint.end_sessions_of_client(client).await?),
            Self::ListKeys => {
                for key in endpoint.published_keys().await? {
                    let jwk: serde_json::Value = serde_json::from_str(&key.jwk).unwrap_or_default();
                    let algorithm = jwk.get("alg").and_then(serde_json::Value::as_str).unwrap_or_default();
                    println!("{}\t{}\t{}", shown(&key.key_id), time(key.since.into()), shown(algorithm));
                }
            }
            Self::WithdrawKey(key_id) => {
                endpoint.withdraw_key(key_id).await?;
                println!("withdrawn {}", shown(key_id));
            }
        }
        Ok(())
    }
}

async fn list_sessions(endpoint: &TokenEndpoint, subject: &str) -> Result<(), StoreError> {
    let mut last = None;
    loop {
        let sessions = endpoint.sessions_of_subject(subject, last).await?;
        let Some(session) = sessions.last() else { return Ok(()) };
        last = Some(session.id());
        for session in &sessions {
            let scopes: Vec<_> = session.scopes().collect();
            let audiences: Vec<_> = session.audiences().collect();
            println!(
                "{}\t{}\t{}\t{}\t{}\t{}",
                session.id(),
                shown(session.client_id()),
                time(session.since()),
                time(session.last_used_at()),
                shown(&scopes.join(" ")),
                shown(&audiences.join(" "))
            );
        }
    }
}

/// Returns an endpoint that only administers the store, or the exit status and the text.
async fn endpoint() -> Result<TokenEndpoint, (i32, String)> {
    let mut mistakes = Mistakes::default();
    let bind = mistakes.optional("BIND").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let issuer = mistakes.optional("ISSUER").unwrap_or_else(|| format!("http://{bind}"));
    if env::var_os("ISSUER").is_none() && bind.ends_with(":0") {
        mistakes.add("ISSUER", "it is missing, and BIND names no port; give the issuer of the instances");
    }
    let key = mistakes.check(|_| "SIGNING_KEY", PrivateKey::generate(Algorithm::ES256));
    let clients = mistakes.check(|_| "CLIENTS", Clients::new([]));
    // No request is served and nothing is signed, so neither clients nor keys are needed.
    let builder = key.zip(clients).map(|(key, clients)| TokenEndpoint::builder(issuer, key, clients));
    let builder = builder.map(|builder| builder.grant(ClientCredentialsGrant::new()));
    if env::var("STORE").map_or(true, |store| store == "memory") {
        mistakes.add(
            "STORE",
            "memory is the memory of the serving process, which no other process can read; \
             commands need a store that instances share: Redis or PostgreSQL",
        );
    }
    if !mistakes.is_empty() {
        return Err((WRONG_USE, mistakes.to_string()));
    }
    let is_url = ["redis", "postgres"].iter().any(|kind| env::var("STORE").is_ok_and(|url| url.starts_with(kind)));
    let store = Store::read(&mut mistakes).await;
    if !mistakes.is_empty() {
        // A store that can't be reached is the usual cause.
        return Err((if is_url { STORE_FAILS } else { WRONG_USE }, mistakes.to_string()));
    }
    let endpoint = builder.and_then(|builder| mistakes.check(|_| "ISSUER", store.add_to(builder).build()));
    endpoint.ok_or_else(|| (WRONG_USE, mistakes.to_string()))
}

fn is_option(text: &str) -> bool {
    text.starts_with('-')
}

/// Returns the text without tabs, line breaks and other control characters.
fn shown(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// Returns the time in the form of RFC 3339, in UTC.
fn time(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Counts from March of a year before, so that a leap day is the last of its year. 400 years have 146,097 days.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let year = year + 400 * era;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

const STORE_FAILS: i32 = 1;
const WRONG_USE: i32 = 2;
