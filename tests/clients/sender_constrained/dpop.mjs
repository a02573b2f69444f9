// npm's dpop, which makes proofs and leaves the nonces and the requests to its caller.
import * as DPoP from 'dpop'
import { finish, misuse, settings, step, url } from './exchanges.mjs'

const nonces = new Map()
// Sends the request with a proof, and once more if the answer has another nonce and says that it is required.
const send = async (keys, url, { headers = {}, ...init }, token) => {
  const { origin } = new URL(url)
  let response, proof
  for (let attempt = 0; attempt < 2; attempt++) {
    const htu = new URL(url)
    htu.search = htu.hash = ''
    proof = await DPoP.generateProof(keys, htu.href, init.method, nonces.get(origin), token)
    response = await fetch(url, { ...init, headers: { ...headers, dpop: proof } })
    const error = token ? response.headers.get('www-authenticate') : await response.clone().text()
    nonces.set(origin, response.headers.get('dpop-nonce') ?? nonces.get(origin))
    if (!error?.includes('use_dpop_nonce')) break
  }
  return [response, proof]
}

const secret = Buffer.from(`${settings.client_id}:${settings.client_secret}`).toString('base64')
const request = new URLSearchParams({ grant_type: 'client_credentials', scope: settings.scope, resource: settings.resource })
const getToken = async (keys) => {
  const headers = { authorization: `Basic ${secret}` }
  const [response] = await send(keys, settings.token_endpoint, { method: 'POST', headers, body: request })
  return (await response.json()).access_token
}
const get = (keys, token, from = url) =>
  send(keys, from, { method: 'GET', headers: { authorization: `DPoP ${token}` } }, token)

let token, proof, keys
for (const algorithm of ['RS256', 'PS256', 'Ed25519', 'ES256']) {
  keys = await DPoP.generateKeyPair(algorithm)
  step(`token for ${algorithm}`)
  token = await getToken(keys)
  step(`request with ${algorithm}`)
  ;[, proof] = await get(keys, token)
}
await misuse(token, proof)
step('with a query')
await get(keys, token, `${url}?page=2`)
step('with another key')
await get(await DPoP.generateKeyPair('ES256'), token)
step('with a proof for another URL')
const elsewhere = await DPoP.generateProof(keys, 'https://evil.test/', 'GET', nonces.get(url.origin), token)
await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop: elsewhere } })
step('afterwards')
await get(keys, token)
finish()
