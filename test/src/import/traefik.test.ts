import { readFileSync } from 'node:fs'
import bcrypt from 'bcryptjs'
import t from 'tap'
import { upstream } from '../../helpers.ts'
import { expectAll, translated } from './translated.ts'

const authorization = `Basic ${Buffer.from('ada:lovelace').toString('base64')}`

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8')

t.test('a dynamic config answers as in Traefik', async (t) => {
  const hash = bcrypt.hashSync('lovelace', 4)
  const made = await translated(t, 'traefik', fixture('traefik-dynamic.yml').replaceAll('$2a$04$HASH', hash))
  const host = 'shop.example.com'
  const shop = { host }
  const sso = { host: 'sso.example.com' }
  await expectAll(t, made, [
    {
      url: '/x?y=1',
      headers: { host, 'x-debug': '1' },
      status: 200,
      path: '/x?y=1',
      gets: { host, 'x-debug': undefined, 'x-from': 'a{b}' },
      has: { 'x-frame-options': 'DENY' }
    },
    { url: '/api/x', headers: shop, status: 200, path: '/x' },
    { url: '/api/orders', method: 'POST', headers: shop, status: 401 },
    {
      url: '/api/orders/7',
      method: 'POST',
      headers: { host, authorization },
      status: 200,
      path: '/orders/7'
    },
    { url: '/cart', headers: shop, status: 200, gets: { 'x-next': undefined } },
    { url: '/cart/x', headers: { host, 'x-release': 'next' }, status: 200, gets: { 'x-next': 'yes' } },
    { url: '/admin/x', headers: { host, authorization }, status: 403 },
    { url: '/admin/x', headers: shop, from: '192.0.2.7', status: 401 },
    { url: '/administrator', headers: { host: 'admin.example.com' }, from: '192.0.2.7', status: 401 },
    {
      url: '/admin/x',
      headers: { host: 'admin.example.com', authorization },
      from: '192.0.2.7',
      status: 200
    },
    { url: '/x', headers: { host: 'admin.example.com' }, status: 404 },
    { url: '/users/7', headers: sso, status: 401 },
    {
      url: '/users/7',
      headers: { ...sso, cookie: 'sso=1', 'x-user': 'root' },
      status: 200,
      gets: { 'x-user': 'ada' }
    },
    { url: '/users/me', headers: sso, status: 404 },
    { url: '/plugin/x', headers: sso, status: 403 },
    // A rule without a host, whose priority is higher than that of the host.
    { url: '/.well-known/everywhere', headers: shop, status: 403 },
    { url: '/.well-known/everywhere', headers: shop, from: '192.0.2.1', status: 200 },
    { url: '/.well-known/everywhere', headers: { host: 'other.example.com' }, status: 403 },
    { url: '/metrics', headers: { host: 'other.example.com' }, status: 404 },
    ...[200, 200, 429].map((status) => ({ url: '/api/y', headers: shop, status }))
  ])
  t.match(made.text, /"redirectFrom": 80/)
  t.match(
    made.translation.notes.map(({ text }) => text),
    [/^router metrics on internal/, /^middleware geo: plugin/]
  )
})

t.test(
  'labels of a Compose file become routes, and a middleware that is elsewhere closes its router',
  async (t) => {
    const hash = bcrypt.hashSync('lovelace', 4).replaceAll('$', '$$$$')
    const made = await translated(
      t,
      'traefik',
      fixture('traefik-compose.yml').replaceAll('$$2a$$04$$HASH', hash)
    )
    const host = 'notes.home.example'
    await expectAll(t, made, [
      { url: '/', headers: { host, authorization }, status: 403 },
      { url: '/ping/x', headers: { host }, status: 403 },
      { url: '/', headers: { host: 'traefik.home.example' }, status: 403 },
      { url: '/', headers: { host: 'hidden.home.example' }, status: 404 }
    ])
    t.match(
      made.text,
      /"path": "\/ping",\s+"proxy": \{ "upstream": "http:\/\/notes:8000"|"path": "\/ping", "proxy"/
    )
    t.match(made.text, /notes\.\$\{DOMAIN:-home\.example\}/)
  }
)

t.test('a rule that is malformed is an error with its line', async (t) => {
  for (const { rule, message } of [
    { rule: 'Host(`a.example.com`', message: /source\.conf:4: expected a rule such as/ },
    { rule: 'Host(`a`) & Path(`/b`)', message: /source\.conf:4: expected a rule such as/ }
  ])
    await t.rejects(
      translated(
        t,
        'traefik',
        `http:\n  routers:\n    a:\n      rule: ${JSON.stringify(rule)}\n      service: a\n`
      ),
      { name: 'ImportError', message },
      rule
    )
  await t.rejects(translated(t, 'traefik', 'http:\n  routers: [\n'), {
    name: 'ImportError',
    message: /:\d+: This is not YAML/
  })
  await t.rejects(translated(t, 'traefik', '{{ range .x }}\nhttp: {}\n'), {
    name: 'ImportError',
    message: /:1: expected YAML without templates/
  })
})

t.test(
  'reads what other files of the folder have, rules with "!", and redirects of listed paths',
  async (t) => {
    const made = await translated(
      t,
      'traefik',
      `http:
  routers:
    app:
      rule: "Host(\`app.example.com\`) && !PathPrefix(\`/metrics\`)"
      middlewares: [limits@file, dav]
      service: app@file
    closed:
      rule: "Host(\`closed.example.com\`)"
      middlewares: [unknown@file]
      service: app@file
  middlewares:
    dav:
      redirectRegex:
        permanent: true
        regex: "^https?://(.*)/.well-known/(card|cal)dav"
        replacement: "https://\${1}/remote.php/dav/"
`,
      {
        'middlewares.yml':
          'http:\n  middlewares:\n    limits: { chain: { middlewares: [limit] } }\n    unused: { plugin: {} }\n',
        'more.yaml':
          'http:\n  middlewares:\n    limit: { rateLimit: { average: 3, period: 1m, burst: 3 } }\n',
        'services.yml':
          'http:\n  services:\n    app: { loadBalancer: { servers: [{ url: "http://127.0.0.1:4001" }] } }\n'.replaceAll(
            '127.0.0.1:4001',
            (await upstream(t)).replace('http://', '')
          ),
        'broken.yml': 'http: {',
        'compose.yml': 'services: {}\n'
      }
    )
    const host = 'app.example.com'
    await expectAll(t, made, [
      { url: '/a', headers: { host }, status: 200, path: '/a' },
      { url: '/metrics', headers: { host }, status: 404 },
      { url: '/metrics/x', headers: { host }, status: 404 },
      { url: '/.well-known/caldav', headers: { host }, status: 301, location: '/remote.php/dav/' },
      { url: '/.well-known/carddav', headers: { host }, status: 301, location: '/remote.php/dav/' },
      { url: '/b', headers: { host }, status: 200 },
      { url: '/c', headers: { host }, status: 200 },
      { url: '/d', headers: { host }, status: 429 },
      { url: '/', headers: { host: 'closed.example.com' }, status: 403 }
    ])
    t.match(
      made.translation.notes.map(({ line, text }) => `${line} ${text}`),
      [/^9 middleware unknown@file, which is not in this file or beside it; closed/]
    )
  }
)
