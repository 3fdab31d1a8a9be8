import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { accessLogLine, brokenUpstream, gateway, readableLog } from './helpers.ts'
import { cookieOf, form } from './login.ts'

// The gateway's own pages: errors, the log-in, who is logged in, and the logout.

const HOSTILE = `"><script>alert('1')</script>&amp;`
const ESCAPED = '&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;'
const respond = { body: 'private' }

const config = {
  auth: {
    session: true,
    users: { list: [{ name: HOSTILE, secret: 'lovelace', email: HOSTILE, roles: [HOSTILE, 'staff'] }] }
  },
  routes: [
    { path: '/private', respond },
    { path: '/staff', auth: { require: { roles: ['admin'] } }, respond },
    { path: '/get', methods: ['GET'], auth: false, respond },
    { path: '/denied', auth: false, ipAccess: { deny: ['127.0.0.1'] }, respond },
    {
      path: '/policy',
      auth: { challenge: 'status' },
      securityHeaders: { csp: "default-src 'self'" },
      respond
    }
  ]
}

const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-site': 'same-origin', accept: 'text/html' }
const credentials = { username: HOSTILE, password: 'lovelace' }

const post = (
  app: FastifyInstance,
  url: string,
  fields: Record<string, string>,
  headers: Record<string, string> = {}
): Promise<LightMyRequestResponse> =>
  app.inject({ method: 'POST', url, ...form(fields, { ...navigation, ...headers }) })

const policyOf = (body: string): string => {
  const [, style = ''] = /<style>(.*)<\/style>/s.exec(body) ?? []
  return `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`
}

