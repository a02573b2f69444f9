// What the clients of npm share: the settings of the tests in tests/it/interop/real_clients, and the browser.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { promisify } from 'node:util'

export const { ISSUER, CLIENT_ID, CLIENT_SECRET = 'a secret', PKCE } = process.env

// Opens the URL, logs in, and returns the last page, or the URL of the callback.
export const browse = async (url, ...callback) => {
  const browser = new URL('browser.py', import.meta.url).pathname
  return (await promisify(execFile)('python3', [browser, url, ...callback])).stdout.trim()
}

// Listens at a free port for an app. Returns its origin, and a function that serves the app, visits its page at this path, and
// returns the last page.
export const listen = async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${server.address().port}`
  const visit = async (app, path) => {
    server.on('request', app)
    try {
      return await browse(origin + path)
    } finally {
      server.close()
      server.closeAllConnections()
    }
  }
  return { origin, visit }
}
