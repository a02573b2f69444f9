//! The scripts, and a call of one.
//!
//! *In*: keys and arguments. *Out*: the command for Redis, and the strings of its reply.

use std::{sync::LazyLock, time::Instant};

use ::redis::{Cmd, Script, Value, cmd};

use super::{
    super::{StoreError, Timestamp},
    keys::{EntryKind, Tag},
    unreadable,
};

/// A Lua script, which Redis executes atomically.
pub(super) struct LuaScript {
    pub(super) text: &'static str,
    hash: String,
}

impl LuaScript {
    fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }
}

/// Defines the scripts: each is made of a common beginning and the named files.
macro_rules! scripts {
    ($($name:ident: $($file:literal)+;)+) => {
        $(pub(super) static $name: LazyLock<LuaScript> = LazyLock::new(|| {
            LuaScript::new(concat!(include_str!("lua/prelude.lua"), $(include_str!(concat!("lua/", $file, ".lua")),)+))
        });)+

        /// Returns all scripts.
        pub(super) fn all() -> Vec<&'static LuaScript> {
            vec![$(&$name),+]
        }
    };
}

scripts! {
    ADD_CODE: "add_code";
    FIND_CODE: "find_code";
    REDEEM: "session" "redeem";
    FIND_SESSION: "find_session";
    REFRESH: "session" "refresh";
    ISSUE: "owner" "issue";
    FIND_ACCESS: "find_access";
    REVOKE_ACCESS: "revoke_access";
    END_SESSION: "session" "end_session";
    ENLIST: "owner" "enlist";
    UNLIST: "unlist";
    ADD_TO_INDEX: "add_to_index";
    READ_INDEX: "read_index";
    READ_SESSION: "read_session";
    BEGIN_SEEN: "begin_seen";
    FINISH_SEEN: "finish_seen";
    PUBLISH_KEY: "keys" "publish_key";
    WITHDRAW_KEY: "keys" "withdraw_key";
    LIST_KEYS: "keys" "list_keys";
    FIND_CLIENT: "find_client";
    SAVE_CLIENT: "save_client";
    REMOVE_CLIENT: "remove_client";
    LIST_CLIENTS: "list_clients";
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// A read.
    Read,
    /// A write that must not be executed after this moment.
    Write(Instant),
    /// A write that completes another one.
    FollowUp,
}

/// A call of a script.
pub(super) struct ScriptCall {
    script: &'static LuaScript,
    prefix: String,
    tag: Tag,
    pub(super) slot: u16,
    pub(super) limit: Limit,
    now: u64,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
}

impl ScriptCall {
    pub(super) fn new(script: &'static LuaScript, prefix: &str, tag: Tag, now: Timestamp, limit: Limit) -> Self {
        let slot = tag.slot();
        let prefix = prefix.to_owned();
        Self { script, prefix, tag, slot, limit, now: now.as_secs(), keys: Vec::new(), args: Vec::new() }
    }

    pub(super) fn key(mut self, kind: EntryKind) -> Self {
        self.keys.push(self.tag.key(&self.prefix, kind));
        self
    }

    pub(super) fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.args.push(arg.as_ref().to_vec());
        self
    }

    pub(super) fn time(self, time: Timestamp) -> Self {
        self.number(time.as_secs())
    }

    pub(super) fn number(self, number: impl Into<u64>) -> Self {
        self.arg(number.into().to_string())
    }

    /// The deadline of a write.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if let Limit::Write(deadline) = self.limit { Some(deadline) } else { None }
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self.limit, Limit::Read)
    }

    /// The command that names the script by its hash.
    pub(super) fn by_hash(&self, deadline: Option<i64>) -> Cmd {
        self.command("EVALSHA", &self.script.hash, deadline)
    }

    /// The command with the text of the script, for a server that does not have it.
    pub(super) fn by_text(&self, deadline: Option<i64>) -> Cmd {
        self.command("EVAL", self.script.text, deadline)
    }

    fn command(&self, name: &str, script: &str, deadline: Option<i64>) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(key.as_slice());
        }
        command.arg(self.now).arg(deadline.map(|deadline| deadline.to_string()).unwrap_or_default());
        for arg in &self.args {
            command.arg(arg.as_slice());
        }
        command
    }
}

/// The reply of a script: the time of the server in milliseconds, the outcome, and values.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) server_time: i64,
    parts: Vec<Vec<u8>>,
}

impl Reply {
    /// The reply to a call whose deadline has passed before it was sent.
    pub(super) fn late() -> Self {
        Self { server_time: 0, parts: vec![b"late".to_vec()] }
    }

    pub(super) fn parse(value: Value) -> Result<Self, StoreError> {
        let strings = strings(value).ok_or_else(unreadable)?;
        let mut parts = strings.into_iter();
        let time = parts.next().and_then(|time| String::from_utf8(time).ok()?.parse().ok());
        Ok(Self { server_time: time.ok_or_else(unreadable)?, parts: parts.collect() })
    }

    /// The outcome and the values.
    pub(super) fn parts(&self) -> Vec<&[u8]> {
        self.parts.iter().map(Vec::as_slice).collect()
    }

    /// The values after the outcome.
    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().skip(1).map(Vec::as_slice)
    }

    pub(super) fn is(&self, outcome: &str) -> bool {
        self.parts.first().is_some_and(|found| found == outcome.as_bytes())
    }
}

fn strings(reply: Value) -> Option<Vec<Vec<u8>>> {
    let Value::Array(parts) = reply else { return None };
    let string = |part| if let Value::BulkString(bytes) = part { Some(bytes) } else { None };
    parts.into_iter().map(string).collect()
}
