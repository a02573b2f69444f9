// oauth4webapi, as its example oauth.ts has it.
import * as oauth from 'oauth4webapi'
import { browse, CLIENT_ID, CLIENT_SECRET, ISSUER } from './settings.mjs'

const http = { [oauth.allowInsecureRequests]: true } // loopback
const issuer = new URL(ISSUER)
const as = await oauth
  .discoveryRequest(issuer, { algorithm: 'oauth2', ...http })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))
const client = { client_id: CLIENT_ID }
const clientAuth = oauth.ClientSecretPost(CLIENT_SECRET)
const redirect_uri = 'http://127.0.0.1:3000/callback'

const code_verifier = oauth.generateRandomCodeVerifier()
const url = new URL(as.authorization_endpoint)
url.searchParams.set('client_id', client.client_id)
url.searchParams.set('redirect_uri', redirect_uri)
url.searchParams.set('response_type', 'code')
url.searchParams.set('scope', 'profile')
url.searchParams.set('code_challenge', await oauth.calculatePKCECodeChallenge(code_verifier))
url.searchParams.set('code_challenge_method', 'S256')
let state
if (as.code_challenge_methods_supported?.includes('S256') !== true) {
  state = oauth.generateRandomState()
  url.searchParams.set('state', state)
}

const answer = new URL(await browse(url.href, redirect_uri))
const params = oauth.validateAuthResponse(as, client, answer, state)
const response = await oauth.authorizationCodeGrantRequest(as, client, clientAuth, params, redirect_uri, code_verifier, http)
const token = await oauth.processAuthorizationCodeResponse(as, client, response)
const again = await oauth.refreshTokenGrantRequest(as, client, clientAuth, token.refresh_token, http)
const refreshed = await oauth.processRefreshTokenResponse(as, client, again)
const revocation = await oauth.revocationRequest(as, client, clientAuth, refreshed.refresh_token, http)
await oauth.processRevocationResponse(revocation)
console.log('works')
