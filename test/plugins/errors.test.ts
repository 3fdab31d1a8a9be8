import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import {
  accessLogLine,
  brokenUpstream,
  gateway,
  listening,
  raw,
  readableLog,
  statusOf,
  upstream
} from '../helpers.ts'
import { throwingTarget } from './throwing-target.ts'

const respond = { body: 'hello' }

t.test('sends problem details (RFC 9457)', async (t) => {
  const app = await gateway(t, { routes: [] })
  const answer = await app.inject('/nowhere')
  t.equal(answer.headers['content-type'], 'application/problem+json')
  t.equal(answer.headers['cache-control'], 'no-store')
  t.strictSame(answer.json(), {
    type: 'about:blank',
    title: 'Not Found',
    status: 404,
    code: 'SP_ERR_ROUTE_UNKNOWN',
    detail: 'Not found: no route matches this path',
    requestId: answer.headers['x-request-id']
  })
  const head = await app.inject({ method: 'HEAD', url: '/nowhere' })
  t.equal(head.statusCode, 404)
  t.equal(head.body, '')
})

t.test('responds in the format that the client prefers', async (t) => {
  const app = await gateway(t, {
    routes: [
      { path: '/text', methods: ['GET'], respond, errors: { format: 'text' } },
      { path: '/html', proxy: { upstream: await brokenUpstream(t) }, errors: { format: 'html' } }
    ]
  })
  const json = 'application/problem+json'
  const html = 'text/html; charset=utf-8'
  const text = 'text/plain; charset=utf-8'
  const browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8'
  const cases: [accept: string | undefined, type: string, url?: string][] = [
    [undefined, json],
    ['*/*', json],
    ['application/json', json],
    ['application/problem+json', json],
    ['application/vnd.api+json', json],
    ['application/json, text/plain, */*', json],
    ['application/*', json],
    ['image/png', json],
    ['', json],
    ['text/html', html],
    ['TEXT/HTML', html],
    [browser, html],
    ['text/plain', text],
    ['text/*', text],
    ['text/html;q=0.1, application/json', json],
    ['application/json;q=0.1, text/html', html],
    ['text/html;q=0.5, text/plain', text],
    ['text/plain;q=0.5, text/html', html],
    ['text/html;q=0, */*', json],
    ['text/html; level=1; q=0.3, text/plain; q=0.4', text],
    ['text/html;q=nonsense, text/plain;q=0.1', text],
    [undefined, html, '/html'],
    ['*/*', html, '/html'],
    ['image/png', html, '/html'],
    ['application/json', json, '/html'],
    ['text/plain', text, '/html']
  ]
  for (const [accept, type, url = '/nowhere'] of cases)
    t.test(`${accept ?? 'no Accept'} at ${url}`, async (t) => {
      const answer = await app.inject({ url, headers: accept === undefined ? {} : { accept } })
      t.equal(answer.headers['content-type'], type)
      t.match(answer.body, url === '/html' ? 'SP_ERR_UPSTREAM_FAILED' : 'SP_ERR_ROUTE_UNKNOWN')
      t.match(answer.body, String(answer.headers['x-request-id']))
    })
})

t.test('responds with a short text or HTML page', async (t) => {
  const app = await gateway(t, { routes: [] })
  const text = await app.inject({ url: '/nowhere', headers: { accept: 'text/plain' } })
  t.equal(
    text.body,
    `404 Not Found\nNot found: no route matches this path\nSP_ERR_ROUTE_UNKNOWN ${String(text.headers['x-request-id'])}\n`
  )
  const page = await app.inject({ url: '/nowhere', headers: { accept: 'text/html' } })
  t.match(
    page.body,
    /^<!doctype html>\n<html lang="en">.*<title>404 Not Found<\/title>.*<h1>Not Found<\/h1>/s
  )
})

t.test('shows errors with their own code, and never the cause of an internal error', async (t) => {
  const folder = t.testdir({ 'boom.mjs': throwingTarget })
  const { log, lines } = readableLog()
  const app = await gateway(
    t,
    { extensions: [{ module: `${folder}/boom.mjs` }], routes: [{ path: '/boom/:how', boom: {} }] },
    { log }
  )
  const inside = { status: 500, code: 'SP_ERR_INTERNAL', detail: 'Internal gateway error' }
  const cases: [how: string, problem: object, logged: boolean][] = [
    ['error', inside, true],
    ['type', inside, true],
    ['text', inside, true],
    ['status', inside, true],
    ['teapot', inside, true],
    ['refused', { status: 409, title: 'Conflict', detail: 'Conflict' }, false]
  ]
  for (const [how, problem, logged] of cases)
    t.test(how, async (t) => {
      const before = lines.length
      for (const accept of ['application/json', 'text/html', 'text/plain']) {
        const answer = await app.inject({ url: `/boom/${how}`, headers: { accept } })
        t.equal(answer.statusCode, (problem as { status: number }).status)
        t.notMatch(answer.body, /1234|reading|a text|stack|row 7|stout|\.ts|\.js|at async/)
        if (accept === 'application/json') t.match(answer.json(), problem)
      }
      const errorLines = lines.slice(before).filter(({ msg }) => msg === 'request failed')
      t.equal(errorLines.length, logged ? 3 : 0, 'only the log has the cause')
      for (const line of errorLines) t.match(line, { level: 'error', requestId: String })
      if (how === 'error')
        t.match(errorLines[0], {
          err: { message: 'the password of the database is 1234', stack: /boom\.mjs/ }
        })
    })
  t.test('an error with its own code', async (t) => {
    const answer = await app.inject('/boom/own')
    t.equal(answer.statusCode, 418)
    t.match(answer.json(), {
      title: "I'm a Teapot",
      code: 'SP_ERR_BOOM_TOO_LOUD',
      detail: '<script>alert("1" + \'2\')</script> & more',
      loudness: 11
    })
    t.equal(answer.headers['x-why'], 'loud')
    const page = await app.inject({ url: '/boom/own', headers: { accept: 'text/html' } })
    t.match(
      page.body,
      '&lt;script&gt;alert(&quot;1&quot; + &#39;2&#39;)&lt;/script&gt; &amp; more',
      'markup stays text'
    )
    t.notMatch(page.body, /<script>/)
  })
})

