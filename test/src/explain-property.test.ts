import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import fc from 'fast-check'
import { pino } from 'pino'
import t from 'tap'
import { planOf } from '../../src/config/load.ts'
import { objectSource } from '../../src/config/source.ts'
import { explainOffline } from '../../src/explain/offline.ts'
import { buildGateway } from '../../src/gateway/build.ts'
import { catalog } from '../../src/gateway/catalog.ts'
import { Resources } from '../../src/gateway/resources.ts'
import { serve } from '../../src/server/server.ts'
import { requestBytes, type WrittenRequest } from '../../src/simulation/request-bytes.ts'
import { readResponse } from '../../src/simulation/response-bytes.ts'
import { originOf } from '../helpers.ts'
import { draws } from '../random.ts'

// 10,000 pairs of a config and a request take some minutes: FUZZ=1000 npx tap --timeout=0 test/src/explain-property.test.ts
const { numRuns: RUNS, seed } = draws(25)
const REQUESTS = 10

const KEY = 'a-key-of-the-test-alone-1234567890'

const segment = fc.constantFrom('a', 'b', 'admin', ':id', ':n(\\d+)')
const path = fc
  .tuple(fc.array(segment, { minLength: 0, maxLength: 2 }), fc.boolean())
  .map(
    ([segments, rest]) =>
      `/${segments.map((name, i) => (name.startsWith(':') ? name.replace(/^:\w+/, `:p${i}`) : name)).join('/')}`.replace(
        /\/$/,
        ''
      ) + (rest ? '/*' : '') || '/'
  )

