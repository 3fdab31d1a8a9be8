import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway, listening, raw, upstream } from '../helpers.ts'

t.test(
  'answers with the pages of the config where HTML is wanted, and fills in what they ask for',
  async (t) => {
    const folder = t.testdir({
      '404.html':
        '<style>p { color: red }</style><p>{status} {title}: {detail} ({code}, {requestId}, {other})</p>',
      '5xx.html': 'server {status}',
      '503.html': 'busy {status}'
    })
    const page = (name: string): string => join(folder, name)
    const app = await gateway(t, {
      errors: { pages: { '404': page('404.html'), '503': page('503.html'), '5xx': page('5xx.html') } },
      routes: [
        { path: '/busy', respond: {}, fault: { status: 503 } },
        { path: '/bad', respond: {}, fault: { status: 500 } },
        { path: '/own', respond: {}, fault: { status: 500 }, errors: { pages: { '5xx': page('404.html') } } },
        { path: '/html', respond: {}, fault: { status: 503 }, errors: { format: 'html' } }
      ]
    })
    const cases = [
      { path: '/busy', accept: 'text/html', body: /^busy 503$/ },
      { path: '/bad', accept: 'text/html', body: /^server 500$/ },
      { path: '/own', accept: 'text/html', body: /500 Internal Server Error: Injected fault/ },
      { path: '/html', accept: '*/*', body: /^busy 503$/ },
      { path: '/busy', accept: 'application/json', body: /"code":"SP_ERR_FAULT_INJECTED"/ },
      { path: '/busy', accept: '*/*', body: /"code":"SP_ERR_FAULT_INJECTED"/ },
      {
        path: '/none',
        accept: 'text/html',
        body: /^<style>p \{ color: red \}<\/style><p>404 Not Found: .+ \(SP_ERR_ROUTE_UNKNOWN, a&lt;b, \{other\}\)<\/p>$/
      }
    ]
    for (const { path, accept, body } of cases) {
      const answer = await app.inject({ url: path, headers: { accept, 'x-request-id': 'a<b' } })
      const wanted =
        path === '/none' ? /<\/style><p>404 Not Found: .+ \(SP_ERR_ROUTE_UNKNOWN, [\w-]+, \{other\}\)/ : body
      t.match(answer.body, wanted, `${path} ${accept}`)
    }
  }
)

t.test('refuses a page that can not be read, with the place', async (t) => {
  const folder = t.testdir({})
  const file = join(folder, 'gateway.json')
  writeFileSync(
    file,
    JSON.stringify({ errors: { pages: { '502': 'gone.html', '600': 'x.html' } }, routes: [] })
  )
  await t.rejects(loadConfig(file, {}), { message: /errors\.pages\.600/ })
  writeFileSync(file, JSON.stringify({ errors: { pages: { '502': 'gone.html' } }, routes: [] }))
  await t.rejects(loadConfig(file, {}), {
    message: /errors\.pages\.502: There is no file gone\.html/
  })
})

t.test('a refusal is never kept by a cache, whatever headers.response says', async (t) => {
  const caching = {
    'Cache-Control': 'public, max-age=60',
    'CDN-Cache-Control': 'max-age=60',
    'Surrogate-Control': 'max-age=60',
    expires: 'Thu, 01 Jan 2099 00:00:00 GMT',
    'x-set': 'yes'
  }
  const down = 'http://127.0.0.1:1'
  const limit = { max: 1, window: '1h', by: 'header:x-by' }
  const config = {
    headers: { response: caching },
    session: {},
    auth: { global: false, session: true, users: { list: [{ name: 'ada', secret: 'a password' }] } },
    routes: [
      { path: '/sound', respond: { body: 'sound' } },
      { path: '/missing', respond: { status: 404, body: 'said by the config' } },
      { path: '/files/*', files: { root: t.testdir({ 'a.js': 'x' }) } },
      { path: '/get', methods: ['GET'], respond: { body: 'x' } },
      { path: '/in', auth: true, respond: { body: 'x' } },
      { path: '/limited', rateLimit: limit, respond: { body: 'x' } },
      { path: '/limited-report', rateLimit: { ...limit, mode: 'report' }, respond: { body: 'x' } },
      { path: '/none', ipAccess: { deny: ['127.0.0.1'] }, respond: { body: 'x' } },
      { path: '/down', proxy: { upstream: down } },
      { path: '/instead', proxy: { upstream: down, fallback: { status: 200, body: 'later' } } },
      {
        path: '/kept',
        proxy: { upstream: down, fallback: { body: 'later', headers: { 'cache-control': 'max-age=5' } } }
      },
      { path: '/removed', headers: { response: { 'cache-control': false } }, auth: true, respond: {} },
      { path: '/up', proxy: { upstream: await upstream(t) } }
    ]
  }
  const cases: [path: string, status: number, cacheControl: string, request?: object][] = [
    ['/sound', 200, 'public, max-age=60'],
    ['/missing', 404, 'public, max-age=60'],
    ['/up', 200, 'public, max-age=60'],
    ['/limited-report', 200, 'public, max-age=60'],
    ['/files/a.js', 200, 'public, max-age=60'],
    ['/files/gone.js', 404, 'public, max-age=60'],
    ['/files/a.js', 405, 'no-store', { method: 'POST' }],
    ['/files/.a.js', 404, 'public, max-age=60'],
    ['/unknown', 404, 'no-store'],
    ['/get', 405, 'no-store', { method: 'POST' }],
    ['/in', 401, 'no-store'],
    ['/in', 401, 'no-store', { headers: { accept: 'text/html' } }],
    ['/limited', 429, 'no-store'],
    ['/none', 403, 'no-store'],
    ['/down', 502, 'no-store'],
    ['/instead', 200, 'no-store'],
    ['/kept', 503, 'max-age=5'],
    ['/removed', 401, 'no-store'],
    ['/login', 200, 'no-store'],
    ['/session', 401, 'no-store'],
    ['/-/live', 200, 'no-store']
  ]
  const { url } = await listening(t, config)
  const send = (path: string, request: object = {}) => fetch(url + path, { redirect: 'manual', ...request })
  for (const path of ['/limited', '/limited-report']) await send(path)
  for (const [path, status, cacheControl, request] of cases) {
    const answer = await send(path, request)
    await answer.arrayBuffer()
    const name = `${path} ${status}`
    t.equal(answer.status, status, name)
    t.equal(answer.headers.get('cache-control'), cacheControl, name)
    const kept = cacheControl.startsWith('public')
    for (const header of ['cdn-cache-control', 'surrogate-control', 'expires'])
      t.equal(answer.headers.has(header), kept, `${name}: ${header}`)
  }
})

t.test('ends every refusal with a newline, whatever its format', async (t) => {
  const gate = await listening(t, { routes: [{ path: '/a', respond: {} }] })
  for (const accept of ['*/*', 'application/json', 'text/plain', 'text/html']) {
    const answer = await fetch(new URL('/none', gate.url), { headers: { accept } })
    t.match(await answer.text(), /[^\n]\n$/, accept)
  }
  t.match(
    await raw(gate.port, 'GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n'),
    /"SP_ERR_REQUEST_MALFORMED".*\}\n$/,
    'a request that cannot be parsed'
  )
})
