//! The texts of codes and tokens, and the hashes by which a store finds them.
//!
//! *In*: random bytes, or the text in a request. *Out*: a text for the client, and hashes for the store.
//!
//! | text | bytes |
//! |---|---|
//! | refresh token | the session's handle (16), a secret (32), what it is bound to (0, 1, 33 or 65) |
//! | code, opaque access token | the partition (16), a secret (32) |
//! | `jti` of a JWT | the partition (16), random (16) |
//!
//! A session's id, which is its partition, is a hash of its handle. So a code or an access token says where its session is, but
//! only who has a refresh token can present the handle, with which any wrong secret ends the session.
//!
//! The hash of a refresh token contains what it is bound to, so a changed text is unknown.
//!
//! Every hash contains the issuer: two issuers that share a store don't know each other's texts.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{
    client::secret::TokenHash,
    store::{Partition, SessionId, Successor},
};
use crate::{
    confirmation::Confirmation,
    jws::{NoRandomness, random, sha256},
};

/// Makes and reads the texts of one issuer.
pub(crate) struct Texts {
    /// A hash of the issuer, which is part of every other hash.
    issuer: [u8; 32],
}

/// What a hash is of. The same text has another hash for each kind. A store has these hashes, so a number never changes.
#[derive(Debug, Clone, Copy)]
enum HashKind {
    Access = 0,
    Attempt = 1,
    Client = 2,
    Code = 3,
    Issuer = 4,
    Owner = 5,
    Refresh = 6,
    Seen = 7,
    Session = 8,
    Subject = 9,
    Successor = 10,
    Proof = 11,
    SuccessorMark = 12,
}

/// The random bytes of an access token. One draw is faster than one for each part.
pub(crate) struct AccessRandom {
    partition: [u8; 16],
    jwt_id: [u8; 16],
    secret: [[u8; 16]; 2],
}

/// A new code or token: its text for the client, and what a store finds it by.
pub(crate) struct NewText<I> {
    pub(crate) text: String,
    pub(crate) id: I,
    pub(crate) hash: TokenHash,
}

/// A refresh token in a request.
pub(crate) struct PresentedRefresh {
    pub(crate) session: SessionId,
    pub(crate) hash: TokenHash,
    pub(crate) binding: RefreshBinding,
    handle: Handle,
    secret: [u8; 32],
}

/// What the sender of a refresh token must prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshBinding {
    Nothing,
    /// That it has some key or certificate. Its client authenticates, so it may change them (RFC 9449 §5).
    Anything,
    /// That it has this key or certificate, or both (RFC 9449 §5, RFC 8705 §4).
    This(Confirmation),
}

/// The part of a refresh token that stays the same in a session.
#[derive(Clone, Copy)]
pub(crate) struct Handle([u8; 16]);

impl AccessRandom {
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let bytes = random::<64>()?;
        let [partition, jwt_id, secret @ ..] = bytes.as_chunks::<16>().0 else { return Err(NoRandomness) };
        let secret = secret.try_into().map_err(|_| NoRandomness)?;
        Ok(Self { partition: *partition, jwt_id: *jwt_id, secret })
    }

    /// Returns a partition that no other token has.
    pub(crate) fn partition(&self) -> Partition {
        Partition::from(self.partition)
    }

    /// Returns the text of an opaque access token.
    pub(crate) fn opaque_text(&self, partition: Partition) -> String {
        encode(partition.as_bytes(), self.secret.as_flattened())
    }

    /// Returns the `jti` of a JWT, which contains the partition.
    pub(crate) fn jwt_id(&self, partition: Partition) -> String {
        encode(partition.as_bytes(), &self.jwt_id)
    }
}

