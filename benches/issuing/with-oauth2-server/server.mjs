// npm's @node-oauth/oauth2-server on node:http, without a framework: its model is in memory, after its own examples. The
// first argument selects the kind of tokens. The library has no JWTs, so the model signs them.

import http from 'node:http';
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { SignJWT } from 'jose';
import OAuth2Server from '@node-oauth/oauth2-server';

const { CLIENT_ID, CLIENT_SECRET, SCOPE, AUDIENCE, ISSUER } = process.env;
const { Request, Response } = OAuth2Server;
const variant = process.argv[2];

const clients = new Map([[CLIENT_ID, { id: CLIENT_ID, secret: CLIENT_SECRET, grants: ['client_credentials'] }]]);
const tokens = new Map();
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const jwk = { ...publicKey.export({ format: 'jwk' }), kid: randomBytes(32).toString('base64url'), use: 'sig', alg: 'ES256' };

const model = {
  async getClient(id, secret) {
    const client = clients.get(id);
    return client && client.secret === secret ? client : undefined;
  },
  async getUserFromClient(client) {
    return { id: client.id };
  },
  async validateScope(user, client, scope) {
    const allowed = SCOPE.split(' ');
    return scope?.every((name) => allowed.includes(name)) ? scope : false;
  },
  async saveToken(token, client, user) {
    const saved = { ...token, client, user };
    tokens.set(token.accessToken, saved);
    return saved;
  },
};

function claims(client, user, scope) {
  const iat = Math.floor(Date.now() / 1000);
  const jti = randomBytes(32).toString('base64url');
  return { iss: ISSUER, sub: user.id, aud: AUDIENCE, client_id: client.id, iat, exp: iat + 900, jti, scope: scope.join(' ') };
}

const header = { alg: 'ES256', typ: 'at+jwt', kid: jwk.kid };
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

if (variant === 'jose') {
  model.generateAccessToken = (client, user, scope) =>
    new SignJWT(claims(client, user, scope)).setProtectedHeader(header).sign(privateKey);
} else if (variant === 'crypto') {
  model.generateAccessToken = async (client, user, scope) => {
    const signed = `${encode(header)}.${encode(claims(client, user, scope))}`;
    const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  };
}

const oauth = new OAuth2Server({ model, accessTokenLifetime: 900 });

const server = http.createServer(async (req, res) => {
  if (req.url === '/jwks.json') return res.end(JSON.stringify({ keys: [jwk] }));
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
  const response = new Response();
  try {
    await oauth.token(new Request({ headers: req.headers, method: req.method, query: {}, body }), response);
  } catch {
    // The response says it.
  }
  res.statusCode = response.status;
  for (const [name, value] of Object.entries(response.headers)) res.setHeader(name, value);
  res.setHeader('content-type', 'application/json');
  res.end(JSON.stringify(response.body));
});

server.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${server.address().port}`));
