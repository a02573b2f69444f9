// simple-oauth2, as its README has it: a client of its own, and a user's app with state and without PKCE.
import { AuthorizationCode, ClientCredentials } from 'simple-oauth2'
import { browse, CLIENT_ID, CLIENT_SECRET, ISSUER } from './settings.mjs'

// Its default paths are /oauth/token, /oauth/authorize and /oauth/revoke; it has no discovery.
const auth = { tokenHost: ISSUER, tokenPath: '/token', revokePath: '/revoke' }

const job = new ClientCredentials({ client: { id: 'job', secret: 'a secret' }, auth })
const own = await job.getToken({ scope: 'read' })
if (!own.token.access_token || own.expired()) throw new Error('no token')

const client = new AuthorizationCode({ client: { id: CLIENT_ID, secret: CLIENT_SECRET }, auth: { ...auth, authorizePath: '/authorize' } })
const redirect_uri = 'http://127.0.0.1:3000/callback'
const url = client.authorizeURL({ redirect_uri, scope: 'profile', state: 'a state' })
const answer = new URL(await browse(url, redirect_uri)).searchParams
if (answer.has('error')) {
  console.log(`refused: ${answer.get('error_description')}`)
} else {
  const token = await client.getToken({ code: answer.get('code'), redirect_uri, scope: 'profile' })
  const refreshed = await token.refresh({ scope: 'profile' })
  await refreshed.revokeAll()
  const again = await refreshed.refresh().catch((error) => error.data.payload.error)
  console.log(again === 'invalid_grant' ? 'works' : 'the refresh token was not revoked')
}
