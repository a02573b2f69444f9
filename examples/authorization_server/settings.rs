//! Reads the settings of the program from the environment.

use std::{env, sync::Arc};

use http::Uri;
use tokio::net::TcpListener;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{AuthorizationCodeGrant, Client, ClientCredentialsGrant, Clients, RefreshTokenGrant, SigningKeys},
};

use crate::{
    authorize::Host,
    clients::{self, Registered},
    csrf::Csrf,
    documents::{self, Documents},
    dpop::Dpop,
    log::start_log,
    mistakes::Mistakes,
    signing_key,
    signing_keys::KeyFolder,
    store::Store,
    users::Users,
};

/// Everything that the environment decides.
pub(crate) struct Settings {
    pub(crate) listener: TcpListener,
    pub(crate) host: Host,
    /// The path of the page for login and consent.
    pub(crate) page_path: String,
    /// The folder of signing keys, if there is one.
    pub(crate) key_folder: Option<KeyFolder>,
    /// Describes the server in one line, without secrets.
    pub(crate) summary: String,
}

/// Reads all settings, or returns every mistake in them.
pub(crate) async fn read() -> Result<Settings, Mistakes> {
    let mut mistakes = Mistakes::default();
    start_log(&mut mistakes);
    let (listener, address, issuer) = read_address(&mut mistakes).await;
    let file = mistakes.required("CLIENTS", "clients.json");
    let Registered { clients, names, scopes, audiences, bound } =
        file.as_deref().map(|file| clients::read(file, &mut mistakes)).unwrap_or_default();
    let dpop = Dpop::read(&bound, &mut mistakes);
    let users = read_users(&clients, &mut mistakes);
    let documents = Documents::read(&scopes, &audiences, &mut mistakes);
    let store = Store::read(&mut mistakes).await;
    let (algorithm, keys) = read_signing_keys(&mut mistakes, &store, file.as_deref());
    let listening =
        if issuer == format!("http://{address}") { String::new() } else { format!(", listening on {address}") };
    let summary = format!("{issuer} ({algorithm}, store: {}, {} clients{listening})", store.name(), clients.len());
    // A placeholder for each wrong setting, so that the other settings are checked too.
    let clients = Clients::new(if mistakes.is_empty() { clients } else { Vec::new() });
    let clients = mistakes.check(|_| "CLIENTS", clients);
    let origins = mistakes.optional(ALLOW_ORIGINS);
    let json = read_switch("JSON", &mut mistakes);
    let csrf = keys.as_ref().map(|keys| Csrf::new(&keys.secret, &issuer));
    let page = format!("{}/authorize", issuer.trim_end_matches('/'));
    let page_path = page.parse::<Uri>().map(|page| page.path().to_owned()).unwrap_or_default();
    let (keys, key_folder) = match keys {
        Some(keys) => (Some(keys.signing), keys.folder),
        None => (PrivateKey::generate(Algorithm::ES256).ok().map(SigningKeys::new), None),
    };
    let builder = keys
        .zip(clients)
        .and_then(|(keys, clients)| documents::endpoint(issuer, keys, clients, documents.as_ref(), &mut mistakes));
    let endpoint = builder.and_then(|builder| {
        // Many clients look for the metadata only at this address.
        let builder = store.add_to(builder).scopes_supported(scopes).metadata_at_openid_configuration();
        let builder = if json { builder.accept_json() } else { builder };
        let builder = match origins.as_deref() {
            Some("*") => builder.allow_any_origin(),
            Some(origins) => builder.allow_origins(origins.split(',').map(str::trim)),
            None => builder,
        };
        let builder = builder.grant(ClientCredentialsGrant::new()).grant(AuthorizationCodeGrant::new(page));
        let endpoint = dpop.add_to(builder).grant(RefreshTokenGrant::new()).build();
        mistakes.check(|setting| if setting == "allow_origins" { ALLOW_ORIGINS } else { "ISSUER" }, endpoint)
    });
    match (listener, endpoint, csrf) {
        (Some(listener), Some(endpoint), Some(csrf)) if mistakes.is_empty() => {
            let host = Host { endpoint, users: Arc::new(users), csrf: Arc::new(csrf), names: Arc::new(names) };
            Ok(Settings { listener, host, page_path, key_folder, summary })
        }
        _ => Err(mistakes),
    }
}

/// Returns whether a variable is `on`. Default: off.
pub(crate) fn read_switch(name: &str, mistakes: &mut Mistakes) -> bool {
    let value = mistakes.optional(name);
    if let Some(other) = value.as_deref().filter(|value| !["on", "off"].contains(value)) {
        mistakes.add(name, format_args!("{other:?} is neither on nor off"));
    }
    value.as_deref() == Some("on")
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

/// The keys of this instance.
pub(crate) struct Keys {
    pub(crate) signing: SigningKeys,
    /// The oldest key in PEM. Instances with the same one accept each other's forms.
    pub(crate) secret: String,
    pub(crate) folder: Option<KeyFolder>,
}

fn read_signing_keys(mistakes: &mut Mistakes, store: &Store, clients: Option<&str>) -> (Algorithm, Option<Keys>) {
    let name = mistakes.optional("SIGNING_ALG").unwrap_or_else(|| "ES256".to_owned());
    let algorithm = ALGORITHMS.into_iter().find(|algorithm| algorithm.as_str() == name);
    let Some(algorithm) = algorithm else {
        mistakes.add("SIGNING_ALG", format_args!("{name:?} is none of ES256, RS256, PS256 and EdDSA"));
        return (Algorithm::ES256, None);
    };
    if let Some(folder) = mistakes.optional("SIGNING_KEYS") {
        if env::var_os("SIGNING_KEY").is_some() {
            mistakes.add("SIGNING_KEYS", "SIGNING_KEY is set as well; give only one of them");
        }
        return (algorithm, KeyFolder::read(&folder, algorithm, mistakes));
    }
    // With a durable store, the forms and tokens of an instance are valid after a restart. So the key is in a file.
    let file_of_clients = || Some(format!("{}.{}.pem", clients?, algorithm.as_str().to_lowercase()));
    let file = mistakes.optional("SIGNING_KEY").or_else(|| if store.is_durable() { file_of_clients() } else { None });
    let (setting, key) = match file {
        Some(file) => {
            let key = signing_key::load_or_create(&file, algorithm);
            ("SIGNING_KEY", key.map_err(|found| mistakes.add("SIGNING_KEY", found)).ok())
        }
        None => ("SIGNING_ALG", mistakes.check(|_| "SIGNING_ALG", PrivateKey::generate(algorithm))),
    };
    let keys = key.and_then(|key| {
        let secret = mistakes.check(|_| setting, key.expose_pkcs8_pem())?;
        Some(Keys { signing: SigningKeys::new(key), secret, folder: None })
    });
    (algorithm, keys)
}

const ALLOW_ORIGINS: &str = "ALLOW_ORIGINS";
const ALGORITHMS: [Algorithm; 4] = [Algorithm::ES256, Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA];