t.test('responds to parser errors in the same format, and logs them', async (t) => {
  const { log, lines, line } = readableLog()
  const { port } = await listening(t, { routes: [{ path: '/a', respond }] }, { log })
  const cases: [name: string, request: string, status: number, code: string][] = [
    ['not HTTP', 'hello\r\n\r\n', 400, 'SP_ERR_REQUEST_MALFORMED'],
    ['an unknown method', 'BREW / HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'SP_ERR_REQUEST_MALFORMED'],
    [
      'a space in a header name',
      'GET /a HTTP/1.1\r\nHost: a\r\nX A: 1\r\n\r\n',
      400,
      'SP_ERR_REQUEST_MALFORMED'
    ],
    [
      'two lengths',
      'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
      400,
      'SP_ERR_REQUEST_MALFORMED'
    ],
    [
      'a length and chunks',
      'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'SP_ERR_REQUEST_MALFORMED'
    ]
  ]
  for (const [name, request, status, code] of cases)
    t.test(name, async (t) => {
      const before = lines.length
      const answer = await raw(port, request, 5000)
      t.equal(statusOf(answer), status)
      t.match(answer, /\r\ncontent-type: application\/problem\+json\r\n/)
      t.match(answer, /\r\nconnection: close\r\n/)
      t.match(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))), {
        type: 'about:blank',
        title: 'Bad Request',
        status,
        code
      })
      t.match(lines.slice(before), [{ level: 'warn', status, code, ip: '127.0.0.1' }])
    })
  t.test('logs nothing when a client disconnects', async (t) => {
    const before = lines.length
    const client = connect(port, '127.0.0.1')
    client.write('GET /a HTTP/1.1\r\nHost: a\r\n')
    client.resetAndDestroy()
    await once(client, 'close')
    await raw(port, 'GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 5000)
    await line(({ status }) => status === 200)
    t.match(lines.slice(before), [{ status: 200 }])
  })
})

t.test('refuses a log-in with an invalid body', async (t) => {
  const log = readableLog()
  const app = await gateway(
    t,
    {
      auth: { session: true, users: { list: [{ name: 'ada', secret: 'the password of ada' }] } },
      routes: [{ path: '/a', respond }]
    },
    log
  )
  const cases: [name: string, type: string, payload: string, status: number, code: string][] = [
    ['malformed JSON', 'application/json', '{"username": "ada", ', 400, 'SP_ERR_REQUEST_MALFORMED'],
    ['a form labelled as JSON', 'application/json', 'username=ada', 400, 'SP_ERR_REQUEST_MALFORMED'],
    ['a __proto__ key', 'application/json', '{"__proto__": {"a": 1}}', 400, 'SP_ERR_REQUEST_MALFORMED'],
    ['another media type', 'application/xml', '<a/>', 415, 'SP_ERR_REQUEST_MEDIA'],
    ['an invalid media type', 'nonsense', 'a', 415, 'SP_ERR_REQUEST_MEDIA']
  ]
  for (const [name, type, payload, status, code] of cases)
    t.test(name, async (t) => {
      const answer = await app.inject({
        method: 'POST',
        url: '/login',
        payload,
        headers: { 'content-type': type }
      })
      t.equal(answer.statusCode, status)
      t.match(answer.json(), { status, code })
      t.notMatch(answer.body, /JSON|position|FST_/, 'without the message of the parser')
      t.match(await accessLogLine(log, answer), { status, code, refusedBy: 'request' })
    })
})

t.test(
  'responds with the configured pages to clients that accept HTML, with their values filled in',
  async (t) => {
    const folder = t.testdir({
      '404.html':
        '<style>p { color: red }</style><p>{status} {title}: {detail} ({code}, {requestId}, {other})</p>',
      '5xx.html': 'server {status}',
      '503.html': 'busy {status}',
      'gateway.html': 'gateway {status}'
    })
    const page = (name: string): string => join(folder, name)
    const app = await gateway(t, {
      errors: {
        pages: {
          '404': page('404.html'),
          '503': page('503.html'),
          '502-504': page('gateway.html'),
          '5xx': page('5xx.html')
        }
      },
      routes: [
        { path: '/busy', respond: {}, fault: { status: 503 } },
        { path: '/bad', respond: {}, fault: { status: 500 } },
        { path: '/gone', respond: {}, fault: { status: 504 } },
        { path: '/own', respond: {}, fault: { status: 500 }, errors: { pages: { '5xx': page('404.html') } } },
        { path: '/html', respond: {}, fault: { status: 503 }, errors: { format: 'html' } }
      ]
    })
    const cases = [
      { path: '/busy', accept: 'text/html', body: /^busy 503$/ },
      { path: '/bad', accept: 'text/html', body: /^server 500$/ },
      { path: '/gone', accept: 'text/html', body: /^gateway 504$/ },
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

t.test('rejects a missing page with its place in the config', async (t) => {
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

t.test('sends refusals with no-store, whatever headers.response sets', async (t) => {
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
      { path: '/ok', respond: { body: 'ok' } },
      { path: '/missing', respond: { status: 404, body: 'from the config' } },
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
    ['/ok', 200, 'public, max-age=60'],
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
