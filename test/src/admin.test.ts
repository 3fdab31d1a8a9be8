import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import t from 'tap'
import { openAdmin } from '../../src/admin/listener.ts'
import { formatMetrics } from '../../src/admin/metrics-format.ts'
import type { AdminSource } from '../../src/admin/report.ts'
import { stage } from '../admin.ts'
import { authority } from '../certificates.ts'
import { ask, closed, noOpenssl, raw, running, statusOf, upstream } from '../helpers.ts'

/** Reads the values of a metric by its labels. */
async function values(admin: string, name: string): Promise<Record<string, number>> {
  const { text } = await ask(`${admin}/metrics`)
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(name.length, at), Number(line.slice(at + 1))]
    })
  )
}

t.test('/status shows the state and the load of a gateway', async (t) => {
  const slow = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  const orders = await upstream(t, (request, response) => {
    if (request.url !== '/slow') return void response.end('ok')
    asked.resolve()
    void slow.promise.then(() => response.end('at last'))
  })
  const { admin, url, engine, file } = await stage(t, {
    upstreams: { orders: { url: orders } },
    ipAccess: { allow: ['loopback'] },
    routes: [{ name: 'orders', path: '/*', methods: ['GET'], proxy: { upstream: 'orders' } }]
  })
  const answer = ask(`${url}/slow`)
  await asked.promise
  const { status, headers, text } = await ask(`${admin}/status`)
  t.equal(status, 200)
  t.match(headers.get('content-type'), /^application\/json/)
  t.equal(headers.get('cache-control'), 'no-store')
  const told = JSON.parse(text) as Record<string, unknown> & { routes: { name: string }[] }
  t.match(told, {
    version: '1.2.3',
    generation: 1,
    draining: false,
    inFlight: 1,
    connections: 1,
    webSockets: 0,
    store: 'memory',
    lastReload: null,
    upstreams: [
      {
        name: 'orders',
        inFlight: 1,
        targets: [
          {
            name: orders.slice(7),
            ready: true,
            healthy: true,
            ejected: false,
            breaker: 'closed',
            inFlight: 1
          }
        ]
      }
    ],
    workers: [{ pid: process.pid, inFlight: 1 }]
  })
  t.match(
    told.routes.find(({ name }) => name === 'orders'),
    { paths: ['/*'], methods: ['GET', 'HEAD'], target: 'proxy', gates: /./ }
  )
  slow.resolve()
  t.equal((await answer).text, 'at last')

  writeFileSync(file, '{ "routes": [], "rateLimt": {} }')
  await engine.reload('a test')
  const after = JSON.parse((await ask(`${admin}/status`)).text) as { lastReload: { faults: string[] } }
  t.match(after, { generation: 1, inFlight: 0, lastReload: { outcome: 'refused', why: 'a test' } })
  t.match(after.lastReload.faults[0], /did you mean "rateLimit"/)
  writeFileSync(file, '{ "routes": [] }')
  await engine.reload('a test')
  t.match(JSON.parse((await ask(`${admin}/status`)).text), {
    generation: 2,
    lastReload: { outcome: 'taken', faults: [] }
  })
  t.strictSame(await values(admin, 'sallyport_reloads_total'), {
    '{outcome="taken"}': 1,
    '{outcome="refused"}': 1
  })
  t.strictSame(await values(admin, 'sallyport_generation'), { '': 2 })
})

