//! The tickets of all hosts. Everything belongs to the host and the user of the session, never to those that a request names.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use serde::Deserialize;
use tower_oauth::{Claims, Scoped};

tower_oauth::scopes! {
    /// The tickets of one user.
    UserAccess = "user";
    /// All tickets of a host.
    HostAccess = "host";
}

/// Host, user and text. The oldest ticket is removed when there are `MOST`.
type Tickets = Arc<Mutex<VecDeque<[String; 3]>>>;

const MOST: usize = 1000;

#[derive(Deserialize)]
struct User {
    sub: String,
    host: String,
}

#[derive(Deserialize)]
struct Host {
    host: String,
}

async fn my_tickets(_: Scoped<UserAccess>, Claims(user): Claims<User>, State(tickets): State<Tickets>) -> String {
    let mine = list(&tickets, |host, owner| (host, owner) == (&user.host, &user.sub));
    format!("the tickets of {} at {}:\n{mine}", user.sub, user.host)
}

async fn all_tickets(
    _: Scoped<HostAccess>,
    Claims(Host { host }): Claims<Host>,
    State(tickets): State<Tickets>,
) -> String {
    format!("all tickets of {host}:\n{}", list(&tickets, |of, _| of == host))
}

/// Opens a ticket of the user. The body is its text.
async fn open_ticket(
    _: Scoped<UserAccess>,
    Claims(user): Claims<User>,
    State(tickets): State<Tickets>,
    text: String,
) -> (StatusCode, String) {
    let answer = format!("a new ticket of {} at {}\n", user.sub, user.host);
    let mut tickets = tickets.lock().unwrap_or_else(PoisonError::into_inner);
    tickets.truncate(MOST - 1);
    tickets.push_front([user.host, user.sub, text]);
    (StatusCode::CREATED, answer)
}

fn list(tickets: &Tickets, of: impl Fn(&str, &str) -> bool) -> String {
    let tickets = tickets.lock().unwrap_or_else(PoisonError::into_inner);
    let found = tickets.iter().filter(|[host, user, _]| of(host, user));
    found.flat_map(|[_, user, text]| [user, ": ", text, "\n"]).collect()
}

pub(crate) fn routes() -> Router {
    let routes =
        Router::new().route("/tickets/mine", get(my_tickets).post(open_ticket)).route("/tickets", get(all_tickets));
    routes.with_state(Tickets::default())
}
