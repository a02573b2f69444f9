// npm's openid-client as a client of the token endpoint. The test in tests/it/interop/real_clients starts this script, passes the
// settings in the variable SERVER, reads the printed results, and acts as the browser.
import assert from 'node:assert/strict'
import { createInterface } from 'node:readline/promises'
import * as jose from 'jose'
import * as oauth from 'openid-client'

const server = JSON.parse(process.env.SERVER)
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const report = (result) => console.log(result)

const browse = async (url) => {
  console.log(`browse ${url.href}`)
  return new URL((await answers.next()).value)
}

const client = (id, authentication, metadata = {}) =>
  oauth.discovery(new URL(server.issuer), id, metadata, authentication, {
    algorithm: 'oauth2',
    execute: [oauth.allowInsecureRequests], // loopback
  })

// Returns the error that the server sent. For a 401 the library reports the challenge; the body must be read here.
const refused = async (promise) => {
  const error = await promise.then(() => assert.fail('it was not refused'), (error) => error)
  if (error instanceof oauth.WWWAuthenticateChallengeError) {
    assert.equal(error.cause[0].scheme, 'basic')
    return `${error.status} ${(await error.response.json()).error}`
  }
  assert(error instanceof oauth.ResponseBodyError, error)
  assert(error.error_description)
  return `${error.status} ${error.error}`
}

const reports = await client('reports', oauth.ClientSecretBasic('reports-secret'))
const metadata = reports.serverMetadata()
assert.equal(metadata.issuer, server.issuer)
assert.equal(metadata.token_endpoint, `${server.issuer}/token`)
assert(metadata.supportsPKCE())
report('discovery')

const wanted = { scope: 'read', resource: server.api }
const checkToken = (answer) => {
  assert.equal(answer.token_type, 'bearer')
  assert(answer.expires_in > 0 && answer.expires_in - answer.expiresIn() < 60) // expiresIn() counts down
  assert.equal(answer.scope, 'read')
  assert.equal(answer.refresh_token, undefined)
}
const ways = { client_secret_basic: oauth.ClientSecretBasic, client_secret_post: oauth.ClientSecretPost }
for (const [name, [id, secret]] of [['reports', ['reports', 'reports-secret']], ['special characters', server.odd]]) {
  for (const [way, authentication] of Object.entries(ways)) {
    checkToken(await oauth.clientCredentialsGrant(await client(id, authentication(secret)), wanted))
    report(`client_credentials by ${way}: ${name}`)
  }
}
const [plainId, plainSecret] = server.plain
checkToken(await oauth.clientCredentialsGrant(await client(plainId, oauth.ClientSecretBasic(plainSecret)), wanted))
report('client_credentials by client_secret_basic: no encoding needed')
const key = await jose.importPKCS8(server.key, 'ES256')
const signs = await client('signs', oauth.PrivateKeyJwt({ key, kid: server.kid }))
const token = await oauth.clientCredentialsGrant(signs, wanted)
checkToken(token)
report('client_credentials by private_key_jwt')

