import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { brokenUpstream, gateway, readableLog, type Seen, upstream } from '../../helpers.ts'
import { CLIENT, type ReceivedSpan, type Receiver, receiver, SERVER } from './receiver.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
const SAMPLED = `00-${TRACE}-${SPAN}-01`
const UNSAMPLED = `00-${TRACE}-${SPAN}-00`

interface Traced extends Receiver {
  readonly app: FastifyInstance
  /** Closes the gateway, which sends its spans, and returns them. */
  ended(): Promise<ReceivedSpan[]>
}

/** A gateway that sends its spans to a receiver. */
async function traced(
  t: Test,
  config: object,
  { tracing = {}, ...setup }: { tracing?: object } & NonNullable<Parameters<typeof gateway>[2]> = {}
): Promise<Traced> {
  const got = await receiver(t)
  const app = await gateway(t, { ...config, tracing: { endpoint: got.url, ...tracing } }, setup)
  return {
    ...got,
    app,
    async ended() {
      await app.close()
      return got.spans
    }
  }
}

const server = (spans: readonly ReceivedSpan[]): ReceivedSpan => {
  const found = spans.filter(({ kind }) => kind === SERVER)
  if (found.length !== 1) throw new Error(`${found.length} server spans`)
  return found[0] as ReceivedSpan
}
const clients = (spans: readonly ReceivedSpan[]): ReceivedSpan[] =>
  spans.filter(({ kind }) => kind === CLIENT)

/** The trace headers that an upstream has got. */
const headersOf = (body: string): Record<string, string> => (JSON.parse(body) as Seen).headers

t.test('passes all trace headers unchanged where it is off', async (t) => {
  const url = await upstream(t)
  const headers = {
    traceparent: 'whatever it says',
    tracestate: 'A=1,,',
    baggage: `a=${'x'.repeat(9000)}`,
    b3: '0',
    'x-b3-traceid': 'odd'
  }
  for (const tracing of [undefined, false]) {
    const app = await gateway(t, { routes: [{ path: '/*', proxy: { upstream: url } }], tracing })
    const { body } = await app.inject({ url: '/', headers })
    t.match(headersOf(body), headers)
    t.notOk((await app.inject('/')).body.includes('traceparent'))
  }
})

t.test('exports a server span and the client span that the upstream is told of', async (t) => {
  const url = await upstream(t)
  const { app, ended, requests, resources } = await traced(t, {
    routes: [{ path: '/orders/:id', proxy: { upstream: `${url}/v2` } }]
  })
  const response = await app.inject({
    url: '/orders/7?token=secret-in-query',
    headers: { traceparent: SAMPLED, tracestate: 'a=1', baggage: 'b=2', cookie: 'secret-in-cookie=1' }
  })
  const told = headersOf(response.body)
  const spans = await ended()
  const [client, ...others] = clients(spans)
  t.strictSame(others, [])
  t.match(server(spans), {
    name: 'GET /orders/:id',
    traceId: TRACE,
    parentSpanId: SPAN,
    status: { code: 0 },
    attributes: {
      'http.request.method': 'GET',
      'http.route': '/orders/:id',
      'http.response.status_code': 200,
      'url.scheme': 'http',
      'url.path': '/orders/7',
      'client.address': '127.0.0.1',
      'network.protocol.version': '1.1'
    }
  })
  const { hostname, port } = new URL(url)
  t.match(client, {
    name: 'GET',
    traceId: TRACE,
    parentSpanId: server(spans).spanId,
    status: { code: 0 },
    attributes: {
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'url.full': `${url}/v2/orders/7`,
      'server.address': hostname,
      'server.port': Number(port),
      'sallyport.target': `${hostname}:${port}`
    }
  })
  t.equal(told['traceparent'], `00-${TRACE}-${client?.spanId}-01`)
  t.match(told, { tracestate: 'a=1', baggage: 'b=2' })
  t.ok(BigInt(client?.startTimeUnixNano ?? 0) >= BigInt(server(spans).startTimeUnixNano))
  t.ok(BigInt(client?.endTimeUnixNano ?? 0) <= BigInt(server(spans).endTimeUnixNano))
  t.match(requests, [{ path: '/v1/traces', headers: { 'content-type': 'application/json' } }])
  t.notMatch(requests[0]?.text, /secret/)
  t.match(resources, [{ 'service.name': 'sallyport', 'service.instance.id': String }])
})