impl Handle {
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    pub(crate) fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl Texts {
    pub(crate) fn new(issuer: &str) -> Self {
        Self { issuer: sha256([b"tower-oauth issuer".as_slice(), issuer.as_bytes()]) }
    }

    /// Makes a code for the session of this handle.
    pub(crate) fn new_code(&self, handle: Handle) -> Result<NewText<SessionId>, NoRandomness> {
        let id = self.session(handle);
        let text = encode(id.as_bytes(), &random::<32>()?);
        Ok(NewText { hash: self.hash(HashKind::Code, &[text.as_bytes()]), text, id })
    }

    /// Reads a code. The store decides whether it exists.
    pub(crate) fn read_code(&self, text: &str) -> Option<(SessionId, TokenHash)> {
        let (id, _) = decode(text)?;
        Some((SessionId::from(id), self.hash(HashKind::Code, &[text.as_bytes()])))
    }

    /// Makes the first refresh token of a session.
    pub(crate) fn first_refresh(
        &self,
        handle: Handle,
        binding: RefreshBinding,
    ) -> Result<NewText<SessionId>, NoRandomness> {
        Ok(self.refresh(handle, &random()?, binding))
    }

    /// Reads a refresh token. The store decides whether it exists.
    pub(crate) fn read_refresh(&self, text: &str) -> Option<PresentedRefresh> {
        let (handle, secret, binding) = decode_refresh(text)?;
        let handle = Handle(handle);
        Some(PresentedRefresh {
            session: self.session(handle),
            hash: self.refresh_hash(&secret, binding),
            binding,
            handle,
            secret,
        })
    }

    /// Makes the successor of a refresh token from a salt.
    pub(crate) fn successor(
        &self,
        presented: &PresentedRefresh,
        salt: [u8; 32],
        binding: RefreshBinding,
    ) -> (NewText<SessionId>, Successor) {
        let secret = self.hash(HashKind::Successor, &[&salt, &presented.secret]);
        let next = self.refresh(presented.handle, secret.as_bytes(), binding);
        let successor = Successor { hash: next.hash, salt };
        (next, successor)
    }

    /// Makes a salt: 32 random bytes. If the successor is bound, 16 of them are replaced by a mark. The store returns the salt when
    /// the predecessor is used again, so the mark shows then what the successor is bound to.
    pub(crate) fn salt(&self, binding: RefreshBinding) -> Result<[u8; 32], NoRandomness> {
        let mut salt = random::<32>()?;
        if binding != RefreshBinding::Nothing
            && let Some((random, mark)) = salt.split_first_chunk_mut::<16>()
        {
            mark.copy_from_slice(&self.mark(random, binding));
        }
        Ok(salt)
    }

    /// True if the successor with this salt is bound to the same.
    pub(crate) fn is_salt_of(&self, salt: &[u8; 32], binding: RefreshBinding) -> bool {
        let Some((random, mark)) = salt.split_first_chunk::<16>() else { return false };
        let expected = self.mark(random, binding);
        match binding {
            RefreshBinding::Nothing => !mark.starts_with(expected.first_chunk::<8>().map_or(&[], |any| any.as_slice())),
            RefreshBinding::Anything | RefreshBinding::This(_) => mark == expected,
        }
    }

    /// Returns 8 bytes that every mark beside these random bytes has, and 8 that depend on the binding.
    fn mark(&self, random: &[u8; 16], binding: RefreshBinding) -> [u8; 16] {
        let any = first_half(self.hash(HashKind::SuccessorMark, &[random]));
        let own = first_half(self.hash(HashKind::SuccessorMark, &[random, &binding.to_bytes()]));
        let ([any, _], [own, _]) = (any.as_chunks::<8>().0, own.as_chunks::<8>().0) else { return [0; 16] };
        let mut mark = [0; 16];
        mark.iter_mut().zip(any.iter().chain(own)).for_each(|(to, from)| *to = *from);
        mark
    }

    /// Reads an access token: opaque, or a JWT whose signature is not checked, because the store finds only whole texts.
    pub(crate) fn read_access(&self, text: &str) -> Option<(Partition, TokenHash)> {
        let partition = match text.split_once('.') {
            Some((_, rest)) => partition_of_jwt(rest)?,
            None => decode(text)?.0,
        };
        Some((Partition::from(partition), self.access_hash(text)))
    }

    pub(crate) fn access_hash(&self, text: &str) -> TokenHash {
        self.hash(HashKind::Access, &[text.as_bytes()])
    }

    pub(crate) fn client(&self, client_id: &str) -> TokenHash {
        self.hash(HashKind::Client, &[client_id.as_bytes()])
    }

    pub(crate) fn subject(&self, subject: &str) -> TokenHash {
        self.hash(HashKind::Subject, &[subject.as_bytes()])
    }

    pub(crate) fn owner(&self, client_id: &str, subject: &str) -> TokenHash {
        self.hash(HashKind::Owner, &[client_id.as_bytes(), subject.as_bytes()])
    }

    /// Returns the hash of a client assertion's `jti`.
    pub(crate) fn seen(&self, client_id: &str, jwt_id: &str) -> TokenHash {
        self.hash(HashKind::Seen, &[client_id.as_bytes(), jwt_id.as_bytes()])
    }

    /// Returns the hash of a proof, which is accepted once.
    pub(crate) fn proof(&self, replay_key: &[u8; 32]) -> TokenHash {
        self.hash(HashKind::Proof, &[replay_key])
    }

    /// Returns the hash of a request, to recognize its repetition.
    pub(crate) fn attempt<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> TokenHash {
        let texts: Vec<&[u8]> = texts.into_iter().map(str::as_bytes).collect();
        self.hash(HashKind::Attempt, &texts)
    }

    pub(crate) fn issuer(&self) -> TokenHash {
        self.hash(HashKind::Issuer, &[])
    }

    fn session(&self, handle: Handle) -> SessionId {
        SessionId::from(first_half(self.hash(HashKind::Session, &[&handle.0])))
    }

    fn refresh(&self, handle: Handle, secret: &[u8; 32], binding: RefreshBinding) -> NewText<SessionId> {
        NewText {
            text: encode(&handle.0, &[secret.as_slice(), &binding.to_bytes()].concat()),
            id: self.session(handle),
            hash: self.refresh_hash(secret, binding),
        }
    }

    fn refresh_hash(&self, secret: &[u8; 32], binding: RefreshBinding) -> TokenHash {
        match binding {
            RefreshBinding::Nothing => self.hash(HashKind::Refresh, &[secret]),
            _ => self.hash(HashKind::Refresh, &[secret, &binding.to_bytes()]),
        }
    }

    /// Hashes the parts with their lengths, so that different lists have different hashes.
    fn hash(&self, kind: HashKind, parts: &[&[u8]]) -> TokenHash {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&self.issuer);
        bytes.push(kind as u8);
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        TokenHash::from(sha256([bytes.as_slice()]))
    }
}

