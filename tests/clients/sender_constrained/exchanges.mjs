// What these scripts share: the settings, a browser, and a record of every HTTP exchange of the client.
//
// SERVER is a JSON object: issuer, token_endpoint, client_id, client_secret or redirect_uri, scope, resource, and url, the
// protected resource for GET. With old_nonces, an object from URLs to nonces, the client gets this nonce in place of the first one
// that the server offers there.
// Each script prints the exchanges as JSON and then "works". A test in tests/it/interop/sender_constrained_clients reads them.
export const settings = JSON.parse(process.env.SERVER)
export const url = new URL(settings.url)
export const redirect_uri = settings.redirect_uri
const exchanges = []
const own = globalThis.fetch
let current
const old = new Map(Object.entries(settings.old_nonces ?? {}))

// Names what the client does from here on.
export const step = (name) => {
  current = name
}

// The last request of each script must be accepted.
export const finish = () => {
  const { step, status, challenge } = exchanges.at(-1)
  if (status !== 200) throw new Error(`${step}: ${status} ${challenge}`)
  console.log(JSON.stringify(exchanges))
  console.log('works')
  process.exit()
}

const part = (jwt, index) => JSON.parse(Buffer.from(jwt.split('.')[index], 'base64url'))

// Returns a `fetch` that records each exchange of this one.
export const recorded = (fetch) => async (input, init) => {
  const request = input instanceof Request && !init ? input : new Request(input, init)
  const proof = request.headers.get('dpop')
  const response = await fetch(input, init)
  const answer = await response.clone().text()
  const json = response.headers.get('content-type')?.startsWith('application/json')
  const exchange = {
    step: current,
    method: request.method,
    url: request.url,
    scheme: request.headers.get('authorization')?.split(' ')[0],
    proof: proof && { header: part(proof, 0), claims: part(proof, 1) },
    status: response.status,
    challenge: response.headers.get('www-authenticate'), // the header lines, joined by a comma
    nonce: response.headers.get('dpop-nonce'),
    cache_control: response.headers.get('cache-control'),
    answer: json ? JSON.parse(answer) : answer,
  }
  exchanges.push(exchange)
  if (!exchange.nonce || !old.has(request.url)) return response
  const headers = new Headers(response.headers)
  headers.set('dpop-nonce', old.get(request.url))
  old.delete(request.url)
  return new Response(response.body, { status: response.status, headers })
}
globalThis.fetch = recorded(own)

// Sends the token of the last accepted request once more: as a bearer token, and with the same proof.
export const misuse = async (token, proof) => {
  step('as bearer')
  await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  step('without a proof')
  await fetch(url, { headers: { authorization: `DPoP ${token}` } })
  step('replayed')
  await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop: proof } })
}

// The proof of the last request.
export let lastProof
const request = globalThis.fetch
globalThis.fetch = (input, init) => {
  const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined))
  lastProof = headers.get('dpop')
  return request(input, init)
}

// Opens the URL, logs Ada in and allows what each page asks. Returns the URL of the callback.
export const browse = async (start) => {
  const cookies = new Map()
  let [page, form] = [new URL(start)]
  for (let pages = 0; pages < 20; pages++) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await own(page, { redirect: 'manual', method: form ? 'POST' : 'GET', body: form, headers: { cookie } })
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = line.match(/^([^=]*)=([^;]*)/)
      cookies.set(name, value)
    }
    form = undefined
    const location = response.headers.get('location')
    if (location) {
      page = new URL(location, page)
      if (page.href.startsWith(redirect_uri)) return page
      continue
    }
    const html = await response.text()
    if (!html.includes('<form')) throw new Error(`${page} has no form: ${response.status} ${html}`)
    form = new URLSearchParams()
    const attribute = (tag, name) => tag.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1].replaceAll('&amp;', '&')
    for (const [tag] of html.matchAll(/<(input|button)\b[^>]*>/g)) {
      const [name, kind] = [attribute(tag, 'name'), attribute(tag, 'type') ?? 'text']
      const value = { text: 'ada', password: 'correct horse' }[kind] ?? attribute(tag, 'value') ?? ''
      if (name && !form.has(name)) form.set(name, tag.startsWith('<button') ? attribute(tag, 'value') : value)
    }
    page = new URL(attribute(html.match(/<form\b[^>]*>/)[0], 'action') ?? page, page)
  }
  throw new Error(`${start} leads to no callback`)
}
