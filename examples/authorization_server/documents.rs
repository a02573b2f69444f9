//! Reads the settings of clients that publish their metadata themselves.

use std::{env, fs};

use tower_oauth::token_endpoint::{
    ClientDocuments, Clients, SigningKeys, TokenEndpoint, TokenEndpointBuilder, TokenFormat,
};

use crate::{clients, mistakes::Mistakes};

/// The settings of such clients.
pub(crate) struct Documents {
    hosts: String,
    scopes: Vec<String>,
    audiences: Vec<(String, TokenFormat)>,
    authorities: Option<Vec<u8>>,
    loopback: bool,
}

impl Documents {
    /// Reads the variables. Returns `None` if no host is trusted. `scopes` and `audiences` are those of the client file.
    pub(crate) fn read(
        scopes: &[String],
        audiences: &[(String, TokenFormat)],
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        if env::var_os("CLIENT_DOCUMENT_HOSTS").is_none() {
            for name in DEPENDENT.into_iter().filter(|name| env::var_os(name).is_some()) {
                mistakes.add(name, "it has no effect without CLIENT_DOCUMENT_HOSTS");
            }
        }
        let own_scopes = mistakes.optional("CLIENT_DOCUMENT_SCOPE");
        let own_audiences = mistakes.optional("CLIENT_DOCUMENT_AUDIENCES");
        let loopback = match mistakes.optional("CLIENT_DOCUMENT_LOOPBACK").as_deref() {
            None => false,
            Some("1") => true,
            Some(_) => {
                mistakes.add("CLIENT_DOCUMENT_LOOPBACK", "it is not 1; omit it outside of tests");
                false
            }
        };
        let file = mistakes.optional("CLIENT_DOCUMENT_CA");
        let authorities = file.and_then(|file| {
            let found = fs::read(&file);
            found.map_err(|error| mistakes.add("CLIENT_DOCUMENT_CA", format_args!("{file}: {error}"))).ok()
        });
        let hosts = mistakes.optional("CLIENT_DOCUMENT_HOSTS")?;
        let audiences = match own_audiences {
            Some(text) => clients::read_audiences(&text, mistakes),
            None => audiences.to_vec(),
        };
        let scopes = match &own_scopes {
            Some(names) => names.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            None => scopes.to_vec(),
        };
        let documents = Self { hosts, scopes, audiences, authorities, loopback };
        // Checks the settings, also if another one is wrong.
        let empty = mistakes.check(|_| "CLIENTS", Clients::new([]))?;
        mistakes.check(variable, documents.registry(empty))?;
        Some(documents)
    }

    /// Returns a registry with these clients, and with those that have a document on a trusted host.
    fn registry(&self, clients: Clients) -> Result<ClientDocuments, tower_oauth::ConfigError> {
        let builder = ClientDocuments::builder(clients).default_scopes(&self.scopes);
        let builder = match self.hosts.as_str() {
            "*" => builder.danger_trust_any_host(),
            hosts => builder.trust_hosts(hosts.split(',').map(str::trim)),
        };
        let builder = if self.loopback { builder.danger_allow_loopback() } else { builder };
        let builder = self.authorities.iter().fold(builder, |builder, pem| builder.root_certificates(pem.clone()));
        let audiences = self.audiences.iter();
        audiences.fold(builder, |builder, (audience, format)| builder.audience(audience, *format)).build()
    }
}

/// Returns the builder of the endpoint, for the registered clients and those with a document.
pub(crate) fn endpoint(
    issuer: String,
    keys: SigningKeys,
    clients: Clients,
    documents: Option<&Documents>,
    mistakes: &mut Mistakes,
) -> Option<TokenEndpointBuilder> {
    match documents {
        Some(documents) => {
            let clients = mistakes.check(variable, documents.registry(clients))?;
            Some(TokenEndpoint::builder(issuer, keys, clients))
        }
        None => Some(TokenEndpoint::builder(issuer, keys, clients)),
    }
}

/// Returns the variable for one of the crate's settings.
fn variable(setting: &'static str) -> &'static str {
    match setting {
        "scope" => "CLIENT_DOCUMENT_SCOPE",
        "audience" => "CLIENT_DOCUMENT_AUDIENCES",
        "root_certificates" => "CLIENT_DOCUMENT_CA",
        _ => "CLIENT_DOCUMENT_HOSTS",
    }
}

const DEPENDENT: [&str; 4] =
    ["CLIENT_DOCUMENT_SCOPE", "CLIENT_DOCUMENT_AUDIENCES", "CLIENT_DOCUMENT_CA", "CLIENT_DOCUMENT_LOOPBACK"];