impl RefreshBinding {
    /// Returns the end of a refresh token's text.
    fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Anything => vec![ANYTHING],
            Self::This(confirmation) => match (confirmation.key(), confirmation.certificate()) {
                (Some(key), Some(certificate)) => [[BOTH].as_slice(), key, certificate].concat(),
                (Some(key), None) => [[KEY].as_slice(), key].concat(),
                (None, certificate) => {
                    [[CERTIFICATE].as_slice(), certificate.map_or(&[], <[u8; 32]>::as_slice)].concat()
                }
            },
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = match bytes {
            [] => return Some(Self::Nothing),
            [ANYTHING] => return Some(Self::Anything),
            [kind, rest @ ..] => (*kind, rest),
        };
        let (key, certificate) = match (kind, rest.as_chunks::<32>()) {
            (KEY, ([key], [])) => (Some(*key), None),
            (CERTIFICATE, ([certificate], [])) => (None, Some(*certificate)),
            (BOTH, ([key, certificate], [])) => (Some(*key), Some(*certificate)),
            _ => return None,
        };
        Confirmation::new(key, certificate).map(Self::This)
    }
}

impl From<TokenHash> for Partition {
    /// Returns the partition of an owner's access tokens.
    fn from(owner: TokenHash) -> Self {
        Self::from(first_half(owner))
    }
}

fn first_half(hash: TokenHash) -> [u8; 16] {
    let [first, _] = hash.as_bytes().as_chunks::<16>().0 else { return [0; 16] };
    *first
}

fn encode(first: &[u8; 16], rest: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([first.as_slice(), rest].concat())
}

/// Splits a text into its first 16 bytes and the 32 bytes after them.
fn decode(text: &str) -> Option<([u8; 16], [u8; 32])> {
    // A fixed buffer, because the text may be of any length.
    let mut bytes = [0; 48];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    let (first, rest) = bytes.get(..length)?.split_first_chunk::<16>()?;
    Some((*first, rest.try_into().ok()?))
}

/// Splits the text of a refresh token into the handle, the secret, and what it is bound to.
fn decode_refresh(text: &str) -> Option<([u8; 16], [u8; 32], RefreshBinding)> {
    let mut bytes = [0; 48 + 65];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    let (handle, rest) = bytes.get(..length)?.split_first_chunk::<16>()?;
    let (secret, binding) = rest.split_first_chunk::<32>()?;
    Some((*handle, *secret, RefreshBinding::from_bytes(binding)?))
}

/// Returns the partition in the `jti` of a JWT, from the part of its text after the first dot.
fn partition_of_jwt(rest: &str) -> Option<[u8; 16]> {
    #[derive(Deserialize)]
    struct JwtIdClaim<'t> {
        #[serde(borrow)]
        jti: std::borrow::Cow<'t, str>,
    }
    let payload = URL_SAFE_NO_PAD.decode(rest.split('.').next()?).ok()?;
    let claims: JwtIdClaim<'_> = serde_json::from_slice(&payload).ok()?;
    let mut bytes = [0; 32];
    let length = URL_SAFE_NO_PAD.decode_slice(claims.jti.as_bytes(), &mut bytes).ok()?;
    bytes.get(..length)?.first_chunk::<16>().copied()
}

/// The first byte after the secret of a bound refresh token. Clients have these texts, so a number never changes.
const ANYTHING: u8 = 1;
const KEY: u8 = 2;
const CERTIFICATE: u8 = 3;
const BOTH: u8 = 4;
