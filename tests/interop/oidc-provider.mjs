// npm's oidc-provider, a real authorization server for the tests, on 127.0.0.1:  npm ci && ./gen-keys.sh && node oidc-provider.mjs
// env: PORT (0: any free port) ISSUER DPOP_NONCE=1 (requires DPoP nonces) JWKS_STRIP=alg,use EXTRA_RESOURCES="URL …" DEFAULT_RESOURCE
//      MTLS_PORT (0: any free port; unset: no mTLS) UNTIL_STDIN_ENDS=1 (exits when its standard input is closed, and so with its parent)
// Control endpoints (not part of OAuth): GET /__health ; POST /__rotate {"mode":"add|retire|reset","alg":"ES256"} ; GET /__stats
// Prints "mtls URL" if MTLS_PORT is set, and "oidc-provider ISSUER" as soon as it accepts requests.
import http from 'node:http';
import https from 'node:https';
import { readFileSync } from 'node:fs';
import { randomBytes, createPublicKey, X509Certificate } from 'node:crypto';
const J = new URL('./node_modules/', import.meta.url).href;
const { default: Provider } = await import(J + 'oidc-provider/lib/index.js');
const jose = await import(J + 'jose/dist/webapi/index.js');
const K = new URL('./keys/', import.meta.url).pathname;
const PORT = +(process.env.PORT ?? 4001);
let ISSUER = process.env.ISSUER, MTLS;
const REDIRECT = process.env.REDIRECT ?? 'http://127.0.0.1:8799/cb';
const json = (f) => JSON.parse(readFileSync(K + f));
let jwks = json('as-jwks.json');
const pub = ({ kty, crv, x, y, n, e, kid, alg, use }) => JSON.parse(JSON.stringify({ kty, crv, x, y, n, e, kid, alg, use }));
const encKey = createPublicKey({ key: pub(json('rs-enc.json')), format: 'jwk' });
const hsKey = Buffer.from('interop-hs256-secret-interop-hs256-secret');

