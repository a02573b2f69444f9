// passport-oauth2 in an express app, as its README has it.
import express from 'express'
import session from 'express-session'
import passport from 'passport'
import OAuth2Strategy from 'passport-oauth2'
import { CLIENT_ID, CLIENT_SECRET, ISSUER, listen, PKCE } from './settings.mjs'

const { origin, visit } = await listen()
const options = {
  authorizationURL: `${ISSUER}/authorize`,
  tokenURL: `${ISSUER}/token`,
  clientID: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  callbackURL: `${origin}/auth/example/callback`,
}
if (PKCE) Object.assign(options, { pkce: true, state: true })
passport.use(
  new OAuth2Strategy(options, (accessToken, refreshToken, profile, cb) => cb(null, { accessToken, refreshToken })),
)
passport.serializeUser((user, cb) => cb(null, user))
passport.deserializeUser((user, cb) => cb(null, user))

const app = express()
app.use(session({ secret: 'keyboard cat', resave: false, saveUninitialized: false }))
app.use(passport.session())
app.get('/auth/example', passport.authenticate('oauth2'))
app.get(
  '/auth/example/callback',
  (req, res, next) => (req.query.error ? res.send(`refused: ${req.query.error_description}`) : next()),
  passport.authenticate('oauth2', { failureRedirect: '/login' }),
  (req, res) => res.redirect('/'),
)
app.get('/login', (req, res) => res.send('not logged in'))
app.get('/', (req, res) => res.send(req.user?.accessToken && req.user.refreshToken ? 'works' : 'no token'))

console.log(await visit(app, '/auth/example'))
