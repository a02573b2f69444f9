// oauth4webapi with a client certificate, by undici: certificate-bound tokens (RFC 8705).
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'
import { Agent, fetch as undiciFetch } from 'undici'
import { finish, recorded, settings, step, url } from './exchanges.mjs'

const read = (name) => readFileSync(`${settings.certificates}/${name}`)
const ca = [read('ca.pem'), ...(settings.ca ? [settings.ca] : [])]
const over = (certificate) => {
  const dispatcher = new Agent({ connect: { ca, ...certificate } })
  return recorded((input, init) => undiciFetch(input, { ...init, dispatcher }))
}
const certificate = (name) => ({ key: read(`${name}.key`), cert: read(`${name}.pem`) })
const own = { [oauth.customFetch]: over(certificate('client')), [oauth.allowInsecureRequests]: true }

const issuer = new URL(settings.issuer)
const as = await oauth
  .discoveryRequest(issuer, { algorithm: 'oauth2', ...own })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))
if (!as.tls_client_certificate_bound_access_tokens) throw new Error('the metadata does not say that it binds tokens')
const client = { client_id: settings.client_id, use_mtls_endpoint_aliases: true }

step('token')
const form = new URLSearchParams({ scope: settings.scope, resource: settings.resource })
const response = await oauth.clientCredentialsGrantRequest(as, client, oauth.TlsClientAuth(), form, own)
const { access_token } = await oauth.processClientCredentialsResponse(as, client, response)
const get = async (name, fetch, headers) => {
  step(name)
  const options = { [oauth.customFetch]: fetch, [oauth.allowInsecureRequests]: true }
  await oauth.protectedResourceRequest(access_token, 'GET', url, headers, undefined, options).catch((error) => {
    if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error
  })
}
const headers = new Headers(settings.headers)
await get('own certificate', own[oauth.customFetch], headers)
await get('no certificate', over({}))
await get('another certificate', over(certificate('other')), new Headers(settings.other_headers))
await get('own certificate again', own[oauth.customFetch], headers)
finish()