t.test('names spans by the pattern of the route, and without one by the method', async (t) => {
  const ok = { respond: { status: 204 } }
  const { app, ended } = await traced(t, {
    paths: { doubleSlash: 'reject' },
    routes: [
      { path: ['/a/:x', '/b/*'], ...ok },
      { path: '/c', host: 'one.example.com', ...ok },
      { path: ['/d', '/e/:y'], host: ['one.example.com', 'two.example.com'], ...ok },
      { path: '/shop', routes: [{ path: '/:item', ...ok }] }
    ]
  })
  const cases: [method: string, url: string, host: string, name: string, route: string | undefined][] = [
    ['GET', '/a/1', 'x', 'GET /a/:x', '/a/:x'],
    ['POST', '/b/1/2', 'x', 'POST /b/*', '/b/*'],
    ['GET', '/c', 'one.example.com', 'GET /c', '/c'],
    ['GET', '/e/3', 'two.example.com', 'GET /e/:y', '/e/:y'],
    ['GET', '/shop/cap', 'x', 'GET /shop/:item', '/shop/:item'],
    ['PROPFIND', '/a/1', 'x', 'HTTP /a/:x', '/a/:x'],
    ['GET', '/nowhere', 'x', 'GET', undefined],
    ['GET', '/a//1', 'x', 'GET', undefined]
  ]
  for (const [method, url, host] of cases)
    await app.inject({ method: method as 'GET', url, headers: { host } })
  t.match((await app.inject('/-/live')).statusCode, 200)
  const spans = await ended()
  t.strictSame(
    spans.map(({ name, attributes }) => [name, attributes['http.route']]),
    cases.map(([, , , name, route]) => [name, route])
  )
  t.match(spans[5]?.attributes, {
    'http.request.method': '_OTHER',
    'http.request.method_original': 'PROPFIND'
  })
})

t.test('makes siblings of retries, with the outcome of each', async (t) => {
  let count = 0
  const seen: unknown[] = []
  const flaky = await upstream(t, ({ headers }, response) => {
    seen.push(headers['traceparent'])
    response.statusCode = ++count < 3 ? 503 : 200
    response.end()
  })
  const { app, ended } = await traced(t, {
    routes: [{ path: '/*', proxy: { upstream: flaky, retry: { attempts: 3, on: ['503'], backoff: '1ms' } } }]
  })
  await app.inject('/')
  const spans = await ended()
  const { spanId, traceId } = server(spans)
  t.match(
    clients(spans).map(({ parentSpanId, attributes, status }) => [
      parentSpanId,
      attributes['http.request.resend_count'],
      attributes['http.response.status_code'],
      attributes['error.type'],
      status.code
    ]),
    [
      [spanId, undefined, 503, '503', 2],
      [spanId, 1, 503, '503', 2],
      [spanId, 2, 200, undefined, 0]
    ]
  )
  t.strictSame(
    seen,
    clients(spans).map((span) => `00-${traceId}-${span.spanId}-01`),
    'each attempt is told its own id'
  )
})

t.test('makes siblings of hedges; the slower one is superseded', async (t) => {
  const slow = await upstream(t, () => {})
  const fast = await upstream(t, (_request, response) => void response.end('fast'))
  const { app, ended } = await traced(t, {
    upstreams: { up: { targets: [slow, fast] } },
    routes: [{ path: '/*', proxy: { upstream: 'up', hedge: { after: '10ms' } } }]
  })
  const bodies = [await app.inject('/'), await app.inject('/')].map(({ body }) => body)
  t.strictSame(bodies, ['fast', 'fast'])
  const spans = await ended()
  const superseded = clients(spans).filter(({ attributes }) => attributes['sallyport.superseded'] === true)
  t.ok(superseded.length > 0)
  t.match(superseded[0], { status: { code: 0 }, attributes: { 'sallyport.target': new URL(slow).host } })
  const siblings = clients(spans).filter(({ traceId }) => traceId === superseded[0]?.traceId)
  t.equal(siblings.length, 2)
  t.equal(new Set(siblings.map(({ parentSpanId }) => parentSpanId)).size, 1)
})