t.test('every page is a complete document that runs and loads nothing', async (t) => {
  const down = { path: '/down', auth: false, proxy: { upstream: await brokenUpstream(t) } }
  const app = await gateway(t, { ...config, routes: [...config.routes, down] })
  const cookie = cookieOf(await post(app, '/login', credentials))
  const withCookie = { headers: { ...navigation, cookie } }
  const wrong = (name: string, rest: Record<string, string> = {}): InjectOptions => ({
    method: 'POST',
    ...form({ username: name, password: 'byron', ...rest }, navigation)
  })
  const cases: {
    name: string
    url: string
    more?: InjectOptions
    status: number
    title: string
    says: (string | RegExp)[]
  }[] = [
    {
      name: 'an unknown path',
      url: '/nowhere?<script>',
      status: 404,
      title: '404 Not Found',
      says: ['<h1>Not Found</h1>', '>SP_ERR_ROUTE_UNKNOWN<']
    },
    {
      name: 'a refused method',
      url: '/get',
      more: { method: 'DELETE' },
      status: 405,
      title: '405 Method Not Allowed',
      says: ['Method DELETE not allowed']
    },
    { name: 'a denied address', url: '/denied', status: 403, title: '403 Forbidden', says: [] },
    { name: 'a failed upstream', url: '/down', status: 502, title: '502 Bad Gateway', says: [] },
    {
      name: 'a route with a policy of its own',
      url: '/policy',
      status: 401,
      title: '401 Unauthorized',
      says: ['Authentication required']
    },
    {
      name: 'a missing role',
      url: '/staff',
      more: withCookie,
      status: 403,
      title: '403 Forbidden',
      says: ['>SP_ERR_AUTH_LACKING<']
    },
    {
      name: 'the log-in',
      url: '/login?return_to=/private',
      status: 200,
      title: 'Log in',
      says: [
        'name="return_to" value="/private"',
        /name="username" value="" .* autofocus>/,
        'autocomplete="current-password" required>'
      ]
    },
    {
      name: 'a log-in with a wrong password',
      url: '/login',
      more: wrong(HOSTILE, { return_to: '/a"b' }),
      status: 401,
      title: 'Error: Log in',
      says: [
        '<p role="alert" id="wrong">Invalid username or password.</p>',
        'name="return_to" value="/a%22b"',
        `name="username" value="${ESCAPED}"`,
        /type="password" autocomplete="current-password" required autofocus aria-invalid="true" aria-describedby="wrong">/
      ]
    },
    {
      name: 'a log-in with a name that is too long to show',
      url: '/login',
      more: wrong('x'.repeat(257)),
      status: 401,
      title: 'Error: Log in',
      says: ['name="username" value=""']
    },
    {
      name: 'who is logged in',
      url: '/login',
      more: withCookie,
      status: 200,
      title: 'Logged in',
      says: [
        `<h1>Hello, <bdi>${ESCAPED}</bdi></h1>`,
        `<dt>Email</dt><dd><bdi>${ESCAPED}</bdi></dd>`,
        `<dt>Roles</dt><dd><bdi>${ESCAPED}</bdi>, <bdi>staff</bdi></dd>`,
        '<form method="post" action="/logout"><button>Log out</button></form>'
      ]
    },
    {
      name: 'who is logged in, with a page to go on to',
      url: `/login?return_to=${encodeURIComponent('/a?b=<c>')}`,
      more: withCookie,
      status: 200,
      title: 'Logged in',
      says: ['<a href="/a?b=%3Cc%3E">Go on to <bdi>/a?b=%3Cc%3E</bdi></a>']
    },
    {
      name: 'the page after a logout, for a user who is logged in',
      url: '/login?logged_out',
      more: withCookie,
      status: 200,
      title: 'Logged in',
      says: []
    },
    {
      name: 'the page after a logout',
      url: '/login?logged_out',
      status: 200,
      title: 'Logged out',
      says: ['You are logged out.', '<a href="/login">']
    }
  ]
  for (const { name, url, more = {}, status, title, says } of cases)
    t.test(name, async (t) => {
      const { statusCode, headers, body } = await app.inject({ url, headers: navigation, ...more })
      t.equal(statusCode, status)
      t.match(headers, {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'SAMEORIGIN'
      })
      const policy = String(headers['content-security-policy'])
      t.match(policy, `default-src 'none'; ${policyOf(body)}; img-src data:; base-uri 'none'; form-action '`)
      t.match(policy, body.includes('<form') ? "form-action 'self'; frame-ancestors 'self'" : 'form-action')
      t.match(
        body,
        /^<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport"/
      )
      t.match(body, `<title>${title}</title>`)
      t.match(body, /<main>.*<h1>.*<\/main>\n<\/body>\n<\/html>\n$/s)
      t.notMatch(body, /<script|style="| on\w+=|127\.0\.0\.1/, 'no script, and no address')
      for (const text of says) t.match(body, text)
      if (status >= 400 && !url.startsWith('/login')) {
        t.match(body, `<dt>Request ID</dt><dd><code>${String(headers['x-request-id'])}</code>`)
        t.equal(headers.vary, 'Accept')
      }
    })
})

t.test('a log-in of a browser without return_to goes to the page that shows who is logged in', async (t) => {
  const app = await gateway(t, { ...config, session: { routes: { login: '/account/in' } } })
  for (const fields of [{}, { return_to: '' }, { return_to: '//evil.example' }]) {
    const { statusCode, headers } = await post(app, '/account/in', { ...credentials, ...fields })
    t.equal(statusCode, 303)
    t.equal(headers.location, '/account/in')
  }
})

t.test('a throttled log-in of a browser keeps the page and the name', async (t) => {
  const log = readableLog()
  const app = await gateway(t, config, log)
  const fail = (): Promise<LightMyRequestResponse> =>
    post(app, '/login', { username: 'ada', password: 'byron' })
  const wrong = await fail()
  t.match(await accessLogLine(log, wrong), {
    status: 401,
    code: 'SP_ERR_AUTH_LOGIN_WRONG',
    refusedBy: 'auth'
  })
  for (let i = 0; i < 9; i++) await fail()
  const { statusCode, headers, body } = await fail()
  t.equal(statusCode, 429)
  t.match(headers['retry-after'], /^\d+$/)
  t.match(body, '<p role="alert" id="wrong">Too many failed log-ins: try again later.</p>')
  t.match(body, 'name="username" value="ada"')
})

t.test('a page of another site can neither log in nor out', async (t) => {
  const app = await gateway(t, config)
  const cookie = cookieOf(await post(app, '/login', credentials))
  for (const url of ['/login', '/logout']) {
    const answer = await post(app, url, credentials, { cookie, 'sec-fetch-site': 'cross-site' })
    t.equal(answer.statusCode, 403, url)
    t.match(answer.body, '>SP_ERR_CSRF_')
  }
})

t.test('pages of the config replace those of errors, under the policy of the route', async (t) => {
  const folder = t.testdir({ '401.html': '<p dir="rtl">{status} {code}</p>' })
  const app = await gateway(t, { ...config, errors: { pages: { '401': join(folder, '401.html') } } })
  const { body, headers } = await app.inject({ url: '/policy', headers: { accept: 'text/html' } })
  t.equal(body, '<p dir="rtl">401 SP_ERR_AUTH_MISSING</p>')
  t.equal(headers['content-security-policy'], "default-src 'self'")
  const wrong = await post(app, '/login', { username: 'ada', password: 'byron' })
  t.equal(wrong.statusCode, 401)
  t.match(wrong.body, '<form method="post" action="/login">', 'the log-in page keeps its form')
})

t.test('caches keep errors in different formats apart', async (t) => {
  const files = { path: '/files/*', files: { root: t.testdir({}) } }
  const app = await gateway(t, {
    headers: { response: { 'cache-control': 'public, max-age=60' } },
    cors: { origins: ['https://a.example'] },
    routes: [files]
  })
  for (const accept of ['text/html', 'application/json', 'text/plain', '*/*']) {
    const headers = { accept, origin: 'https://a.example' }
    const answer = await app.inject({ url: '/files/gone.js', headers })
    t.equal(answer.statusCode, 404)
    t.equal(answer.headers['cache-control'], 'public, max-age=60')
    t.equal(answer.headers.vary, 'Origin, Accept', accept)
  }
})
