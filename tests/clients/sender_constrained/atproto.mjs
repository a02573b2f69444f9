// The OAuth client of the AT Protocol: from the protected resource it finds the authorization server, logs in, and calls the
// resource. It takes a nonce from every answer, and repeats a request only if the answer says so in the way it knows.
import { JoseKey } from '@atproto/jwk-jose'
import { OAuthClient, buildAtprotoLoopbackClientMetadata } from '@atproto/oauth-client'
import { createHash, randomBytes } from 'node:crypto'
import { browse, finish, lastProof, misuse, redirect_uri, settings, step, url } from './exchanges.mjs'

class Memory {
  items = new Map()
  get = (key) => this.items.get(key)
  set = (key, value) => void this.items.set(key, value)
  del = (key) => void this.items.delete(key)
}

// Ada's account: her server is the protected resource.
const did = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz'
const service = { id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: url.origin }
const identity = { did, handle: 'ada.test', didDoc: { id: did, service: [service] } }

// The protocol wants the account in the token response, which is a thing of the protocol: these servers do not say it.
const withSubject = async (input, init) => {
  const response = await fetch(input, init)
  const json = response.ok && response.headers.get('content-type')?.startsWith('application/json')
  const answer = json && (await response.clone().json())
  return answer?.access_token ? Response.json({ ...answer, sub: did }, response) : response
}

const client = new OAuthClient({
  clientMetadata: buildAtprotoLoopbackClientMetadata({ redirect_uris: [redirect_uri], scope: settings.scope }),
  responseMode: 'query',
  allowHttp: true, // loopback
  fetch: withSubject,
  stateStore: new Memory(),
  sessionStore: new Memory(),
  identityResolver: { resolve: async () => identity },
  runtimeImplementation: {
    createKey: (algorithms) => JoseKey.generate(algorithms),
    digest: (bytes, { name }) => createHash(name).update(bytes).digest(),
    getRandomValues: (length) => randomBytes(length),
  },
})

step('authorize')
const page = await client.authorize('ada.test')
const answer = await browse(page)
step('token')
const { session } = await client.callback(answer.searchParams)
const get = () => session.fetchHandler(url.pathname)
for (const name of ['first', 'second', 'third']) {
  step(name)
  await get()
}
const { access_token } = await session.getTokenSet(false)
await misuse(access_token, lastProof)
step('refresh')
await session.getTokenSet(true)
step('after the refresh')
await get()
finish()