t.test(
  'makes siblings of the legs of an aggregate, and of the question of forward authentication',
  async (t) => {
    const service = await upstream(t, (_request, response) => {
      response.setHeader('content-type', 'application/json')
      response.end('{"id":1}')
    })
    const { app, ended } = await traced(t, {
      upstreams: { users: { url: service }, orders: { url: service }, door: { url: service } },
      auth: { forward: { upstream: 'door', path: '/check' } },
      routes: [
        {
          path: '/me',
          aggregate: {
            legs: {
              user: { upstream: 'users', path: '/u' },
              orders: { upstream: 'orders', path: '/o?user={legs.user.id}' }
            }
          }
        }
      ]
    })
    t.equal((await app.inject('/me')).statusCode, 200)
    const spans = await ended()
    t.strictSame(
      clients(spans).map(({ parentSpanId, attributes }) => [
        parentSpanId,
        attributes['sallyport.upstream'],
        new URL(String(attributes['url.full'])).pathname
      ]),
      [
        ['door', '/check'],
        ['users', '/u'],
        ['orders', '/o']
      ].map((each) => [server(spans).spanId, ...each])
    )
    t.notMatch(JSON.stringify(spans), /user=1/)
  }
)

t.test('believes the trace id of everybody, and the sampled flag of trusted proxies alone', async (t) => {
  const url = await upstream(t)
  const cases: [
    name: string,
    trusts: boolean,
    sample: string,
    parent: string | undefined,
    sampled: boolean
  ][] = [
    ['a trusted yes', true, '0%', SAMPLED, true],
    ['a trusted no', true, '100%', UNSAMPLED, false],
    ['an untrusted yes', false, '0%', SAMPLED, false],
    ['an untrusted no', false, '100%', UNSAMPLED, true],
    ['nothing from a trusted proxy', true, '0%', undefined, false],
    ['nothing', false, '100%', undefined, true]
  ]
  for (const [name, trusts, sample, traceparent, sampled] of cases)
    t.test(name, async (t) => {
      const { app, ended } = await traced(
        t,
        { trustedProxies: trusts ? ['loopback'] : [], routes: [{ path: '/*', proxy: { upstream: url } }] },
        { tracing: { sample } }
      )
      const { body } = await app.inject({
        url: '/',
        headers: traceparent === undefined ? {} : { traceparent }
      })
      const [, traceId, spanId, flags] = headersOf(body)['traceparent']?.split('-') ?? []
      if (traceparent !== undefined) t.equal(traceId, TRACE)
      t.not(spanId, SPAN, 'the upstream is the child of the gateway in any case')
      t.equal(flags, sampled ? '01' : '00')
      t.equal((await ended()).length, sampled ? 2 : 0)
    })
})

t.test('begins a new trace with a link where it restarts traces', async (t) => {
  const url = await upstream(t)
  const { app, ended } = await traced(
    t,
    { trustedProxies: ['loopback'], routes: [{ path: '/*', proxy: { upstream: url } }] },
    { tracing: { restart: true } }
  )
  const { body } = await app.inject({ url: '/', headers: { traceparent: UNSAMPLED, tracestate: 'a=1' } })
  const spans = await ended()
  const { traceId, parentSpanId, links } = server(spans)
  t.not(traceId, TRACE)
  t.equal(parentSpanId, undefined)
  t.match(links, [{ traceId: TRACE, spanId: SPAN }])
  t.ok(headersOf(body)['traceparent']?.startsWith(`00-${traceId}-`))
  t.equal(headersOf(body)['tracestate'], undefined, 'it belongs to the other trace')
})

t.test(
  'exports the spans of 5xx responses where "errors" is set, though the trace is not sampled',
  async (t) => {
    const broken = await brokenUpstream(t)
    const fine = await upstream(t)
    const { app, ended } = await traced(
      t,
      {
        routes: [
          { path: '/broken', proxy: { upstream: broken } },
          { path: '/fine', proxy: { upstream: fine } },
          { path: '/own', respond: { status: 500 } }
        ]
      },
      { tracing: { sample: '0%', errors: true } }
    )
    for (const url of ['/broken', '/fine', '/own', '/nowhere']) await app.inject(url)
    const spans = await ended()
    t.match(
      spans.map(({ name, status, attributes }) => [name, status.code, attributes['error.type']]),
      [
        ['GET', 2, 'UND_ERR_SOCKET'],
        ['GET /broken', 2, 'SP_ERR_UPSTREAM_FAILED'],
        ['GET /own', 2, '500']
      ]
    )
    t.equal(spans[0]?.parentSpanId, spans[1]?.spanId)
  }
)

