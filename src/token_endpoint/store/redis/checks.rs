//! The checks at start-up.
//!
//! *In*: the settings of a store. *Out*: what is wrong with them or with the server, and what to change.
//!
//! No text contains the URL or a password.

use std::{error::Error, time::Duration};

use ::redis::{RedisError, cmd};
use tokio::time::timeout;

use super::{super::StoreError, script};
use crate::{
    config_error::{ConfigError, ConfigMistake},
    redis_link::{Link, NOT_REDIS, SETTING, eviction, field, infos, mistake},
};

/// Loads all scripts into each master: a script that a server can't compile is reported now.
pub(super) async fn load_scripts(link: &Link, server: &str, limit: Duration) -> Result<(), ConfigError> {
    for script in script::all() {
        let command = cmd("SCRIPT").arg("LOAD").arg(script.text).to_owned();
        let replies = timeout(limit, link.ask_masters(command)).await.map_err(|_| silent(server, limit))?;
        for (address, reply) in replies.map_err(|error| mistake(&error, server, limit))? {
            let server = if address.is_empty() { server } else { &address };
            reply.extract_error().map_err(|error| mistake(&error, server, limit))?;
        }
    }
    Ok(())
}

/// Checks the eviction policy of each master.
pub(super) async fn check_eviction(link: &Link, limit: Duration) -> Result<(), ConfigError> {
    match eviction(link, limit).await {
        Some(found) => {
            let found = format!("{found}, which drops tokens and used codes when memory is full");
            let change = "set maxmemory-policy to noeviction, or use danger_accept_eviction";
            Err(ConfigMistake::new(SETTING, found, change).into())
        }
        None => Ok(()),
    }
}

/// Checks that each master has as many replicas as writes wait for.
pub(super) async fn check_replicas(link: &Link, server: &str, count: u32, limit: Duration) -> Result<(), ConfigError> {
    for (address, info) in infos(link, "replication", limit).await {
        let server = if address.is_empty() { server } else { &address };
        let connected = field(&info, "connected_slaves").and_then(|number| number.parse::<u32>().ok());
        if let Some(connected) = connected
            && connected < count
        {
            let found = format!("{server} has {connected} replicas, and each write would wait for {count}");
            let change = "connect the replicas, or lower the number";
            return Err(ConfigMistake::new("wait_for_replicas", found, change).into());
        }
    }
    Ok(())
}

/// Describes why a script failed.
pub(super) fn script_mistake(error: &StoreError, server: &str, limit: Duration) -> ConfigError {
    match error.source().and_then(|source| source.downcast_ref::<RedisError>()) {
        Some(error) => mistake(error, server, limit),
        None => ConfigMistake::new(SETTING, format!("{server} does not run the store's scripts: {error}"), NOT_REDIS),
    }
    .into()
}

fn silent(server: &str, limit: Duration) -> ConfigMistake {
    let found = format!("{server} did not reply within {limit:?}");
    ConfigMistake::new(SETTING, found, "check the server, or increase the timeout")
}