const keys = jose.createRemoteJWKSet(new URL(metadata.jwks_uri))
const verify = async (jwt) => {
  const rules = { issuer: server.issuer, audience: server.api, typ: 'at+jwt', requiredClaims: ['sub', 'client_id', 'jti', 'exp'] }
  return (await jose.jwtVerify(jwt, keys, rules)).payload
}
const claims = await verify(token.access_token)
assert.deepEqual([claims.sub, claims.client_id, claims.scope], ['signs', 'signs', 'read'])
await assert.rejects(verify(token.access_token.replace(/.{8}$/, 'AAAAAAAA')), { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' })
report('the key set verifies the JWT')

const opaque = await oauth.clientCredentialsGrant(reports, { scope: 'read', resource: server.opaque })
const facts = await oauth.tokenIntrospection(signs, opaque.access_token)
assert.deepEqual(
  [facts.active, facts.iss, facts.sub, facts.client_id, facts.aud, facts.scope, facts.exp - facts.iat],
  [true, server.issuer, 'reports', 'reports', server.opaque, 'read', opaque.expires_in],
)
report('introspection: active')
await oauth.tokenRevocation(reports, opaque.access_token)
await oauth.tokenRevocation(reports, 'unknown')
assert.deepEqual(await oauth.tokenIntrospection(reports, opaque.access_token), { active: false })
report('revocation, then introspection: inactive')

for (const [way, authentication] of Object.entries(ways)) {
  const wrong = await client('reports', authentication('wrong'))
  report(`a wrong secret by ${way}: ${await refused(oauth.clientCredentialsGrant(wrong, wanted))}`)
}
const { privateKey } = await jose.generateKeyPair('ES256')
const wrongKey = await client('signs', oauth.PrivateKeyJwt(privateKey))
report(`a wrong key: ${await refused(oauth.clientCredentialsGrant(wrongKey, wanted))}`)
report(`a wrong scope: ${await refused(oauth.clientCredentialsGrant(reports, { scope: 'admin' }))}`)
report(`a wrong resource: ${await refused(oauth.clientCredentialsGrant(reports, { resource: 'https://other.test' }))}`)
report(`a grant that the client may not use: ${await refused(oauth.refreshTokenGrant(reports, 'any'))}`)

const isActive = async (token) => (await oauth.tokenIntrospection(reports, token.access_token)).active
const users = {
  web: [await client('web', oauth.ClientSecretBasic('web-secret')), server.callback],
  native: [await client('native', oauth.None()), server.loopback],
}
const ask = async (config, redirect_uri) => {
  const pkceCodeVerifier = oauth.randomPKCECodeVerifier()
  const expectedState = oauth.randomState()
  const url = oauth.buildAuthorizationUrl(config, {
    redirect_uri,
    scope: 'read write',
    resource: server.api,
    state: expectedState,
    code_challenge: await oauth.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  })
  return { url: await browse(url), checks: { pkceCodeVerifier, expectedState } }
}
for (const [id, [config, redirect]] of Object.entries(users)) {
  const refresh = (token) => oauth.refreshTokenGrant(config, token.refresh_token)

  const { url, checks } = await ask(config, redirect)
  assert.equal(url.searchParams.get('iss'), server.issuer)
  const first = await oauth.authorizationCodeGrant(config, url, checks) // compares state and iss
  report(`${id}: a code, with state and iss`)
  const claims = await verify(first.access_token)
  assert.deepEqual([claims.sub, claims.client_id, claims.scope], ['ada', id, 'read write'])
  report(`${id}: the JWT is Ada's`)
  const second = await refresh(first)
  const third = await refresh(second)
  assert(await isActive(third))
  report(`${id}: refreshed`)
  // Only the refresh tokens of public clients rotate (RFC 9700 §2.2.2).
  assert.equal(second.refresh_token !== first.refresh_token, id === 'native')
  if (id === 'native') {
    report(`${id}: an old refresh token: ${await refused(refresh(first))}`)
    report(`${id}: the session has ended: ${await refused(refresh(third))}`)
    assert(!(await isActive(third)))
  }

  const { url: another, checks: otherChecks } = await ask(config, redirect)
  otherChecks.pkceCodeVerifier = oauth.randomPKCECodeVerifier()
  report(`${id}: a wrong verifier: ${await refused(oauth.authorizationCodeGrant(config, another, otherChecks))}`)

  const { url: replayed, checks: sameChecks } = await ask(config, redirect)
  const given = await oauth.authorizationCodeGrant(config, replayed, sameChecks)
  assert(await isActive(given))
  report(`${id}: a replayed code: ${await refused(oauth.authorizationCodeGrant(config, replayed, sameChecks))}`)
  assert(!(await isActive(given)))
  await refused(refresh(given))
  report(`${id}: its tokens are revoked`)

  const { url: last, checks: lastChecks } = await ask(config, redirect)
  const returned = await oauth.authorizationCodeGrant(config, last, lastChecks)
  await oauth.tokenRevocation(config, returned.refresh_token)
  assert(!(await isActive(returned)))
  report(`${id}: a revoked refresh token: ${await refused(refresh(returned))}`)
}

// With the `iss` of our responses the library itself detects a mix-up (RFC 9207 §2.4).
for (const iss of ['https://other.test', undefined]) {
  const { url, checks } = await ask(...users.web)
  if (iss) url.searchParams.set('iss', iss)
  else url.searchParams.delete('iss')
  const error = await oauth.authorizationCodeGrant(users.web[0], url, checks).catch((error) => error)
  assert.match(error.cause?.message ?? '', /"iss" \(issuer\)/)
}
report('a wrong iss and a missing one are refused')
process.exit()
