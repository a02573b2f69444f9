// Auth.js with a provider of its own, as its guide "Configuring OAuth providers" has it. PKCE is its default check.
import { Auth } from '@auth/core'
import { CLIENT_ID, CLIENT_SECRET, ISSUER, listen, PKCE } from './settings.mjs'

const { origin, visit } = await listen()
const provider = {
  id: 'example',
  name: 'Example',
  type: 'oauth',
  issuer: ISSUER,
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  profile: (profile) => ({ id: profile.sub }),
}
if (PKCE) {
  // The endpoint has no userinfo; the app reads the claims of the token, or calls its own API.
  provider.authorization = { url: `${ISSUER}/authorize`, params: { scope: 'profile' } }
  provider.token = `${ISSUER}/token`
  provider.userinfo = {
    url: `${ISSUER}/userinfo`,
    request: ({ tokens }) => JSON.parse(Buffer.from(tokens.access_token.split('.')[1], 'base64url')),
  }
}
const config = {
  basePath: '/auth',
  trustHost: true,
  secret: 'a secret of at least 32 characters',
  providers: [provider],
  logger: { error: (error) => console.log(`refused: ${error.cause?.err?.message ?? error.message}`) },
}

const app = async (req, res) => {
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  const hasBody = req.method === 'POST'
  let request = new Request(origin + req.url, { method: req.method, headers: req.headers, body: hasBody ? Buffer.concat(chunks) : undefined })
  if (req.url === '/') request = new Request(`${origin}/auth/session`, { headers: req.headers })
  if (req.url === '/login') {
    // The sign-in form posts a CSRF token; the page submits it for the visitor.
    const csrf = await Auth(new Request(`${origin}/auth/csrf`, { headers: req.headers }), config)
    const { csrfToken } = await csrf.json()
    const cookies = csrf.headers.getSetCookie()
    const headers = { cookie: cookies.map((cookie) => cookie.split(';')[0]).join('; '), 'content-type': 'application/x-www-form-urlencoded' }
    const body = new URLSearchParams({ csrfToken, callbackUrl: `${origin}/` })
    const answer = await Auth(new Request(`${origin}/auth/signin/example`, { method: 'POST', headers, body }), config)
    res.writeHead(answer.status, { location: answer.headers.get('location') ?? '/', 'set-cookie': [...cookies, ...answer.headers.getSetCookie()] })
    return res.end()
  }
  const answer = await Auth(request, config)
  res.writeHead(answer.status, [...answer.headers].flat())
  res.end(await answer.text())
}

const page = await visit(app, '/login')
if (page.includes('"user"')) console.log('works')
else if (!PKCE) console.log(page.slice(0, 200))
