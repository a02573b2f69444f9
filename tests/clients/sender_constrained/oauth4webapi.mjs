// oauth4webapi with its DPoP handle, at the token endpoint and at the protected resource. It keeps the nonces; the caller
// repeats a request, as in its examples.
import * as oauth from 'oauth4webapi'
import { finish, lastProof, misuse, settings, step, url } from './exchanges.mjs'

const http = { [oauth.allowInsecureRequests]: true } // loopback
const issuer = new URL(settings.issuer)
const as = await oauth
  .discoveryRequest(issuer, { algorithm: 'oauth2', ...http })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))
if (!as.dpop_signing_alg_values_supported.includes('ES256')) throw new Error('the metadata does not have ES256')
const client = { client_id: settings.client_id }
const clientAuth = oauth.ClientSecretBasic(settings.client_secret)
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
const options = { DPoP, ...http }
const once = async (request) => {
  try {
    return await request()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return request()
  }
}

step('token')
const form = new URLSearchParams({ scope: settings.scope, resource: settings.resource })
const token = await once(async () => {
  const response = await oauth.clientCredentialsGrantRequest(as, client, clientAuth, form, options)
  return oauth.processClientCredentialsResponse(as, client, response)
})
const get = () => oauth.protectedResourceRequest(token.access_token, 'GET', url, undefined, undefined, options)
for (const name of ['first', 'second', 'third']) {
  step(name)
  await once(get)
}
await misuse(token.access_token, lastProof)
step('afterwards')
await once(get)
finish()
