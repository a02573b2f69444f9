//! Reads the settings of the program from the environment.

use std::{env, sync::Arc};

use http::Uri;
use tokio::net::TcpListener;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientCredentialsGrant, Clients, RefreshTokenGrant, TokenEndpoint,
    },
};

use crate::{
    Host,
    clients::{self, Registered},
    csrf::Csrf,
    log::start_log,
    mistakes::Mistakes,
    signing_key,
    store::Store,
    users::Users,
};

/// Everything that the environment decides.
pub(crate) struct Settings {
    pub(crate) listener: TcpListener,
    pub(crate) host: Host,
    /// The path of the page for login and consent.
    pub(crate) page_path: String,
    /// Describes the server in one line, without secrets.
    pub(crate) summary: String,
}

/// Reads all settings, or returns every mistake in them.
pub(crate) async fn read() -> Result<Settings, Mistakes> {
    let mut mistakes = Mistakes::default();
    start_log(&mut mistakes);
    let (listener, address, issuer) = read_address(&mut mistakes).await;
    let file = mistakes.required("CLIENTS", "clients.json");
    let Registered { clients, names, scopes } =
        file.as_deref().map(|file| clients::read(file, &mut mistakes)).unwrap_or_default();
    let users = read_users(&clients, &mut mistakes);
    let store = Store::read(&mut mistakes).await;
    let (algorithm, key) = read_signing_key(&mut mistakes, &store, file.as_deref());
    let listening =
        if issuer == format!("http://{address}") { String::new() } else { format!(", listening on {address}") };
    let summary = format!("{issuer} ({algorithm}, store: {}, {} clients{listening})", store.name(), clients.len());
    // A placeholder for each wrong setting, so that the other settings are checked too.
    let clients = Clients::new(if mistakes.is_empty() { clients } else { Vec::new() });
    let clients = mistakes.check(|_| "CLIENTS", clients);
    let csrf = key.as_ref().and_then(|key| mistakes.check(|_| "SIGNING_KEY", Csrf::new(key, &issuer)));
    let page = format!("{}/authorize", issuer.trim_end_matches('/'));
    let page_path = page.parse::<Uri>().map(|page| page.path().to_owned()).unwrap_or_default();
    let key = key.or_else(|| PrivateKey::generate(Algorithm::ES256).ok());
    let builder = key.zip(clients).map(|(key, clients)| TokenEndpoint::builder(issuer, key, clients));
    let endpoint = builder.and_then(|builder| {
        // Many clients look for the metadata only at this address.
        let builder = store.add_to(builder).scopes_supported(scopes).metadata_at_openid_configuration();
        let builder = builder.grant(ClientCredentialsGrant::new()).grant(AuthorizationCodeGrant::new(page));
        let endpoint = builder.grant(RefreshTokenGrant::new()).build();
        mistakes.check(|_| "ISSUER", endpoint)
    });
    match (listener, endpoint, csrf) {
        (Some(listener), Some(endpoint), Some(csrf)) if mistakes.is_empty() => {
            let host = Host { endpoint, users: Arc::new(users), csrf: Arc::new(csrf), names: Arc::new(names) };
            Ok(Settings { listener, host, page_path, summary })
        }
        _ => Err(mistakes),
    }
}

/// Returns the listener, its address and the issuer. The address is `BIND`, with the actual port if that is 0.
async fn read_address(mistakes: &mut Mistakes) -> (Option<TcpListener>, String, String) {
    let bind = mistakes.optional("BIND").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(&bind).await;
    let listener =
        listener.map_err(|error| mistakes.add("BIND", format_args!("cannot listen on {bind:?}: {error}"))).ok();
    let host = bind.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
    let port = listener.as_ref().and_then(|listener| listener.local_addr().ok()).map_or(8080, |address| address.port());
    let address = format!("{host}:{port}");
    let issuer = mistakes.optional("ISSUER").unwrap_or_else(|| format!("http://{address}"));
    (listener, address, issuer)
}

/// Returns the users. `USERS` is required if a client may use the page.
fn read_users(clients: &[Client], mistakes: &mut Mistakes) -> Users {
    let users = mistakes.optional("USERS").unwrap_or_default();
    let client = clients.iter().find(|client| client.may_use("authorization_code"));
    if let Some(client) = client.filter(|_| env::var_os("USERS").is_none()) {
        let found = format_args!(
            "it is missing, and client {:?} requires users; give for instance ada:a-password",
            client.id()
        );
        mistakes.add("USERS", found);
    }
    Users::read(&users, clients, mistakes)
}

fn read_signing_key(mistakes: &mut Mistakes, store: &Store, clients: Option<&str>) -> (Algorithm, Option<PrivateKey>) {
    let name = mistakes.optional("SIGNING_ALG").unwrap_or_else(|| "ES256".to_owned());
    let algorithm = ALGORITHMS.into_iter().find(|algorithm| algorithm.as_str() == name);
    let Some(algorithm) = algorithm else {
        mistakes.add("SIGNING_ALG", format_args!("{name:?} is none of ES256, RS256, PS256 and EdDSA"));
        return (Algorithm::ES256, None);
    };
    // With a durable store, all instances need the same key, also after a restart. So the key is in a file.
    let file_of_clients = || Some(format!("{}.{}.pem", clients?, algorithm.as_str().to_lowercase()));
    let file = mistakes.optional("SIGNING_KEY").or_else(|| if store.is_durable() { file_of_clients() } else { None });
    let key = match file {
        Some(file) => {
            signing_key::load_or_create(&file, algorithm).map_err(|found| mistakes.add("SIGNING_KEY", found)).ok()
        }
        None => mistakes.check(|_| "SIGNING_ALG", PrivateKey::generate(algorithm)),
    };
    (algorithm, key)
}

const ALGORITHMS: [Algorithm; 4] = [Algorithm::ES256, Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA];
