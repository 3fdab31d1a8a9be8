import t, { type Test } from 'tap'
import { ask, listening, type Seen, upstream } from './helpers.ts'

/** The gateway that many tutorials build from Express and six middlewares, in front of a service that tells too much. */
async function tutorial(t: Test): Promise<string> {
  const service = await upstream(t, (request, response) => {
    response.setHeader('server', 'tutorial/1.0')
    response.setHeader('x-powered-by', 'Express')
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ url: request.url, headers: request.headers }))
  })
  const { url } = await listening(t, {
    securityHeaders: { preset: 'strict' },
    cors: { origins: ['*'] },
    rateLimit: { max: 100, window: '5m' },
    responseTime: true,
    auth: {
      global: false,
      session: true,
      users: { list: [{ name: 'ada', secret: 'lovelace' }] }
    },
    routes: [
      { path: '/search/*', proxy: { upstream: service, rewrite: '/' } },
      { path: '/account/*', auth: true, proxy: { upstream: service, rewrite: '/' } }
    ]
  })
  return url
}

t.test('logs in, calls a protected route, and logs out', async (t) => {
  const url = await tutorial(t)
  let cookie = ''
  const steps: {
    name: string
    method?: string
    path: string
    body?: object
    status: number
    says: RegExp
  }[] = [
    { name: 'the open route', path: '/search/?q=brass', status: 200, says: /"url":"\/\?q=brass"/ },
    { name: 'the protected one', path: '/account/orders', status: 401, says: /SP_ERR_AUTH_MISSING/ },
    {
      name: 'a wrong password',
      method: 'POST',
      path: '/login',
      body: { username: 'ada', password: 'byron' },
      status: 401,
      says: /SP_ERR_AUTH_LOGIN_WRONG/
    },
    { name: 'still protected', path: '/account/orders', status: 401, says: /SP_ERR_AUTH_MISSING/ },
    {
      name: 'a log-in',
      method: 'POST',
      path: '/login',
      body: { username: 'ada', password: 'lovelace' },
      status: 200,
      says: /^Successfully authenticated$/
    },
    {
      name: 'a log-in again',
      method: 'POST',
      path: '/login',
      body: { username: 'ada', password: 'lovelace' },
      status: 200,
      says: /^Already authenticated$/
    },
    { name: 'what is protected', path: '/account/orders', status: 200, says: /"url":"\/orders"/ },
    { name: 'and once more', path: '/account/orders', status: 200, says: /"url":"\/orders"/ },
    { name: 'a log-out', method: 'POST', path: '/logout', status: 200, says: /^Successfully logged out$/ },
    { name: 'protected again', path: '/account/orders', status: 401, says: /SP_ERR_AUTH_MISSING/ },
    { name: 'a log-out again', method: 'POST', path: '/logout', status: 401, says: /SP_ERR_AUTH_NOBODY/ },
    { name: 'the open route, still', path: '/search/', status: 200, says: /"url":"\/"/ }
  ]
  for (const { name, method = 'GET', path, body, status, says } of steps) {
    const answer = await ask(url + path, {
      method,
      headers: {
        ...(cookie === '' ? {} : { cookie }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' })
      },
      body: body === undefined ? null : JSON.stringify(body)
    })
    t.equal(answer.status, status, name)
    t.match(answer.text, says, name)
    t.notMatch(answer.text, /sid=/, 'the session cookie stays at the gateway')
    // As a client that keeps what it got, also once the gateway has ended the session.
    const [given = ''] = answer.headers.getSetCookie()
    if (given !== '' && !given.startsWith('sid=;')) cookie = given.split(';')[0] ?? ''
  }
})

t.test('answers with the headers of helmet and without those that tell too much', async (t) => {
  const url = await tutorial(t)
  for (const [path, status] of [
    ['/search/', 200],
    ['/account/', 401],
    ['/nothing', 404],
    ['/login', 200]
  ] as const) {
    const answer = await ask(url + path, { headers: { origin: 'https://app.example.com' } })
    t.equal(answer.status, status)
    const headers = Object.fromEntries(answer.headers)
    t.match(headers, {
      'content-security-policy': path === '/login' ? /default-src 'none'/ : /default-src 'self'/,
      'cross-origin-opener-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'SAMEORIGIN',
      'x-response-time': /^\d+\.\d\dms$/,
      'access-control-allow-origin': '*'
    })
    t.equal(headers['server'], undefined, path)
    t.equal(headers['x-powered-by'], undefined, path)
  }
})

t.test('answers preflights before authentication', async (t) => {
  const url = await tutorial(t)
  for (const path of ['/search/', '/account/orders']) {
    const { status, headers, text } = await ask(url + path, {
      method: 'OPTIONS',
      headers: {
        origin: 'https://app.example.com',
        'access-control-request-method': 'PUT',
        'access-control-request-headers': 'content-type'
      }
    })
    t.equal(status, 204, path)
    t.equal(text, '')
    t.equal(headers.get('access-control-allow-origin'), '*')
    t.match(headers.get('access-control-allow-methods'), 'PUT')
    t.equal(headers.get('access-control-allow-headers'), 'content-type')
    t.equal(headers.get('access-control-allow-credentials'), null)
  }
  const plain = await ask(`${url}/search/`, { method: 'OPTIONS' })
  t.equal(plain.status, 200, 'any other OPTIONS is the service’s')
  t.match(JSON.parse(plain.text) as Seen, { url: '/' })
})

t.test('refuses the 101st request of five minutes, whatever it is for', async (t) => {
  const url = await tutorial(t)
  for (let i = 0; i < 100; i++) {
    const [path, status] = (
      [
        ['/search/', 200],
        ['/account/', 401],
        ['/nothing', 404],
        ['/session', 401]
      ] as const
    )[i % 4] ?? ['/', 404]
    const answer = await ask(url + path)
    t.equal(answer.status, status)
    t.match(answer.headers.get('ratelimit'), `r=${99 - i};`)
  }
  for (const path of ['/search/', '/account/', '/nothing', '/login']) {
    const { status, headers, text } = await ask(url + path)
    t.equal(status, 429, path)
    const wait = Number(headers.get('retry-after'))
    t.ok(wait > 280 && wait <= 300, 'tells when to come again')
    t.match(headers.get('ratelimit-policy'), 'q=100;w=300')
    t.match(JSON.parse(text), { code: 'SP_ERR_RATE_LIMIT_EXCEEDED' })
    t.equal(headers.get('x-content-type-options'), 'nosniff')
  }
  t.equal((await ask(`${url}/-/ready`)).status, 200, 'readiness is still public')
})