t.test('survives hostile headers, and begins a trace of its own', async (t) => {
  const url = await upstream(t)
  const { app, ended } = await traced(
    t,
    { trustedProxies: ['loopback'], routes: [{ path: '/*', proxy: { upstream: url } }] },
    { tracing: { propagate: ['w3c', 'b3'] } }
  )
  const long = 'x'.repeat(7000)
  const cases: Record<string, string>[] = [
    { traceparent: long },
    { traceparent: `ff-${TRACE}-${SPAN}-01`, tracestate: 'a=1' },
    { traceparent: `00-${'0'.repeat(32)}-${SPAN}-01` },
    { traceparent: '00-__proto__-constructor-01' },
    { traceparent: '00-\u00e9\u00e9-\u00ff-01', tracestate: '\u00e9=\u00ff' },
    { traceparent: `${SAMPLED}, ${SAMPLED}` },
    { b3: long },
    { b3: `${TRACE}-${SPAN}-1-` },
    { 'x-b3-traceid': long, 'x-b3-spanid': long, 'x-b3-sampled': long, 'x-b3-flags': long }
  ]
  for (const headers of cases) {
    const { body, statusCode } = await app.inject({ url: '/', headers })
    t.equal(statusCode, 200)
    const told = headersOf(body)
    const [, traceId, spanId] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/.exec(told['traceparent'] ?? '') ?? []
    t.ok(traceId, JSON.stringify(headers).slice(0, 60))
    t.not(traceId, TRACE)
    t.equal(told['b3'], `${traceId}-${spanId}-1`)
    t.strictSame(
      Object.keys(told).filter((name) => name.startsWith('x-b3-') || name === 'tracestate'),
      [],
      'what is invalid goes no further'
    )
  }
  t.equal((await ended()).length, 2 * cases.length)
})

t.test('drops baggage and tracestate over their limits as a whole', async (t) => {
  const url = await upstream(t)
  const { app } = await traced(t, { routes: [{ path: '/*', proxy: { upstream: url } }] })
  const list = (count: number): string => Array.from({ length: count }, (_, i) => `k${i}=v`).join()
  const cases: [name: string, value: string, kept: boolean][] = [
    ['tracestate', list(32), true],
    ['tracestate', list(33), false],
    ['baggage', list(64), true],
    ['baggage', list(65), false],
    ['baggage', `a=${'x'.repeat(8300)}`, false]
  ]
  for (const [name, value, kept] of cases) {
    const { body } = await app.inject({ url: '/', headers: { traceparent: SAMPLED, [name]: value } })
    t.equal(headersOf(body)[name], kept ? value : undefined, `${name} of ${value.length} bytes`)
  }
})

t.test('continues a trace of B3, and sends both', async (t) => {
  const url = await upstream(t)
  const { app, ended } = await traced(
    t,
    { trustedProxies: ['loopback'], routes: [{ path: '/*', proxy: { upstream: url } }] },
    { tracing: { propagate: ['w3c', 'b3multi'], sample: '0%' } }
  )
  const { body } = await app.inject({ url: '/', headers: { b3: `${TRACE}-${SPAN}-d` } })
  const spans = await ended()
  t.match(server(spans), { traceId: TRACE, parentSpanId: SPAN })
  const [client] = clients(spans)
  t.match(headersOf(body), {
    traceparent: `00-${TRACE}-${client?.spanId}-01`,
    'x-b3-traceid': TRACE,
    'x-b3-spanid': client?.spanId,
    'x-b3-sampled': '1'
  })
  t.equal(headersOf(body)['b3'], undefined)
})