t.test('/metrics counts requests across reloads when "metrics" is on', async (t) => {
  const orders = await upstream(t, (request, response) => {
    request.resume().on('end', () => response.writeHead(request.url === '/broken' ? 500 : 200).end('answer'))
  })
  const { admin, url, engine, file } = await stage(t, {
    metrics: true,
    upstreams: { orders: { url: orders } },
    auth: { apiKeys: { list: [{ id: 'ada', secret: 'the key of ada' }], from: ['header:x-api-key'] } },
    routes: [
      { name: 'orders', path: '/orders/*', auth: false, proxy: { upstream: 'orders', rewrite: '/' } },
      { name: 'mine', path: '/mine', respond: { body: 'yours' } },
      { path: '/few', auth: false, rateLimit: { max: 1, window: '1h' }, respond: { body: 'few' } },
      {
        path: '/soon',
        auth: false,
        ipAccess: { allow: ['10.0.0.0/8'], mode: 'report' },
        respond: { body: 'soon' }
      }
    ]
  })
  await ask(`${url}/orders/1`)
  await ask(`${url}/orders/broken`)
  await ask(`${url}/orders/1`, { method: 'POST', body: '12345' })
  await ask(`${url}/mine`)
  await ask(`${url}/mine`, { headers: { 'x-api-key': 'the key of ada' } })
  await ask(`${url}/few`)
  await ask(`${url}/few`)
  await ask(`${url}/soon`)
  await ask(`${url}/nowhere`)
  const counted = await values(admin, 'sallyport_requests_total')
  t.strictSame(counted, {
    '{route="orders",method="GET",status="2xx"}': 1,
    '{route="orders",method="GET",status="5xx"}': 1,
    '{route="orders",method="POST",status="2xx"}': 1,
    '{route="mine",method="GET",status="2xx"}': 1,
    '{route="mine",method="GET",status="4xx"}': 1,
    '{route="/few",method="GET",status="2xx"}': 1,
    '{route="/few",method="GET",status="4xx"}': 1,
    '{route="/soon",method="GET",status="2xx"}': 1,
    '{route="not found",method="GET",status="4xx"}': 1
  })
  t.equal((await values(admin, 'sallyport_request_duration_seconds_count'))['{route="orders"}'], 3)
  t.equal((await values(admin, 'sallyport_request_duration_seconds_bucket'))['{le="+Inf",route="orders"}'], 3)
  t.equal((await values(admin, 'sallyport_upstream_duration_seconds_count'))['{upstream="orders"}'], 3)
  t.equal((await values(admin, 'sallyport_request_bytes_total'))['{route="orders"}'], 5)
  t.equal((await values(admin, 'sallyport_response_bytes_total'))['{route="orders"}'], 18)
  t.strictSame(await values(admin, 'sallyport_would_refuse_total'), {
    '{gate="ipAccess",code="SP_ERR_IP_ACCESS_DENIED"}': 1
  })
  t.strictSame(await values(admin, 'sallyport_auth_total'), {
    '{way="none",outcome="refused"}': 1,
    '{way="apiKeys",outcome="passed"}': 1
  })
  t.strictSame(await values(admin, 'sallyport_rate_limit_total'), {
    '{limit="default",outcome="passed"}': 1,
    '{limit="default",outcome="refused"}': 1
  })
  t.match(await values(admin, 'sallyport_refusals_total'), {
    '{gate="auth",code="SP_ERR_AUTH_MISSING"}': 1,
    '{gate="rateLimit",code="SP_ERR_RATE_LIMIT_EXCEEDED"}': 1
  })
  t.ok(
    Object.keys(await values(admin, 'sallyport_gate_duration_seconds_count')).length > 0,
    'gates are timed'
  )

  writeFileSync(
    file,
    JSON.stringify({ metrics: true, routes: [{ name: 'mine', path: '/mine', respond: { body: '' } }] })
  )
  t.equal((await engine.reload('a test')).outcome, 'taken')
  await ask(`${url}/mine`)
  const after = await values(admin, 'sallyport_requests_total')
  t.equal(after['{route="mine",method="GET",status="2xx"}'], 2, 'counts outlive a reload')
  t.notOk(
    Object.keys(after).some((labels) => labels.includes('"orders"')),
    'routes that are gone are not told of'
  )
})

