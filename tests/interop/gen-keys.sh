#!/usr/bin/env bash
# Creates the keys for oidc-provider.mjs on this machine; they are never committed. Existing keys stay as they are.
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
function write(name, document) { // by renaming, so that a reader never sees a part of the file
  writeFileSync(`keys/${name}.${process.pid}`, JSON.stringify(document, null, 1));
  renameSync(`keys/${name}.${process.pid}`, `keys/${name}`);
}
if (!existsSync("keys/as-jwks.json")) {
  write("as-jwks.json", { keys: await Promise.all(["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"].map((alg) => make(alg))) });
}
if (!existsSync("keys/client-es256.json")) write("client-es256.json", await make("ES256"));
if (!existsSync("keys/rs-enc.json")) write("rs-enc.json", await make("RSA-OAEP-256", "enc"));
'

# Creates a certificate authority, and certificates for the server, for the client cc-mtls and for another client.
if [ ! -e keys/certificates ] && command -v openssl >/dev/null; then
    folder=$(mktemp -d "$PWD/keys/new.XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    cd "$folder"
    new=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
    openssl req -x509 "${new[@]}" -days 3650 -subj "/CN=interop test CA" -keyout ca.key -out ca.pem 2>/dev/null
    for name in server:127.0.0.1 client:cc-mtls other:another-client; do
        openssl req "${new[@]}" -subj "/CN=${name#*:}" -keyout "${name%:*}.key" -out request.pem 2>/dev/null
        printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "IP:127.0.0.1" >extensions
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile extensions \
            -out "${name%:*}.pem" 2>/dev/null
    done
    cd ../..
    # If two processes run this at the same time, the directory of the first one is used.
    [ -e keys/certificates ] || mv "$folder" keys/certificates
fi
