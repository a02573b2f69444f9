// The two generations of the TypeScript SDK, as their documentation has them. The argument is the package.
import { ISSUER, PROTOCOL, runCases } from './cases.mjs'
import { browse } from '../settings.mjs'

const name = process.argv[2]
const isFirst = name.endsWith('/sdk')
const parts = ['index', 'streamableHttp', 'auth', 'auth-extensions'].map((part) => `${name}/client/${part}.js`)
const sdk = Object.assign({}, ...(await Promise.all((isFirst ? parts : [name]).map((part) => import(part)))))
const options = isFirst ? undefined : { versionNegotiation: { mode: PROTOCOL === '2026-07-28' ? 'auto' : 'legacy' } }

// The provider of an app with a user. It keeps everything in memory.
class UserProvider {
  redirectUrl = 'http://127.0.0.1:3000/callback'
  clientMetadata = { redirect_uris: [this.redirectUrl], grant_types: ['authorization_code'], token_endpoint_auth_method: 'none' }

  constructor(id, traffic) {
    Object.assign(this, { information: { client_id: id, issuer: ISSUER }, traffic })
  }
  clientInformation() { return this.information }
  tokens() { return this.saved }
  saveTokens(tokens) { this.saved = tokens }
  saveCodeVerifier(verifier) { this.verifier = verifier }
  codeVerifier() { return this.verifier }
  redirectToAuthorization(url) {
    this.traffic.requested.push(url.searchParams.get('scope'))
    this.page = url.href
  }
}

const connect = async ({ url, traffic, job, stored, user, token }) => {
  const authProvider =
    (job && new sdk.ClientCredentialsProvider({ clientId: job, clientSecret: 'a secret', expectedIssuer: ISSUER, scope: 'mcp:tools' })) ||
    (user && new UserProvider(user, traffic))
  if (stored) authProvider.saveTokens({ access_token: stored, token_type: 'Bearer', issuer: ISSUER })
  const requestInit = token && { headers: { Authorization: `Bearer ${token}` } }
  const newTransport = () => new sdk.StreamableHTTPClientTransport(new URL(url), { authProvider, requestInit, fetch: traffic.fetch })
  let client, transport
  const logIn = async (error) => {
    if (!user || !(error instanceof sdk.UnauthorizedError)) throw error
    const answer = new URL(await browse(authProvider.page, authProvider.redirectUrl)).searchParams
    await transport.finishAuth(isFirst ? answer.get('code') : answer)
  }
  const start = () => {
    transport = newTransport()
    client = new sdk.Client({ name: 'tests', version: '1.0.0' }, options)
    return client.connect(transport)
  }
  await start().catch((error) => logIn(error).then(start))
  const call = (tool) => client.callTool({ name: tool, arguments: {} })
  return { call: (tool) => call(tool).catch((error) => logIn(error).then(() => call(tool))), close: () => client.close() }
}

// After a 403, the first generation uses its refresh token if it has one, and gets the same scopes again. With
// client_credentials it ignores the challenge's scope.
await runCases(connect, isFirst ? 'without-refresh' : 'native', { stepUpByClientCredentials: !isFirst })
process.exit()
