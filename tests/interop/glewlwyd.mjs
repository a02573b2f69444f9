// Debian's glewlwyd, a real authorization server for the tests, on 127.0.0.1:  apt-get install glewlwyd sqlite3 && node glewlwyd.mjs
// env: UNTIL_STDIN_ENDS=1 (exits when its standard input is closed, and so with its parent)
// Prints "glewlwyd ISSUER" as soon as it accepts requests. The database is in a temporary directory, with
// - the user ada, password correct-horse, who has logged in nowhere and has approved the client `web`
// - the client web, secret web-secret: authorization_code with redirect http://127.0.0.1:8799/cb, client_credentials; may introspect
// - the resources https://api.interop.test/orders and …/other for the scope orders:read
import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

const folder = mkdtempSync(`${tmpdir()}/glewlwyd-`);
let program;
process.on('exit', () => { program?.kill('SIGKILL'); rmSync(folder, { recursive: true, force: true }); });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit());
if (process.env.UNTIL_STDIN_ENDS) process.stdin.resume().on('end', () => process.exit());

// It can't choose a free port itself.
const port = await new Promise((done) => {
  const server = createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => done(port)); });
});
const base = `http://127.0.0.1:${port}`;
const library = '/usr/lib/glewlwyd';
execFileSync('sqlite3', [`${folder}/db`], { input: readFileSync('/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3') });
writeFileSync(`${folder}/conf`, `
port=${port}
bind_address="127.0.0.1"
external_url="${base}"
login_url="login.html"
api_prefix="api"
cookie_domain="127.0.0.1"
cookie_secure=0
log_mode="console"
log_level="WARNING"
session_key="session"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="${library}/user"
client_module_path="${library}/client"
user_auth_scheme_module_path="${library}/scheme"
plugin_module_path="${library}/plugin"
hash_algorithm="SHA512"
database = { type = "sqlite3" path = "${folder}/db" };
`);
program = spawn('glewlwyd', ['--config-file', `${folder}/conf`], { stdio: ['ignore', 2, 2] });
program.on('exit', (status) => { console.error(`glewlwyd ended with status ${status}`); process.exit(1); });

let cookie;
async function call(method, path, body) {
  const headers = { 'content-type': 'application/json', ...(cookie && { cookie }) };
  const response = await fetch(`${base}/api/${path}`, { method, headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response;
}
async function log_in(username, password) {
  cookie = undefined;
  cookie = (await call('POST', 'auth', { username, password })).headers.get('set-cookie').split(';')[0];
}
for (let tries = 0; ; tries += 1) {
  try { await fetch(base); break; } catch (error) { if (tries === 200) throw error; await sleep(50); }
}
await log_in('admin', 'password');
const resources = ['orders', 'other'].map((name) => `https://api.interop.test/${name}`);
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = { ...privateKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256' };
await call('POST', 'scope/', { name: 'orders:read', display_name: 'Read orders', password_required: false, scheme: {} });
await call('POST', 'mod/plugin/', {
  module: 'oidc', name: 'oidc', display_name: 'OpenID Connect', order_rank: 0,
  parameters: {
    iss: `${base}/api/oidc`, 'jwks-private': JSON.stringify({ keys: [key] }), 'jwks-show': true, 'subject-type': 'public',
    'access-token-duration': 600, 'refresh-token-duration': 600, 'code-duration': 60, 'allow-non-oidc': true,
    'auth-type-code-enabled': true, 'auth-type-client-enabled': true, 'auth-type-refresh-enabled': true,
    'introspection-revocation-allowed': true, 'introspection-revocation-allow-target-client': true,
    'resource-allowed': true, 'resource-scope': { 'orders:read': resources }, 'resource-client-property': 'resource',
  },
});
await call('POST', 'user/', { username: 'ada', password: 'correct-horse', name: 'Ada', scope: ['openid', 'orders:read'], enabled: true });
await call('POST', 'client/', {
  client_id: 'web', name: 'Web', confidential: true, enabled: true, client_secret: 'web-secret', password: 'web-secret',
  scope: ['orders:read'], authorization_type: ['code', 'client_credentials', 'refresh_token'],
  token_endpoint_auth_method: ['client_secret_basic'], resource: resources, redirect_uri: ['http://127.0.0.1:8799/cb'],
});
await log_in('ada', 'correct-horse');
await call('PUT', 'auth/grant/web', { scope: 'openid orders:read' });
console.log('glewlwyd', `${base}/api/oidc`);
