// AppAuth-JS in Node.js, as its node_app has it: a loopback server, and PKCE.
import { once } from 'node:events'
import { register } from 'node:module'
import { createServer } from 'node:net'
import { CLIENT_ID, ISSUER } from './settings.mjs'

// The package is meant for bundlers: its imports omit `.js`.
const complete = `export const resolve = (name, context, next) =>
  next(name, context).catch(() => next(name + '.js', context)).catch(() => next(name + '/index.js', context))`
register(`data:text/javascript,${encodeURIComponent(complete)}`)
const appauth = await import('@openid/appauth')
const { NodeBasedHandler, NodeCrypto, NodeRequestor } = await import('@openid/appauth/built/src/node_support/index.js')

const report = console.log
console.log = () => {} // the library logs its requests
const free = createServer().listen(0, 'localhost')
await once(free, 'listening')
const PORT = free.address().port
free.close()
await once(free, 'close')
const redirect_uri = `http://localhost:${PORT}`
const requestor = new NodeRequestor()
// Reads `/.well-known/openid-configuration`.
const configuration = await appauth.AuthorizationServiceConfiguration.fetchFromIssuer(ISSUER, requestor)
const authorization = new NodeBasedHandler(PORT)
const tokens = new appauth.BaseTokenRequestHandler(requestor)
const notifier = new appauth.AuthorizationNotifier()
authorization.setAuthorizationNotifier(notifier)

const code = new Promise((resolve, reject) =>
  notifier.setAuthorizationListener((request, response, error) => (response ? resolve({ request, response }) : reject(error))),
)
const request = new appauth.AuthorizationRequest(
  {
    client_id: CLIENT_ID,
    redirect_uri,
    scope: 'profile',
    response_type: appauth.AuthorizationRequest.RESPONSE_TYPE_CODE,
    state: undefined,
    extras: { prompt: 'consent', access_type: 'offline' },
  },
  new NodeCrypto(),
)
authorization.performAuthorizationRequest(configuration, request) // opens the browser with xdg-open
const { response } = await code

const ask = (grant_type, more) =>
  tokens.performTokenRequest(configuration, new appauth.TokenRequest({ client_id: CLIENT_ID, redirect_uri, grant_type, ...more }))
const token = await ask(appauth.GRANT_TYPE_AUTHORIZATION_CODE, {
  code: response.code,
  extras: { code_verifier: request.internal.code_verifier },
})
const refreshed = await ask(appauth.GRANT_TYPE_REFRESH_TOKEN, { refresh_token: token.refreshToken })
report(refreshed.accessToken && refreshed.isValid() ? 'works' : 'no token')
process.exit()
