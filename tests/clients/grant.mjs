// grant in an express app, as its README has it: the provider is configured with its URLs.
import express from 'express'
import session from 'express-session'
import grant from 'grant'
import { CLIENT_ID, CLIENT_SECRET, ISSUER, listen, PKCE } from './settings.mjs'

const { origin, visit } = await listen()
const config = {
  defaults: { origin, transport: 'session', state: true },
  example: {
    authorize_url: `${ISSUER}/authorize`,
    access_url: `${ISSUER}/token`,
    oauth: 2,
    key: CLIENT_ID,
    secret: CLIENT_SECRET,
    scope: ['profile'],
    scope_delimiter: ' ',
    callback: '/hello',
  },
}
if (PKCE) config.example.pkce = true

const app = express()
app.use(session({ secret: 'grant', resave: false, saveUninitialized: false }))
app.use(grant.express(config))
app.get('/hello', (req, res) => {
  const { response } = req.session.grant
  if (response.error) return res.send(`refused: ${response.error.error_description ?? JSON.stringify(response)}`)
  res.send(response.access_token && response.refresh_token ? 'works' : 'no token')
})

console.log(await visit(app, '/connect/example'))
