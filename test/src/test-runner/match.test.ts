import t from 'tap'
import type { UpstreamCall } from '../../../src/lib/contracts/simulation.ts'
import type { Expectation } from '../../../src/test-runner/expectation-schema.ts'
import { matchExpectation } from '../../../src/test-runner/match.ts'
import type { Outcome } from '../../../src/test-runner/outcome.ts'

const call = (more: Partial<UpstreamCall> = {}): UpstreamCall => ({
  upstream: 'orders',
  target: 'http://10.0.0.1',
  method: 'GET',
  path: '/v2/orders/1',
  headers: ['x-user-id', 'ada', 'accept', '*/*'],
  body: Buffer.alloc(0),
  isForwarded: true,
  headersTimeout: 0,
  ...more
})

const outcome = (more: Partial<Outcome> = {}): Outcome => ({
  status: 200,
  headers: [
    ['content-type', 'application/json'],
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2']
  ],
  body: Buffer.from('{"id":1,"items":[{"name":"lamp"},{"name":"horn"}],"match":"x"}'),
  code: null,
  refusedBy: null,
  limit: null,
  route: '/orders/:id',
  upstreams: [call()],
  attempts: [call()],
  ...more
})

t.test('what is as expected has no mismatch', async (t) => {
  const cases: Expectation[] = [
    {},
    { status: 200, code: null, refusedBy: null, limit: null, route: '/orders/:id', attempts: 1 },
    { headers: { 'Content-Type': 'application/json', 'x-powered-by': null } },
    { headers: { 'content-type': { match: '^application/' }, 'set-cookie': 'b=2' } },
    { headers: { 'set-cookie': ['a=1', 'b=2'] } },
    { body: { id: 1 } },
    { body: { items: [{ name: 'lamp' }, { name: { match: '^h' } }] } },
    { body: { match: '"id":1' } },
    { body: { id: { match: '^1$' } } },
    { upstream: { name: 'orders', method: 'GET', path: '/v2/orders/1' } },
    { upstream: { headers: { 'x-user-id': 'ada', cookie: null }, path: { match: '/1$' } } },
    { upstreams: { orders: { path: '/v2/orders/1' }, offers: null } },
    { upstreams: { orders: [{ method: 'GET' }] } }
  ]
  for (const expect of cases) t.strictSame(matchExpectation(expect, outcome()), [], JSON.stringify(expect))
})

t.test('each mismatch is told in words', async (t) => {
  const cases: [Expectation, string][] = [
    [
      { status: 401 },
      'expected status 401, got 200 (route "/orders/:id", upstream request GET /v2/orders/1)'
    ],
    [{ code: 'SP_ERR_AUTH_MISSING' }, 'expected code "SP_ERR_AUTH_MISSING", got none'],
    [{ route: null }, 'expected route none, got "/orders/:id"'],
    [{ headers: { 'set-cookie': null } }, 'header "set-cookie": expected none, got "a=1, b=2"'],
    [{ headers: { etag: '"x"' } }, 'header "etag": expected "\\"x\\"", got none'],
    [
      { headers: { 'content-type': { match: '^text/' } } },
      'header "content-type": expected a text that matches "^text/", got "application/json"'
    ],
    [{ body: { id: 2 } }, 'body.id: expected 2, got 1'],
    [{ body: { id: '1' } }, 'body.id: expected "1", got 1'],
    [{ body: { total: 2 } }, 'body.total: expected 2, got none'],
    [
      { body: { items: [{ name: 'lamp' }] } },
      'body.items: expected 1 items, got 2: [{"name":"lamp"},{"name":"horn"}]'
    ],
    [{ body: { items: [{}, { name: 'bell' }] } }, 'body.items[1].name: expected "bell", got "horn"'],
    [{ attempts: 3 }, 'expected 3 attempts, got 1'],
    [{ upstream: null }, 'upstream: expected no request, got GET /v2/orders/1 to upstream "orders"'],
    [{ upstream: { path: '/orders/1' } }, 'upstream: path: expected "/orders/1", got "/v2/orders/1"'],
    [{ upstream: { headers: { accept: null } } }, 'upstream: header "accept": expected none, got "*/*"'],
    [{ upstreams: { offers: {} } }, 'upstream "offers": expected a request, got none'],
    [{ upstreams: { orders: [{}, {}] } }, 'upstream "orders": expected 2 requests, got 1']
  ]
  for (const [expect, message] of cases)
    t.strictSame(matchExpectation(expect, outcome()), [message], JSON.stringify(expect))
})

t.test('a connection that closes without a response has no status', async (t) => {
  t.strictSame(matchExpectation({ status: 200 }, outcome({ status: undefined })), [
    'expected status 200, got a closed connection'
  ])
})

t.test('a pattern that takes exponential time is stopped', async (t) => {
  const body = Buffer.from(`${'a'.repeat(60)}!`)
  const [message = ''] = matchExpectation({ body: { match: '^(?=(a+)+$)' } }, outcome({ body }))
  t.match(message, 'takes too long')
})
