#!/usr/bin/env bash
# Keys for oidc-provider.mjs, made on this machine and never committed. What is there is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p keys
node --input-type=module -e '
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { generateKeyPair, exportJWK, calculateJwkThumbprint } from "jose";
async function make(alg, use = "sig") {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(privateKey);
  return { ...jwk, alg, use, kid: (await calculateJwkThumbprint(jwk)).slice(0, 16) };
}
function write(name, document) { // by renaming: whoever reads it sees all of it
  writeFileSync(`keys/${name}.${process.pid}`, JSON.stringify(document, null, 1));
  renameSync(`keys/${name}.${process.pid}`, `keys/${name}`);
}
if (!existsSync("keys/as-jwks.json")) {
  write("as-jwks.json", { keys: await Promise.all(["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"].map((alg) => make(alg))) });
}
if (!existsSync("keys/client-es256.json")) write("client-es256.json", await make("ES256"));
if (!existsSync("keys/rs-enc.json")) write("rs-enc.json", await make("RSA-OAEP-256", "enc"));
'