t.test('tells the trace id in log lines and in error responses', async (t) => {
  const log = readableLog()
  const config = { routes: [{ path: '/ok', respond: { status: 204 } }] }
  const { app } = await traced(t, config, { log: log.log, tracing: { sample: '0%' } })
  const refused = await app.inject({ url: '/nowhere', headers: { traceparent: UNSAMPLED } })
  t.match(refused.json(), { status: 404, traceId: TRACE })
  t.match(await log.line(({ status }) => status === 404), { traceId: TRACE, code: 'SP_ERR_ROUTE_UNKNOWN' })
  await app.inject('/ok')
  t.match(await log.line(({ status }) => status === 204), { traceId: /^[0-9a-f]{32}$/ })
  const off = await gateway(t, config, { log: log.log })
  t.notOk('traceId' in (await off.inject('/nowhere')).json())
  t.notOk('traceId' in (log.lines.at(-1) ?? {}))
})

t.test('has the verdicts of the gates as events where the gateway was built with trace', async (t) => {
  const config = {
    ipAccess: { deny: ['127.0.0.1'] },
    auth: { basic: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
    routes: [
      { path: '/a', respond: { body: 'a' }, ipAccess: false },
      { path: '/b', respond: { body: 'b' } }
    ]
  }
  const { app, ended } = await traced(t, config, { trace: true })
  await app.inject({
    url: '/a',
    headers: { authorization: `Basic ${Buffer.from('ada:lovelace').toString('base64')}` }
  })
  await app.inject('/b')
  const [passed, refused] = await ended()
  const verdicts = (span: ReceivedSpan | undefined): unknown[] =>
    (span?.events ?? []).map(({ name, attributes }) => [
      name,
      attributes['sallyport.verdict'],
      attributes['error.type']
    ])
  t.ok(
    verdicts(passed).some((each) => String(each) === 'gate auth,passed,'),
    JSON.stringify(verdicts(passed))
  )
  t.strictSame(verdicts(refused).at(-1), ['gate ipAccess', 'refused', 'SP_ERR_IP_ACCESS_DENIED'])
  t.match(refused?.attributes, { 'error.type': 'SP_ERR_IP_ACCESS_DENIED' })
  t.notMatch(JSON.stringify([passed, refused]), /ada|lovelace/, 'no name of a caller')
  const untraced = await traced(t, config)
  await untraced.app.inject('/b')
  t.strictSame(server(await untraced.ended()).events, [])
})

t.test('takes the endpoint, headers and name of the environment, and the config wins', async (t) => {
  const got = await receiver(t)
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `${got.url}/otel/`,
    OTEL_EXPORTER_OTLP_HEADERS: 'api-key=from%20env, tenant=a=b,broken=%',
    OTEL_SERVICE_NAME: 'edge'
  }
  const routes = [{ path: '/', respond: { status: 204 } }]
  for (const tracing of [true, { service: 'mine', headers: { 'Api-Key': 'own' } }]) {
    const app = await gateway(t, { tracing, routes }, { env })
    await app.inject('/')
    await app.close()
  }
  t.match(got.requests, [
    { path: '/otel/v1/traces', headers: { 'api-key': 'from env', tenant: 'a=b', broken: '%' } },
    { path: '/otel/v1/traces', headers: { 'api-key': 'own', tenant: 'a=b' } }
  ])
  t.match(got.resources, [{ 'service.name': 'edge' }, { 'service.name': 'mine' }])
})

t.test('refuses options that cannot work', async (t) => {
  const cases: [tracing: object, env: Record<string, string>, fault: RegExp][] = [
    [{ endpoint: 'localhost:4318' }, {}, /tracing\.endpoint: expected a URL such as/],
    [{ endpoint: 'http://[' }, {}, /tracing\.endpoint: expected a URL such as/],
    [{}, { OTEL_EXPORTER_OTLP_ENDPOINT: 'nowhere' }, /OTEL_EXPORTER_OTLP_ENDPOINT in the environment/],
    [{ sample: '0.1' }, {}, /tracing\.sample: expected a share/],
    [{ propagate: [] }, {}, /tracing\.propagate/],
    [{ propagate: ['jaeger'] }, {}, /tracing\.propagate\[0\]/],
    [{ headers: { 'a b': 'c' } }, {}, /tracing\.headers/]
  ]
  for (const [tracing, env, fault] of cases)
    await t.rejects(
      gateway(t, { tracing, routes: [{ path: '/', respond: {} }] }, { env }),
      { message: fault },
      JSON.stringify(tracing)
    )
  await t.rejects(gateway(t, { routes: [{ path: '/', respond: {}, tracing: true }] }), {
    message: /tracing/
  })
})
