// The cases for clients in TypeScript: what the client gets from mcp_server, and what it requests from authorization_server.
// Prints a line for each case: its name, a tab, and `works` or what differs.
import { strict as assert } from 'node:assert'

export const { ISSUER, RESOURCE, ANOTHER_NAME, TOKEN_FOR_ANOTHER_API, EXPIRED_TOKEN, PROTOCOL } = process.env
const DOCUMENT = new URL('/.well-known/oauth-protected-resource/mcp', RESOURCE).href

// What one client and its server sent each other.
export class Traffic {
  // The refusals of the MCP server: status and challenge. 405 for a GET does not count: the server has no stream.
  refusals = []
  // The scopes that the client requested, one entry for each request for authorization.
  requested = []
  // The protocol's version in the client's last request.
  protocol

  fetch = async (input, init) => {
    const response = await fetch(input, init)
    const url = new URL(input.url ?? input)
    if (url.pathname === '/mcp' && [401, 403].includes(response.status)) {
      this.refusals.push([response.status, response.headers.get('www-authenticate')])
    }
    if (url.pathname === '/mcp') this.protocol = new Headers(init.headers).get('mcp-protocol-version')
    const form = url.href === `${ISSUER}/token` ? new URLSearchParams(init.body) : undefined
    if (form?.get('grant_type') === 'client_credentials') this.requested.push(form.get('scope'))
    return response
  }
}

const sorted = (scope) => scope.split(' ').toSorted().join(' ')

// The challenge has these parameters beside the realm, and no other error.
const checkChallenge = ([status, challenge], expected, scope, resource = RESOURCE) => {
  const parameters = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]))
  const document = DOCUMENT.replace(RESOURCE.replace('/mcp', ''), resource.replace('/mcp', ''))
  assert.deepEqual([status, parameters.error, parameters.resource_metadata], [...expected, document])
  if (scope) assert.equal(sorted(parameters.scope), sorted(scope))
}

const whoami = (result) => {
  assert(!result.isError, JSON.stringify(result))
  const facts = JSON.parse(result.content[0].text)
  return [facts.client_id, facts.sub, facts.scopes.toSorted().join(' ')]
}

// The client is refused once, requests the challenge's scope, and calls a tool.
const checkFirst = async (client, traffic, id, subject, { resource, error } = {}) => {
  assert.deepEqual(whoami(await client.call('whoami')), [id, subject, 'mcp:tools'])
  assert.equal(traffic.protocol, PROTOCOL)
  assert.equal(traffic.refusals.length, 1)
  checkChallenge(traffic.refusals[0], [401, error], error ? undefined : 'mcp:tools', resource)
  assert.deepEqual(traffic.requested, ['mcp:tools'])
}

// The tool is refused once, with the least scopes. The client requests them and calls again.
const checkStepUp = async (client, traffic, tool, scope) => {
  const result = await client.call(tool)
  assert(!result.isError, JSON.stringify(result))
  assert.equal(traffic.refusals.length, 2)
  checkChallenge(traffic.refusals[1], [403, 'insufficient_scope'], scope)
  assert.deepEqual(traffic.requested.map(sorted), ['mcp:tools', sorted(scope)])
  assert.equal(whoami(await client.call('whoami'))[2], sorted(scope))
}

const STEPS = [['all-of', 'admin_op', 'mcp:tools mcp:admin'], ['any-of', 'any_op', 'mcp:tools mcp:write']]

// `connect` connects the confidential client `job`, which may have a `stored` token, or the public client `user`, or a client
// with a fixed `token`. It returns an object with `call(tool)` and `close()`.
export const runCases = async (connect, user, { stepUpByClientCredentials }) => {
  const test = async (name, url, settings, body) => {
    let result = 'works'
    try {
      const traffic = new Traffic()
      await body({ url, traffic, ...settings }, traffic)
    } catch (error) {
      result = `${error.message ?? error}`.replace(/\s+/g, ' ')
    }
    console.log(`${name}\t${result}`)
  }
  const connected = (check) => async (settings, traffic) => {
    const client = await connect(settings)
    await check(client, traffic)
    await client.close()
  }
  const first = (id, subject, more) => connected((client, traffic) => checkFirst(client, traffic, id, subject, more))
  const stepUp = (id, subject, tool, scope) =>
    connected(async (client, traffic) => {
      await checkFirst(client, traffic, id, subject)
      await checkStepUp(client, traffic, tool, scope)
    })
  const refused = async (settings, traffic) => {
    const error = await connect(settings).then(() => assert.fail('it was accepted'), (error) => error)
    assert(error && traffic.refusals.length > 0, error)
    for (const refusal of traffic.refusals) checkChallenge(refusal, [401, 'invalid_token'])
  }

  await test('client_credentials', RESOURCE, { job: 'job' }, first('job', 'job'))
  await test('another name', ANOTHER_NAME, { job: 'job' }, first('job', 'job', { resource: ANOTHER_NAME }))
  await test('code', RESOURCE, { user }, first(user, 'ada'))
  for (const [kind, tool, scope] of STEPS) {
    await test(`step-up by code, ${kind}`, RESOURCE, { user }, stepUp(user, 'ada', tool, scope))
    if (!stepUpByClientCredentials) continue
    await test(`step-up by client_credentials, ${kind}`, RESOURCE, { job: 'job' }, stepUp('job', 'job', tool, scope))
  }
  await test('wrong audience', RESOURCE, { token: TOKEN_FOR_ANOTHER_API }, refused)
  await test('expired', RESOURCE, { token: EXPIRED_TOKEN }, refused)
  const renewed = first('job', 'job', { error: 'invalid_token' })
  await test('expired, then a new token', RESOURCE, { job: 'job', stored: EXPIRED_TOKEN }, renewed)
}