const API = 'https://api.interop.test';
const SCOPE = 'orders:read orders:write admin atproto';
const jwt = (sign, extra = {}) => ({ scope: SCOPE, audience: undefined, accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign, ...extra } });
const resources = {
  [`${API}/orders`]: jwt({ alg: 'ES256' }), // for examples/protected_api
  [`${API}/rs256`]: jwt({ alg: 'RS256' }),
  [`${API}/ps256`]: jwt({ alg: 'PS256' }),
  [`${API}/es256`]: jwt({ alg: 'ES256' }),
  [`${API}/es384`]: jwt({ alg: 'ES384' }),
  [`${API}/eddsa`]: jwt({ alg: 'EdDSA' }),
  [`${API}/ed25519`]: jwt({ alg: 'Ed25519' }),      // the fully-specified name of RFC 9864
  [`${API}/hs256`]: jwt({ alg: 'HS256', key: hsKey, kid: 'hs' }),
  [`${API}/jwe`]: { scope: SCOPE, accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' }, encrypt: { alg: 'RSA-OAEP-256', enc: 'A256GCM', key: encKey } } },
  [`${API}/short`]: { ...jwt({ alg: 'ES256' }), accessTokenTTL: 2 },
  [`${API}/aud-array`]: jwt({ alg: 'ES256' }),   // the customizer below makes `aud` an array
  [`${API}/opaque`]: { scope: SCOPE, accessTokenTTL: 600, accessTokenFormat: 'opaque' },
  [`${API}/opaque-short`]: { scope: SCOPE, audience: `${API}/opaque`, accessTokenTTL: 2, accessTokenFormat: 'opaque' },
  [`${API}/orders-opaque`]: { scope: SCOPE, audience: `${API}/orders`, accessTokenTTL: 600, accessTokenFormat: 'opaque' },
};
for (const r of (process.env.EXTRA_RESOURCES ?? '').split(/\s+/).filter(Boolean)) resources[r] = { ...jwt({ alg: process.env.EXTRA_ALG ?? 'ES256' }), scope: SCOPE };

const cc = (id, over = {}) => ({ client_id: id, client_secret: id + '-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: SCOPE, ...over });
const pk = pub(json('client-es256.json'));
const clients = [
  cc('cc-basic', { token_endpoint_auth_method: 'client_secret_basic' }),
  cc('cc-post', { token_endpoint_auth_method: 'client_secret_post' }),
  // secret with characters that must be form-encoded inside Basic (RFC 6749 2.3.1)
  cc('cc:odd id', { client_secret: 'p%40 s+/=:ü'.replace('ü', '~'), token_endpoint_auth_method: 'client_secret_basic' }),
  cc('cc-pkjwt', { client_secret: undefined, token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256', jwks: { keys: [pk] } }),
  cc('cc-secretjwt', { client_secret: 'cc-secretjwt-secret-0123456789abcdef', token_endpoint_auth_method: 'client_secret_jwt' }),
  cc('cc-dpop', { token_endpoint_auth_method: 'client_secret_basic', dpop_bound_access_tokens: true }),
  cc('cc-mtls', { client_secret: undefined, token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_subject_dn: 'CN=cc-mtls', tls_client_certificate_bound_access_tokens: true }),
  cc('rs', { token_endpoint_auth_method: 'client_secret_basic', introspection_signed_response_alg: 'ES256' }),
  { client_id: 'web', client_secret: 'web-secret', token_endpoint_auth_method: 'client_secret_basic', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], redirect_uris: [REDIRECT], scope: 'openid offline_access ' + SCOPE },
  { client_id: 'web-post', client_secret: 'web-post-secret', token_endpoint_auth_method: 'client_secret_post', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], redirect_uris: [REDIRECT], scope: 'openid offline_access ' + SCOPE },
  { client_id: 'conf', client_secret: 'conf-secret', token_endpoint_auth_method: 'client_secret_post', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], redirect_uris: ['http://127.0.0.1:3000/callback'], scope: 'openid offline_access ' + SCOPE },
  { client_id: 'dpop-native', token_endpoint_auth_method: 'none', application_type: 'native', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], redirect_uris: [REDIRECT], scope: 'openid offline_access ' + SCOPE, dpop_bound_access_tokens: true },
  // a client of the AT Protocol on the loopback address: its id says its registration
  { client_id: `http://localhost?scope=${encodeURIComponent('atproto orders:read').replaceAll('%20', '+')}&redirect_uri=${encodeURIComponent(REDIRECT)}`, token_endpoint_auth_method: 'none', application_type: 'native', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], redirect_uris: [REDIRECT], scope: 'openid offline_access ' + SCOPE, dpop_bound_access_tokens: true },
  { client_id: 'native', token_endpoint_auth_method: 'none', application_type: 'native', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], redirect_uris: [REDIRECT], scope: 'openid offline_access ' + SCOPE },
];
const apis = ['rs', 'cc-post', 'cc:odd id', 'cc-pkjwt', 'cc-mtls']; // may introspect the tokens of all clients
const lifetime = (ctx, token) => token.resourceServer?.accessTokenTTL ?? 600; // a plain number would override that of the resource
const nonceSecret = randomBytes(32);
function build() {
  const p = new Provider(ISSUER, {
    clients: structuredClone(clients), jwks: structuredClone(jwks),
    scopes: ['openid', 'offline_access', ...SCOPE.split(' ')],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'tls_client_auth', 'none'],
    enabledJWA: {
      clientAuthSigningAlgValues: ['HS256', 'RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'],
      introspectionSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'],
      dPoPSigningAlgValues: ['ES256', 'EdDSA', 'Ed25519', 'RS256', 'PS256'],
      idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'],
    },
    extraClientMetadata: { properties: [] },
    cookies: { keys: ['interop'] },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { AccessToken: lifetime, ClientCredentials: lifetime, AuthorizationCode: 60, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600, IdToken: 600 },
    findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub, name: 'Test ' + sub }) }),
    issueRefreshToken: async (ctx, client, code) => client.grantTypeAllowed('refresh_token'),
    features: {
      devInteractions: { enabled: true }, clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (ctx, client, token) => apis.includes(client.clientId) || client.clientId === token.clientId },
      revocation: { enabled: true }, jwtIntrospection: { enabled: true }, encryption: { enabled: true },
      mTLS: {
        enabled: true, certificateBoundAccessTokens: true, tlsClientAuth: true,
        getCertificate: (ctx) => { const peer = ctx.socket.getPeerCertificate?.(true); return peer?.raw && new X509Certificate(peer.raw).toString(); },
        certificateAuthorized: (ctx) => ctx.socket.authorized === true,
        certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_subject_dn' && `CN=${ctx.socket.getPeerCertificate().subject.CN}` === expected,
      },
      registration: { enabled: process.env.DCR !== '0' }, deviceFlow: { enabled: true },
      clientIdMetadataDocument: { enabled: process.env.CLIENT_DOCUMENTS === '1', ack: 'draft-02', allowFetch: () => false },
      dPoP: { enabled: true, nonceSecret, requireNonce: () => process.env.DPOP_NONCE === '1' },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx, client, oneOf) => oneOf ?? (process.env.DEFAULT_RESOURCE === 'none' ? undefined : `${API}/${process.env.DEFAULT_RESOURCE ?? 'es256'}`),
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, id) => { const r = resources[id]; if (!r) { const e = new Error('invalid_target'); throw Object.assign(e, { statusCode: 400, status: 400, expose: true, error: 'invalid_target', error_description: 'unknown resource ' + id }); } const { audience, ...rest } = r; return audience ? { ...rest, audience } : rest; },
      },
    },
    extraTokenClaims: async (ctx, token) => (token.accountId ? { preferred_username: token.accountId, groups: ['g1', 'g2'] } : undefined),
    formats: { customizers: { jwt: (ctx, token, t) => { if (token.aud === `${API}/aud-array`) { t.payload.aud = [token.aud, 'https://two.interop.test']; t.payload.roles = ['r1']; t.payload.entitlements = ['e1']; } } } },
    clientBasedCORS: () => true,
    discovery: MTLS ? { mtls_endpoint_aliases: { token_endpoint: `${MTLS}/token`, introspection_endpoint: `${MTLS}/token/introspection` } } : {}, // RFC 8705 §5
  });
  p.on('server_error', (ctx, err) => console.error('server_error', err));
  if (process.env.VERBOSE) p.on('grant.error', (ctx, err) => console.error('grant.error', err.message, err.error_description, err.error_detail ?? ''));
  return p;
}
let provider;
const stats = {};
async function handler(req, res) {
  const path = req.url.split('?')[0];
  stats[path] = (stats[path] ?? 0) + 1;
  if (path === '/__health') { res.end('ok'); return; }
  if (path === '/__stats') { res.setHeader('content-type', 'application/json'); res.end(JSON.stringify(stats)); return; }
  if (path === '/__rotate' && req.method === 'POST') {
    let b = ''; for await (const c of req) b += c;
    const { mode = 'add', alg = 'ES256' } = b ? JSON.parse(b) : {};
    if (mode === 'add') { // the new key comes first, so it signs; the old one stays published
      const opts = { extractable: true, ...(alg === 'EdDSA' ? { crv: 'Ed25519' } : {}) };
      const jwk = await jose.exportJWK((await jose.generateKeyPair(alg, opts)).privateKey);
      jwks = { keys: [{ ...jwk, alg, use: 'sig', kid: 'rot-' + Date.now() }, ...jwks.keys] };
    } else if (mode === 'retire') { // removes all keys with this alg except the newest
      let seen = false; jwks = { keys: jwks.keys.filter((k) => k.alg !== alg || (!seen && (seen = true))) };
    } else if (mode === 'reset') jwks = json('as-jwks.json');
    provider = build();
    res.setHeader('content-type', 'application/json'); res.end(JSON.stringify(jwks.keys.map(({ kid, alg }) => ({ kid, alg })))); return;
  }
  if (process.env.JWKS_STRIP && path === '/jwks') {
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({ keys: jwks.keys.map(pub).map((k) => { for (const f of process.env.JWKS_STRIP.split(',')) delete k[f]; return k; }) })); return;
  }
  return provider.callback()(req, res);
}
const listening = (server, port) => new Promise((done) => server.listen(port, '127.0.0.1', () => done(server.address().port)));
if (process.env.MTLS_PORT) {
  const [key, cert, ca] = ['server.key', 'server.pem', 'ca.pem'].map((name) => readFileSync(`${K}certificates/${name}`));
  const mtls = https.createServer({ key, cert, ca, requestCert: true, rejectUnauthorized: false }, handler);
  MTLS = `https://127.0.0.1:${await listening(mtls, process.env.MTLS_PORT)}`;
  console.log('mtls', MTLS);
}
const server = http.createServer(handler);
const port = await listening(server, PORT);
ISSUER ??= `http://127.0.0.1:${port}`;
provider = build();
console.log('oidc-provider', ISSUER);
if (process.env.UNTIL_STDIN_ENDS) process.stdin.resume().on('end', () => process.exit());
