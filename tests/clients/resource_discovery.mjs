// oauth4webapi's resource discovery (RFC 9728) with the program protected_api: the document is where the client looks for
// it, names the resource and its authorization server, and the challenge names the document.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import * as oauth from 'oauth4webapi'
import { ISSUER } from './settings.mjs'

const http = { [oauth.allowInsecureRequests]: true } // loopback
const wrong = (what) => {
  console.log(`wrong: ${what}`)
  process.exit(1)
}

const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
const origin = `http://127.0.0.1:${server.address().port}`
server.close()
await once(server, 'close')

for (const path of ['', '/', '/orders', '/v1/', '/v1/orders?tenant=a', '/a%2Fb/%C3%A4']) {
  const identifier = origin + path
  const env = {
    BIND: new URL(origin).host,
    OAUTH_ISSUER: ISSUER,
    OAUTH_AUDIENCE: identifier,
    OAUTH_RESOURCE_METADATA: '1',
    OAUTH_RESOURCE_ALSO: 'https://api.test/orders',
  }
  const program = spawn(process.env.PROTECTED_API, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  try {
    let log = ''
    for await (const chunk of program.stderr) {
      log += chunk
      if (log.includes('listening')) break
    }
    const resource = new URL(identifier)
    const response = await oauth.resourceDiscoveryRequest(resource, http)
    if (response.headers.get('access-control-allow-origin') !== '*') wrong('no page may read the document')
    const metadata = await oauth.processResourceDiscoveryResponse(resource, response)
    if (metadata.resource !== identifier) wrong(`resource ${metadata.resource}`)
    if (metadata.bearer_methods_supported.join() !== 'header') wrong('bearer_methods_supported')
    if (metadata.authorization_servers.join() !== ISSUER) wrong(`authorization_servers ${metadata.authorization_servers}`)
    const issuer = new URL(metadata.authorization_servers[0])
    await oauth
      .discoveryRequest(issuer, { algorithm: 'oauth2', ...http })
      .then((response) => oauth.processDiscoveryResponse(issuer, response))

    const refused = await oauth
      .protectedResourceRequest('x', 'GET', new URL('/whoami', origin), undefined, undefined, http)
      .catch((error) => error)
    if (!(refused instanceof oauth.WWWAuthenticateChallengeError)) wrong(`no challenge: ${refused}`)
    const [challenge] = refused.cause
    const named = await fetch(challenge.parameters.resource_metadata)
    await oauth.processResourceDiscoveryResponse(resource, named)

    const preflight = await fetch(response.url, {
      method: 'OPTIONS',
      headers: { 'access-control-request-method': 'GET', 'access-control-request-headers': 'mcp-protocol-version' },
    })
    const allowed = preflight.headers.get('access-control-allow-headers')
    if (preflight.status !== 204 || allowed !== 'mcp-protocol-version') wrong(`preflight ${preflight.status} ${allowed}`)
  } finally {
    program.kill()
    await once(program, 'exit')
  }
}
console.log('works')