const auth = fc.constantFrom(
  undefined,
  false,
  true,
  { optional: true },
  { require: { roles: ['staff'] } },
  { require: { scopes: ['read'] } }
)
const entry = fc.record(
  {
    path,
    methods: fc.constantFrom(['GET'], ['POST'], ['GET', 'PUT']),
    host: fc.constantFrom('shop.example', '*.shop.example'),
    when: fc.constantFrom(
      { 'header:x-canary': 'true' },
      { 'query:v': ['1', '2'] },
      { 'client.ip': ['127.0.0.0/8'] }
    ),
    auth,
    ipAccess: fc.constantFrom(
      { allow: ['127.0.0.0/8'] },
      { deny: ['127.0.0.1'] },
      { allow: ['10.0.0.0/8'], mode: 'report' }
    ),
    rateLimit: fc.constantFrom({ max: 100, window: '1m' }, { max: 0, window: '1m' }),
    maintenance: fc.constantFrom({ on: true }, { on: true, allow: ['loopback'] }),
    limits: fc.constantFrom({ body: '4b' }, { url: '40b' }),
    headers: fc.constantFrom({ request: { 'x-set': '{method} {path}', accept: false } }),
    query: fc.constantFrom({ lang: 'en', v: false })
  },
  { requiredKeys: ['path'] }
)
const target = fc.constantFrom<(origin: string) => object>(
  (origin) => ({ proxy: { upstream: origin } }),
  (origin) => ({ proxy: { upstream: `${origin}/base`, rewrite: '/v2/' } }),
  () => ({ proxy: { upstream: 'orders', preserveHost: true } }),
  () => ({ respond: { status: 202, body: 'here' } }),
  () => ({ redirect: { to: '/else/', status: 308 } })
)
const routes = fc.array(
  fc.tuple(entry, target).map(([made, to]) => (origin: string) => ({ ...made, ...to(origin) })),
  { minLength: 1, maxLength: 5 }
)
const root = fc.record(
  {
    paths: fc.constantFrom({ ignoreCase: true }, { doubleSlash: 'merge' }, { encodedSlash: 'reject' }),
    trustedProxies: fc.constantFrom(['loopback'], ['10.0.0.0/8']),
    slash: fc.constantFrom('add', 'strip')
  },
  { requiredKeys: [] }
)
const request = fc.record({
  method: fc.constantFrom('GET', 'GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'TRACE'),
  url: fc
    .tuple(
      fc.constantFrom('', '', 'http://shop.example', 'http://b.shop.example', 'https://x.example:8443'),
      fc.array(
        fc.constantFrom(
          'a',
          'b',
          'admin',
          'A',
          '1',
          '42',
          '%61',
          '%2F',
          '%2e%2e',
          '..',
          '',
          'a;x',
          '%00',
          '%'
        ),
        { maxLength: 3 }
      ),
      fc.constantFrom('', '', '?v=1', '?v=3&x=%20', '?')
    )
    .map(([origin, segments, query]) => `${origin}/${segments.join('/')}${query}`),
  headers: fc.uniqueArray(
    fc.constantFrom<[string, string]>(
      ['x-api-key', KEY],
      ['x-api-key', 'wrong'],
      ['x-canary', 'true'],
      ['x-user', 'evil'],
      ['x-forwarded-for', '10.1.1.1'],
      ['accept', 'application/json'],
      ['origin', 'https://evil.example'],
      ['connection', 'close, x-hop'],
      ['x-hop', '1'],
      ['expect', 'nothing']
    ),
    { maxLength: 4, selector: ([name]) => name }
  ),
  body: fc.option(
    fc.constantFrom('', '1234', '12345').map((text) => Buffer.from(text)),
    { nil: undefined }
  )
})

t.test('what is explained is what the running gateway does', async (t) => {
  let seen: IncomingMessage[] = []
  const server = createServer((incoming, response) => {
    seen.push(incoming)
    incoming.resume()
    response.end()
  })
  const origin = await originOf(t, server)
  let pairs = 0
  const property = fc.asyncProperty(
    root,
    routes,
    fc.array(request, { minLength: REQUESTS, maxLength: REQUESTS }),
    async (base, made, requests) => {
      const config = {
        ...base,
        upstreams: { orders: { url: origin } },
        auth: {
          apiKeys: { list: [{ id: 'ada', secret: KEY, roles: ['staff'] }] },
          identity: { 'x-user': 'id' },
          global: false
        },
        routes: made.map((route) => route(origin))
      }
      const plan = await planOf(objectSource(config), catalog, {}).catch(() => undefined)
      // Two routes of the same place are an error of the config.
      fc.pre(plan !== undefined)
      const app = await buildGateway(plan, new Resources(), pino({ level: 'silent' }))
      const served = await serve(app, { host: '127.0.0.1', port: 0, log: pino({ level: 'silent' }) })
      try {
        for (const each of requests) {
          seen = []
          const url = each.url.replace(/^https:/, 'http:')
          const sent: WrittenRequest = { ...each, url }
          const response = readResponse(await exchange(served.address.port, requestBytes(sent)))
          const { explanation: found } = await explainOffline(plan, {
            ...sent,
            from: '127.0.0.1',
            callerFor: undefined,
            forward: undefined
          })
          const actual = {
            status: response?.status,
            code: codeIn(response?.body),
            upstream: seen.map((incoming) => [
              incoming.method,
              masked(incoming.url),
              comparable(incoming.rawHeaders)
            ])
          }
          const expected = {
            status: found.status ?? undefined,
            code: each.method === 'HEAD' ? undefined : (found.code ?? undefined),
            upstream: found.upstreams.map((up) => [
              up.method,
              up.url.slice(origin.length),
              comparable(up.headers.flatMap(({ name, value }) => [name, value]))
            ])
          }
          pairs++
          if (JSON.stringify(actual) !== JSON.stringify(expected))
            throw new Error(`${JSON.stringify({ config, sent, actual, expected, found }, null, 1)}`)
        }
      } finally {
        await served.close()
      }
    }
  )
  const result = await fc.check(property, { seed, numRuns: RUNS })
  t.notOk(
    result.failed,
    `repeat this run by FUZZ_SEED=${seed}: ${result.failed ? String(result.errorInstance) : ''}`
  )
  t.ok(pairs >= RUNS * REQUESTS, `${pairs} pairs`)
})

/** Sends bytes, and returns all that comes back until the gateway closes. */
async function exchange(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => {})
  socket.write(bytes)
  await once(socket, 'close')
  return Buffer.concat(chunks)
}

function codeIn(body: Buffer | undefined): string | undefined {
  try {
    return (JSON.parse(body?.toString('utf8') ?? '') as { code?: string }).code
  } catch {
    return undefined
  }
}

// Ids are random, and ports and the framing belong to a connection.
const VARYING = new Set([
  'x-request-id',
  'connection',
  'content-length',
  'transfer-encoding',
  'x-forwarded-port'
])

// An explanation shows no credentials, and no value that the config inserts into a query.
const MASKED = new Set(['x-api-key'])

const masked = (url = ''): string => url.replace(/\blang=en\b/, 'lang=***')

const comparable = (flat: readonly string[]): string =>
  flat
    .flatMap((name, i) =>
      i % 2 === 0 && !VARYING.has(name.toLowerCase())
        ? [`${name.toLowerCase()}: ${MASKED.has(name.toLowerCase()) ? '***' : flat[i + 1]}`]
        : []
    )
    .sort()
    .join('\n')
