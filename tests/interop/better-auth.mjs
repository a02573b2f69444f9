// npm's better-auth with its JWT plugin, a real issuer for the tests, on 127.0.0.1:  npm ci && node better-auth.mjs
// env: PORT (0 or unset: any free port) UNTIL_STDIN_ENDS=1 (exits when its standard input is closed, and so with its parent)
// Control endpoint (not part of better-auth): POST /__sign CLAIMS: the JWT that its server API `signJWT` makes of these claims
// Prints "better-auth BASE-URL" as soon as it accepts requests. Users, sessions and keys are in memory.
import http from 'node:http';
import { randomBytes } from 'node:crypto';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { toNodeHandler } from 'better-auth/node';
import { jwt } from 'better-auth/plugins/jwt';

const server = http.createServer(handle);
await new Promise((done) => server.listen(+(process.env.PORT ?? 0), '127.0.0.1', done));
const baseURL = `http://127.0.0.1:${server.address().port}`;
const auth = betterAuth({
  baseURL,
  secret: randomBytes(32).toString('hex'),
  database: memoryAdapter({ user: [], session: [], account: [], verification: [], jwks: [] }),
  emailAndPassword: { enabled: true },
  // The session cookie is then a JWT too, signed with the same key.
  session: { cookieCache: { enabled: true, strategy: 'jwt' } },
  plugins: [jwt({ sessionCookieCache: true })],
  telemetry: { enabled: false },
});
const api = toNodeHandler(auth);

async function handle(req, res) {
  if (req.url !== '/__sign') return api(req, res);
  let claims = '';
  for await (const chunk of req) claims += chunk;
  res.setHeader('content-type', 'application/json');
  res.end(JSON.stringify(await auth.api.signJWT({ body: { payload: JSON.parse(claims) } })));
}
console.log('better-auth', baseURL);
if (process.env.UNTIL_STDIN_ENDS) process.stdin.resume().on('end', () => process.exit());
