// openid-client 6 with its DPoP handle. It repeats a request by itself.
import * as oauth from 'openid-client'
import { browse, finish, lastProof, misuse, redirect_uri, settings, step, url } from './exchanges.mjs'

const { client_id, client_secret, scope, resource } = settings
const authentication = client_secret ? oauth.ClientSecretBasic(client_secret) : oauth.None()
const config = await oauth.discovery(new URL(settings.issuer), client_id, {}, authentication, {
  algorithm: 'oauth2',
  execute: [oauth.allowInsecureRequests], // loopback
})
const DPoP = oauth.getDPoPHandle(config, await oauth.randomDPoPKeyPair())
const get = ({ access_token }) =>
  oauth.fetchProtectedResource(config, access_token, url, 'GET', null, null, { DPoP })

const byCode = async () => {
  const [pkceCodeVerifier, expectedState] = [oauth.randomPKCECodeVerifier(), oauth.randomState()]
  const request = {
    redirect_uri,
    scope,
    ...(resource && { resource }),
    state: expectedState,
    code_challenge: await oauth.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    dpop_jkt: await DPoP.calculateThumbprint(),
  }
  const answer = await browse(oauth.buildAuthorizationUrl(config, request))
  step('token')
  return oauth.authorizationCodeGrant(config, answer, { pkceCodeVerifier, expectedState }, undefined, { DPoP })
}

step('token')
let token = redirect_uri ? await byCode() : await oauth.clientCredentialsGrant(config, { scope, resource }, { DPoP })
for (const name of ['first', 'second', 'third']) {
  step(name)
  await get(token)
}
if (token.refresh_token) {
  step('refresh')
  token = await oauth.refreshTokenGrant(config, token.refresh_token, undefined, { DPoP })
  step('after the refresh')
  await get(token)
}
await misuse(token.access_token, lastProof)
step('afterwards')
await get(token)
if (token.refresh_token) {
  step('refresh with another key')
  const other = oauth.getDPoPHandle(config, await oauth.randomDPoPKeyPair())
  await oauth.refreshTokenGrant(config, token.refresh_token, undefined, { DPoP: other }).catch(() => {})
  step('refresh without a proof')
  await oauth.refreshTokenGrant(config, token.refresh_token).catch(() => {})
  step('refresh with the right key')
  await oauth.refreshTokenGrant(config, token.refresh_token, undefined, { DPoP })
}
finish()
