// What the clients of npm share: the settings of .ci/clients, and the browser.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'

export const { ISSUER, CLIENT_ID, CLIENT_SECRET = 'a secret', PKCE } = process.env

// Opens the URL, logs in, and returns the last page, or the URL of the callback.
export const browse = async (url, ...callback) => {
  const browser = new URL('browser.py', import.meta.url).pathname
  return (await promisify(execFile)('python3', [browser, url, ...callback])).stdout.trim()
}

// Serves the app at a free port, visits its page at this path, and returns the last page.
export const visit = async (app, origin, path) => {
  const server = app.listen(new URL(origin).port, '127.0.0.1')
  try {
    return await browse(origin + path)
  } finally {
    server.close()
    server.closeAllConnections()
  }
}
