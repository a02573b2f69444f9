//! Everything that the environment decides, or all that is wrong with it.

use std::{env, io, io::IsTerminal as _, sync::Arc};

use http::Uri;
use tokio::net::TcpListener;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, ClientCredentialsGrant, Clients, PostgresStore, RedisStore, RefreshTokenGrant,
        TokenEndpoint, TokenEndpointBuilder,
    },
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    Host,
    clients::{self, Registered},
    csrf::Csrf,
    mistakes::Mistakes,
    signing_key,
    users::Users,
};

/// What is ready to be served.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) host: Host,
    /// The path of the page.
    pub(crate) page: String,
    /// In a line, without a secret.
    pub(crate) told: String,
}

pub(crate) async fn read() -> Result<Server, Mistakes> {
    let mut wrong = Mistakes::default();
    log(&mut wrong);
    let (listener, address, issuer) = place(&mut wrong).await;
    let file = wrong.required("CLIENTS", "clients.json");
    let Registered { clients, names, scopes } =
        file.as_deref().map(|file| clients::read(file, &mut wrong)).unwrap_or_default();
    let users = wrong.optional("USERS").unwrap_or_default();
    let logs_in = clients.iter().find(|client| client.may_use("authorization_code"));
    if let Some(client) = logs_in.filter(|_| env::var_os("USERS").is_none()) {
        let example = "USERS=ada:a-password";
        wrong.add(
            "USERS",
            format_args!("it is missing, and client {:?} asks users; give for instance {example}", client.id()),
        );
    }
    let users = Users::read(&users, &clients, &mut wrong);
    let store = Store::read(&mut wrong).await;
    let (algorithm, key) = signing_key(&mut wrong, &store, file.as_deref());
    let own = format!("http://{address}") == issuer;
    let listening = if own { String::new() } else { format!(", listening on {address}") };
    let told = format!("{issuer} ({algorithm}, store: {}, {} clients{listening})", store.name(), clients.len());
    // What stands in for a wrong setting lets the rest be looked at too.
    let clients = Clients::new(if wrong.is_empty() { clients } else { Vec::new() });
    let clients = wrong.check(|_| "CLIENTS", clients);
    let csrf = key.as_ref().and_then(|key| wrong.check(|_| "SIGNING_KEY", Csrf::new(key, &issuer)));
    let page = format!("{}/authorize", issuer.trim_end_matches('/'));
    let path = page.parse::<Uri>().map(|page| page.path().to_owned()).unwrap_or_default();
    let key = key.or_else(|| PrivateKey::generate(Algorithm::ES256).ok());
    let builder = key.zip(clients).map(|(key, clients)| TokenEndpoint::builder(issuer, key, clients));
    let endpoint = builder.and_then(|builder| {
        let builder = store.put_into(builder).scopes_supported(scopes).grant(AuthorizationCodeGrant::new(page));
        let endpoint = builder.grant(ClientCredentialsGrant::new()).grant(RefreshTokenGrant::new()).build();
        wrong.check(|_| "ISSUER", endpoint)
    });
    match (listener, endpoint, csrf) {
        (Some(listener), Some(endpoint), Some(csrf)) if wrong.is_empty() => {
            let host = Host { endpoint, users: Arc::new(users), csrf: Arc::new(csrf), names: Arc::new(names) };
            Ok(Server { listener, host, page: path, told })
        }
        _ => Err(wrong),
    }
}

fn log(wrong: &mut Mistakes) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env();
    let filter = filter.map_err(|error| wrong.add("RUST_LOG", error)).unwrap_or_default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).init();
}

/// Where it listens, as it is written there but with the port that the system chose for 0, and what it calls itself.
async fn place(wrong: &mut Mistakes) -> (Option<TcpListener>, String, String) {
    let bind = wrong.optional("BIND").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(&bind).await;
    let listener = listener.map_err(|error| wrong.add("BIND", format_args!("cannot listen on {bind:?}: {error}"))).ok();
    let host = bind.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
    let port = listener.as_ref().and_then(|listener| listener.local_addr().ok()).map_or(8080, |address| address.port());
    let address = format!("{host}:{port}");
    let issuer = wrong.optional("ISSUER").unwrap_or_else(|| format!("http://{address}"));
    (listener, address, issuer)
}

fn signing_key(wrong: &mut Mistakes, store: &Store, clients: Option<&str>) -> (Algorithm, Option<PrivateKey>) {
    let name = wrong.optional("SIGNING_ALG").unwrap_or_else(|| "ES256".to_owned());
    let algorithm = ALGORITHMS.into_iter().find(|algorithm| algorithm.name() == name);
    let Some(algorithm) = algorithm else {
        wrong.add("SIGNING_ALG", format_args!("{name:?} is none of ES256, RS256, PS256 and EdDSA"));
        return (Algorithm::ES256, None);
    };
    // What was issued before a restart, or by another instance, is checked with the same key.
    let beside = || Some(format!("{}.{}.pem", clients?, algorithm.name().to_lowercase()));
    let lasting = !matches!(store, Store::Memory);
    let file = wrong.optional("SIGNING_KEY").or_else(|| if lasting { beside() } else { None });
    let key = match file {
        Some(file) => signing_key::keep(&file, algorithm).map_err(|found| wrong.add("SIGNING_KEY", found)).ok(),
        None => wrong.check(|_| "SIGNING_ALG", PrivateKey::generate(algorithm)),
    };
    (algorithm, key)
}

/// Where what was issued is remembered.
enum Store {
    Memory,
    Redis(RedisStore),
    Postgres(PostgresStore),
}

impl Store {
    /// Asks the other two whether they are there.
    async fn read(wrong: &mut Mistakes) -> Self {
        let url = wrong.optional("STORE").unwrap_or_else(|| "memory".to_owned());
        let found = match url.split_once("://").map_or(&*url, |(scheme, _)| scheme) {
            "memory" if url == "memory" => Ok(Self::Memory),
            "redis" | "rediss" | "redis+unix" => RedisStore::builder(url).connect().await.map(Self::Redis),
            "postgres" | "postgresql" => PostgresStore::builder(url).connect().await.map(Self::Postgres),
            // Never quoted: there may be a password in it.
            _ => {
                wrong.add("STORE", "it is neither memory nor a redis://, rediss://, postgres:// or postgresql:// URL");
                Ok(Self::Memory)
            }
        };
        wrong.check(|_| "STORE", found).unwrap_or(Self::Memory)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis(_) => "Redis",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    fn put_into(self, builder: TokenEndpointBuilder) -> TokenEndpointBuilder {
        match self {
            Self::Memory => builder,
            Self::Redis(store) => builder.store(store),
            Self::Postgres(store) => builder.store(store),
        }
    }
}

const ALGORITHMS: [Algorithm; 4] = [Algorithm::ES256, Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA];