t.test('/metrics shows the built-in gauges, and counts no request, without "metrics"', async (t) => {
  const { admin, url } = await stage(t, { routes: [{ path: '/', respond: { body: 'x' } }] })
  await ask(url)
  t.strictSame(await values(admin, 'sallyport_requests_total'), {})
  t.strictSame(await values(admin, 'sallyport_requests_in_flight'), { '': 0 })
  t.strictSame(await values(admin, 'sallyport_workers'), { '': 1 })
  t.ok((await values(admin, 'process_resident_memory_bytes'))[''])
  t.equal(Object.keys(await values(admin, 'sallyport_event_loop_delay_seconds')).length, 3)
  const { headers } = await ask(`${admin}/metrics`)
  t.match(headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
})

t.test(
  'shows when each certificate expires, and whether its renewal failed',
  { skip: noOpenssl },
  async (t) => {
    const { certFile, keyFile } = authority(t).issue('/CN=one', 'DNS:one.example,DNS:two.example')
    const { admin } = await stage(t, {
      tls: { certificates: [{ cert: certFile, key: keyFile }] },
      routes: [{ path: '/', respond: { body: 'x' } }]
    })
    const status = JSON.parse((await ask(`${admin}/status`)).text) as { certificates: { ends: string }[] }
    t.match(status.certificates, [{ names: ['one.example', 'two.example'], ends: /Z$/, from: 'files' }])
    t.strictSame(await values(admin, 'sallyport_certificate_expiry_seconds'), {
      '{names="one.example,two.example",from="files"}': Date.parse(status.certificates[0]?.ends ?? '') / 1000
    })
    t.strictSame(await values(admin, 'sallyport_certificate_trouble'), {
      '{names="one.example,two.example",from="files"}': 0
    })
  }
)

t.test('adds no series for values that clients choose', async (t) => {
  const { admin, url } = await stage(t, {
    metrics: true,
    routes: [{ path: '/:any', respond: { body: 'x' } }]
  })
  for (let i = 0; i < 50; i++) await ask(`${url}/${i}?q=${i}`, { headers: { 'x-request-id': String(i) } })
  for (let i = 0; i < 50; i++) await ask(`${url}/nowhere/${i}`)
  t.strictSame(await values(admin, 'sallyport_requests_total'), {
    '{route="/:any",method="GET",status="2xx"}': 50,
    '{route="not found",method="GET",status="4xx"}': 50
  })
})

t.test('counts a WebSocket while it is open, and not as a slow request', async (t) => {
  const server = createServer()
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n')
    socket.on('end', () => socket.end()).on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const { admin, engine } = await stage(t, {
    metrics: true,
    routes: [{ name: 'socket', path: '/socket', proxy: { upstream: `http://127.0.0.1:${port}` } }]
  })
  const socket = connect(engine.served.address.port, '127.0.0.1')
  socket.write(
    'GET /socket HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  )
  await once(socket, 'data')
  t.strictSame(await values(admin, 'sallyport_websockets_open'), { '': 1 })
  socket.end()
  await closed(socket)
  while ((await values(admin, 'sallyport_websockets_open'))[''] !== 0);
  t.equal((await values(admin, 'sallyport_requests_total'))['{route="socket",method="GET",status="1xx"}'], 1)
  t.equal((await values(admin, 'sallyport_request_duration_seconds_count'))['{route="socket"}'], 0)
})

t.test('/status and /metrics show no password of an upstream that is a URL', async (t) => {
  const { host } = new URL(await upstream(t))
  const { admin, url } = await stage(t, {
    routes: [
      { path: '/a', proxy: { upstream: `http://a:hunter2@${host}` } },
      { path: '/b', proxy: { upstream: `http://b:hunter2@${host}` } },
      { path: '/c', proxy: { upstream: `http://${host}` } }
    ]
  })
  for (const path of ['/a', '/b', '/c']) t.equal((await ask(url + path)).status, 200)
  const { text } = await ask(`${admin}/status`)
  const names = [`http://***@${host}`, `http://***@${host} (2)`, `http://${host}`]
  t.match(
    JSON.parse(text).upstreams.map(({ name }: { name: string }) => name),
    names
  )
  const requests = await values(admin, 'sallyport_upstream_target_up')
  t.same(Object.keys(requests).sort(), names.map((name) => `{upstream="${name}",target="${host}"}`).sort())
  t.notMatch(text + (await ask(`${admin}/metrics`)).text, 'hunter2')
})

/** Writes what the environment fills in. */
const from = (name: string): string => `$\{${name}}`

t.test('/config shows the effective config without secrets', async (t) => {
  const { admin } = await stage(
    t,
    {
      upstreams: {
        orders: { url: from('ORDERS') },
        legacy: { url: 'http://user:hunter2@127.0.0.1:9' }
      },
      session: { secrets: ['a session secret that nobody may see at all'] },
      auth: {
        session: true,
        users: { list: [{ name: 'ada', secret: 'a password of ada' }] },
        apiKeys: { from: ['header:x-key'], list: [{ id: 'bob', secret: from('KEY') }] }
      },
      headers: {
        request: {
          'x-upstream': `Bearer ${from('KEY')}`,
          authorization: 'Basic abc',
          'x-internal-auth': 'open up'
        }
      },
      'x-own': 'ignored',
      routes: [
        {
          name: 'orders',
          path: '/orders/*',
          proxy: { upstream: 'orders' },
          rateLimit: { max: 3, window: '1s' }
        }
      ]
    },
    { env: { ORDERS: 'http://svc:pa55@127.0.0.1:8', KEY: 'sesame-sesame-sesame' } }
  )
  const { status, text } = await ask(`${admin}/config`)
  t.equal(status, 200)
  for (const secret of [
    'hunter2',
    'pa55',
    'sesame',
    'session secret',
    'password of ada',
    'Basic abc',
    'open up'
  ])
    t.notMatch(text, secret, `"${secret}" is not shown`)
  const shown = JSON.parse(text) as { routes: object[] }
  t.match(shown, {
    session: { secrets: ['***'] },
    upstreams: { orders: { url: 'http://***@127.0.0.1:8' }, legacy: { url: 'http://***@127.0.0.1:9' } },
    headers: { request: { 'x-upstream': '***', authorization: '***' } },
    routes: [
      {
        name: 'orders',
        path: ['/orders/*'],
        proxy: { upstream: 'orders' },
        rateLimit: { max: 3, window: '1s', by: 'ip' }
      }
    ]
  })
})

t.test('/config masks secrets in options that have no secret name', async (t) => {
  const { admin } = await stage(
    t,
    {
      upstreams: {
        a: { url: 'http://127.0.0.1:9', health: { path: '/h?key=S3CRET01&deep=S3CRET02' } },
        b: { url: from('WEBHOOK') },
        c: { url: 'http://bob:p@S3CRET03@127.0.0.1:9' },
        d: { url: 'http://bob:p:@S3CRET04:x@127.0.0.1:9' }
      },
      query: { sig: 'S3CRET05', code: 'S3CRET06', lang: 'S3CRET07', by: '{client.ip}' },
      headers: {
        request: {
          'x-basic': 'Basic UzNDUkVUMDg=',
          'x-bearer': 'bearer S3CRET09',
          'x-amz': 'AWS4-HMAC-SHA256 Credential=S3CRET10',
          'x-jwt': 'a eyJhbGciOiJub25lIn0.eyJzdWIiOiJTM0NSRVQxMSJ9.c2ln',
          'x-random': '4f9a7c1b2d3e4f5a6b7c',
          'x-pwd': 'S3CRET12',
          'x-pass': 'S3CRET13',
          'x-functions-key': 'S3CRET14',
          authorization: { set: 'S3CRET26' },
          'x-api-key': [{ add: 'S3CRET27' }, { default: 'S3CRET28' }],
          'x-mixed': `to ${from('KEY')}`,
          'x-env': 'production',
          'x-ip': '{client.ip}'
        },
        response: { 'x-age': 'max-age=31536000' }
      },
      session: { secrets: ['a session secret that nobody may see at all'] },
      auth: {
        global: false,
        session: true,
        oidc: {
          issuer: 'http://127.0.0.1:9',
          clientId: 'gateway',
          endpoints: {
            authorization: 'http://127.0.0.1:9/authorize',
            token: 'http://127.0.0.1:9/token',
            jwks: 'http://127.0.0.1:9/jwks?k=S3CRET15'
          },
          params: { domain_hint: 'S3CRET16', pass: 'S3CRET17' }
        }
      },
      routes: [
        {
          path: '/r',
          redirect: { to: 'https://x.test/?token=S3CRET18&user={params.x}'.replace('params.x', 'query.u') }
        },
        { path: '/bare', redirect: { to: '/in?S3CRET19' } },
        { path: '/part', redirect: { to: 'https://x.test/#access_token=S3CRET20' } },
        { path: '/one', proxy: { upstream: 'http://bob:p@S3CRET21@127.0.0.1:9' } },
        { path: '/user', redirect: { to: '//bob:S3CRET22@x.test/' } },
        { path: '/said', respond: { headers: { 'x-next': 'https://u:S3CRET23@x.test/?q=S3CRET24' } } }
      ]
    },
    { env: { WEBHOOK: 'http://127.0.0.1:8/hooks/S3CRET25', KEY: 'sesame-sesame-sesame' } }
  )
  const { text } = await ask(`${admin}/config`)
  t.same(text.match(/S3CRET\d\d/g) ?? [], [])
  for (const secret of ['UzNDUkVUMDg', 'eyJhbGci', '4f9a7c1b', 'sesame']) t.notMatch(text, secret)
  t.match(JSON.parse(text), {
    upstreams: {
      a: { health: { path: '/h?key=***&deep=***' } },
      b: { url: 'http://127.0.0.1:8/***' },
      c: { url: 'http://***@127.0.0.1:9' }
    },
    query: { sig: '***', by: '{client.ip}' },
    headers: {
      request: { 'x-basic': 'Basic ***', 'x-env': 'production', 'x-ip': '{client.ip}' },
      response: { 'x-age': 'max-age=31536000' }
    },
    auth: { oidc: { endpoints: { authorization: 'http://127.0.0.1:9/authorize' } } }
  })
})

t.test('restricts access to operators', async (t) => {
  t.test('refuses an unknown Host header (DNS rebinding)', async (t) => {
    const { address } = await stage(t, { routes: [] })
    const hosts = [
      { host: 'localhost:9901', status: 200 },
      { host: 'LOCALHOST', status: 200 },
      { host: '127.0.0.1:1', status: 200 },
      { host: '[::1]:9901', status: 200 },
      { host: '10.1.2.3', status: 200 },
      { host: 'evil.example', status: 403 },
      { host: 'localhost.evil.example', status: 403 },
      { host: '127.0.0.1.evil.example:9901', status: 403 },
      { host: 'evil.example:127.0.0.1', status: 403 },
      { host: '', status: 403 }
    ]
    for (const { host, status } of hosts)
      t.equal(
        statusOf(await raw(address.port, `GET /status HTTP/1.1\r\nhost: ${host}\r\n\r\n`)),
        status,
        `Host: ${host}`
      )
    const several = [
      { target: '/status', host: '127.0.0.1\r\nhost: evil.example', status: 403 },
      { target: '/status', host: 'evil.example\r\nhost: 127.0.0.1', status: 403 },
      { target: 'http://evil.example/status', host: '127.0.0.1', status: 403 },
      { target: 'http://127.0.0.1/status', host: '127.0.0.1', status: 200 }
    ]
    for (const { target, host, status } of several) {
      const answer = await raw(address.port, `GET ${target} HTTP/1.1\r\nhost: ${host}\r\n\r\n`)
      t.equal(statusOf(answer), status, `${target} with host: ${host}`)
    }
  })

  t.test('accepts any Host header with the token', async (t) => {
    const { address } = await stage(t, { routes: [] }, { token: 'a token of the tests' })
    const cases = [
      { name: 'no token', headers: '', status: 401 },
      { name: 'another one', headers: 'authorization: Bearer another\r\n', status: 401 },
      { name: 'a part of it', headers: 'authorization: Bearer a token\r\n', status: 401 },
      { name: 'it alone', headers: 'authorization: a token of the tests\r\n', status: 401 },
      { name: 'the token', headers: 'authorization: Bearer a token of the tests\r\n', status: 200 }
    ]
    for (const { name, headers, status } of cases)
      for (const path of ['/metrics', '/status', '/config']) {
        const answer = await raw(
          address.port,
          `GET ${path} HTTP/1.1\r\nhost: gateway.monitoring\r\n${headers}\r\n`
        )
        t.equal(statusOf(answer), status, `${name}: ${path}`)
        if (status === 401) t.match(answer, /www-authenticate: Bearer/i)
      }
  })

  t.test('sends all errors as problem+json', async (t) => {
    const { admin } = await stage(t, { routes: [{ path: '/mine', respond: { body: 'x' } }] })
    for (const [method, path] of [
      ['GET', '/mine'],
      ['GET', '/-/live'],
      ['POST', '/status'],
      ['GET', '/config/../x']
    ] as const) {
      const { status, headers, text } = await ask(admin + path, { method })
      t.equal(status, 404, `${method} ${path}`)
      t.match(headers.get('content-type'), /problem\+json/)
      t.match(JSON.parse(text), { status: 404, code: 'SP_ERR_ADMIN_PATH', title: 'Not Found' })
    }
    t.match((await ask(`${admin}/`)).text, '/metrics')
  })

  t.test('answers 503 when no process responds', async (t) => {
    const nobody: AdminSource = {
      reports: async () => [],
      metrics: async () => [],
      figures: async () => [],
      config: async () => undefined,
      view: async () => undefined,
      purge: async () => ({ failed: 'silent' }),
      drainTarget: async () => 'silent',
      setLogLevel: async () => {}
    }
    const { address, close } = await openAdmin(nobody, {
      host: '127.0.0.1',
      port: 0,
      token: undefined,
      version: '1'
    })
    t.teardown(close)
    const { status, text } = await ask(`http://127.0.0.1:${address.port}/status`)
    t.equal(status, 503)
    t.match(text, 'SP_ERR_ADMIN_SILENT')
  })
})

t.test('opens on ADMIN_PORT, and serves without it when that port is in use', async (t) => {
  const cwd = t.testdir({ 'gateway.json': '{ "routes": [{ "path": "/", "respond": { "body": "here" } }] }' })
  const first = await running(t, [], { cwd, env: { ADMIN_PORT: '0' } })
  const { admin } = (await first.line(({ admin }) => admin !== undefined)) as { admin: string }
  t.match(JSON.parse((await ask(`${admin}/status`)).text), {
    version: /^\d+\.\d+\.\d+/,
    workers: [{ pid: first.pid }]
  })
  const second = await running(t, [], { cwd, env: { ADMIN_PORT: new URL(admin).port } })
  t.match(await second.line(({ adminPort }) => adminPort !== undefined), {
    level: 'warn',
    code: 'EADDRINUSE'
  })
  t.equal((await ask(second.url)).text, 'here')
  const third = await running(t, [], { cwd })
  t.equal((await ask(third.url)).text, 'here')
  t.notOk(
    third.lines.some(({ admin }) => admin !== undefined),
    'with an empty ADMIN_PORT there is none'
  )
})

t.test('formats metrics as OpenMetrics with exemplars where Accept prefers it', async (t) => {
  const collector = await upstream(t, (_request, response) => void response.end('{}'))
  const { url, admin } = await stage(t, {
    metrics: true,
    tracing: { endpoint: collector, headers: { 'x-team': 'a key of the team' } },
    routes: [{ path: '/*', respond: { body: 'ok' } }]
  })
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  await ask(url, { headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } })
  const PROMETHEUS =
    'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1'
  const cases: [accept: string, isOpenMetrics: boolean][] = [
    ['application/openmetrics-text', true],
    [PROMETHEUS, true],
    ['*/*', false],
    ['text/plain', false],
    ['text/plain, application/openmetrics-text;q=0.9', false],
    ['application/openmetrics-text;q=0', false]
  ]
  for (const [accept, isOpenMetrics] of cases) {
    const { headers, text } = await ask(`${admin}/metrics`, { headers: { accept } })
    const type = isOpenMetrics
      ? 'application/openmetrics-text; version=1.0.0; charset=utf-8'
      : 'text/plain; version=0.0.4; charset=utf-8'
    t.equal(headers.get('content-type'), type, accept)
    t.equal(text.endsWith('\n# EOF\n'), isOpenMetrics)
    const exemplar = new RegExp(
      `^sallyport_request_duration_seconds_bucket\\{le="[^"]+",route="/\\*"\\} 1 # \\{trace_id="${traceId}"\\} [\\d.e-]+ [\\d.]+$`,
      'm'
    )
    t.equal(exemplar.test(text), isOpenMetrics)
    t.match(text, /^sallyport_requests_total\{route="\/\*",method="GET",status="2xx"\} 1$/m)
    t.match(text, /^sallyport_spans_dropped_total\{reason="queue_full"\} 0$/m)
  }
  t.notMatch((await ask(`${admin}/config`)).text, /key of the team/)
})

t.test('takes histograms whose exemplars are null, as prom-client has them', async (t) => {
  const values = [{ labels: { le: '1', kind: 'major' }, value: 1, exemplar: null }]
  const family = {
    name: 'nodejs_gc_duration_seconds',
    help: 'h',
    type: 'histogram',
    values,
    aggregator: 'sum'
  }
  const { text } = await formatMetrics([[family] as never], 'application/openmetrics-text')
  t.match(text, /# EOF/)
})
