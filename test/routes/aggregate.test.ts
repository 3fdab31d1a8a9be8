import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { gateway, readableLog, upstream } from '../helpers.ts'

type Answer = RequestListener | string | number | object

/** Starts an upstream that answers each path as the table says: a body, a status, or a listener. */
async function service(
  t: Pick<Test, 'teardown'>,
  answers: Readonly<Record<string, Answer>>
): Promise<string> {
  return await upstream(t, (request, response) => {
    const path = (request.url ?? '').split('?')[0] ?? ''
    const answer = answers[request.url ?? ''] ?? answers[path]
    if (answer === undefined) response.writeHead(404).end()
    else if (typeof answer === 'function') (answer as RequestListener)(request, response)
    else if (typeof answer === 'number') response.writeHead(answer).end()
    else response.end(typeof answer === 'string' ? answer : JSON.stringify(answer))
  })
}

t.test('makes one response of several, each leg under its name and untouched', async (t) => {
  const odd = ' { "big": 12345678901234567890, "z" : 1,  "a": 1.10 } '
  const app = await gateway(t, {
    upstreams: { a: { url: await service(t, { '/user': odd, '/list': [1, 2] }) } },
    routes: [
      {
        path: '/me',
        aggregate: {
          legs: {
            user: { upstream: 'a', path: '/user' },
            list: { upstream: 'a', path: '/list', as: 'items' }
          }
        }
      }
    ]
  })
  const response = await app.inject('/me')
  t.equal(response.statusCode, 200)
  t.equal(response.body, `{"user":${odd},"items":[1,2]}`)
  t.match(response.headers, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(response.body.length)
  })
  t.equal(response.headers['sallyport-partial'], undefined)
  const head = await app.inject({ url: '/me', method: 'HEAD' })
  t.match(
    [head.statusCode, head.body, head.headers['content-length']],
    [200, '', String(response.body.length)]
  )
  const post = await app.inject({ url: '/me', method: 'POST', payload: {} })
  t.match(
    [post.statusCode, post.headers['allow'], post.json().code],
    [405, 'GET, HEAD', 'SP_ERR_ROUTE_METHOD']
  )
})

t.test('a leg waits for those that it names, and their values are encoded in its URL', async (t) => {
  const seen: string[] = []
  const app = await gateway(t, {
    upstreams: {
      a: {
        url: await upstream(t, ({ url }, response) => {
          seen.push(url ?? '')
          response.end(
            JSON.stringify(
              url === '/user' ? { id: 'a/b ?&#ü', n: 7, big: 12345678901234567890n.toString() } : { url }
            )
          )
        })
      }
    },
    routes: [
      {
        path: '/me/:tenant',
        aggregate: {
          legs: {
            orders: {
              upstream: 'a',
              path: '/t/{params.tenant}/orders/{legs.user.id}?n={legs.user.n}&q={query.q}'
            },
            user: { upstream: 'a', path: '/user' }
          }
        }
      }
    ]
  })
  const response = await app.inject('/me/x%20y?q=1%262')
  t.equal(response.statusCode, 200)
  t.same(seen, ['/user', '/t/x%20y/orders/a%2Fb%20%3F%26%23%C3%BC?n=7&q=1%262'])
})

t.test('a value that is no segment skips the leg', async (t) => {
  const values = ['.', '..', '', null, {}, [], undefined]
  const app = await gateway(t, {
    upstreams: {
      a: {
        url: await upstream(t, ({ url }, response) =>
          response.end(
            JSON.stringify(url?.startsWith('/value/') ? { v: values[Number(url.slice(7))] } : { url })
          )
        )
      }
    },
    routes: [
      {
        path: '/:i',
        aggregate: {
          legs: {
            value: { upstream: 'a', path: '/value/{params.i}' },
            path: { upstream: 'a', path: '/x/{legs.value.v}', required: false },
            query: { upstream: 'a', path: '/x?v={legs.value.v}', required: false }
          }
        }
      }
    ]
  })
  for (const i of values.keys()) {
    const response = await app.inject(`/${i}`)
    t.equal(
      response.headers['sallyport-partial'],
      'path;reason=skipped, query;reason=skipped',
      JSON.stringify(values[i])
    )
    t.same(Object.keys(response.json()), ['value'])
  }
})

/** Ways in which a leg fails, and how it is told. */
const FAILURES: readonly [
  name: string,
  leg: object,
  status: number,
  reason: string,
  upstreamStatus?: number
][] = [
  ['refused', { upstream: 'refused' }, 502, 'refused'],
  ['slow', { path: '/slow', timeout: '50ms' }, 504, 'timeout'],
  ['500', { path: '/500' }, 502, 'status', 500],
  ['a redirect', { path: '/302' }, 502, 'status', 302],
  ['not JSON', { path: '/html' }, 502, 'format'],
  ['empty', { path: '/204' }, 502, 'format'],
  ['not UTF-8', { path: '/latin1' }, 502, 'format'],
  ['too deep', { path: '/deep' }, 502, 'format'],
  ['too big', { path: '/big', maxBody: '1kb' }, 502, 'size'],
  ['too big without a length', { path: '/chunked', maxBody: '1kb' }, 502, 'size'],
  ['cut', { path: '/cut' }, 502, 'reset'],
  ['skipped', { path: '/{query.none}' }, 502, 'skipped'],
  ['no target', { upstream: 'open' }, 503, 'open']
]

const failing: Readonly<Record<string, Answer>> = {
  '/ok': { ok: true },
  '/slow': () => {},
  '/500': 500,
  '/302': (_request, response) => void response.writeHead(302, { location: '/ok' }).end(),
  '/204': 204,
  '/html': '<html>',
  '/latin1': (_request, response) => void response.end(Buffer.from('"\xe9"', 'latin1')),
  '/deep': '['.repeat(65) + ']'.repeat(65),
  '/big': JSON.stringify('x'.repeat(2000)),
  '/chunked': (_request, response) => {
    response.write('"')
    response.end(`${'x'.repeat(2000)}"`)
  },
  '/cut': (_request, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('{', () => response.destroy())
  }
}

t.test('each way to fail, on a required leg, an optional one and one with a fallback', async (t) => {
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as { port: number }
  closed.close()
  await once(closed, 'close')
  const { log, lines } = readableLog()
  const app = await gateway(
    t,
    {
      upstreams: {
        a: { url: await service(t, failing) },
        refused: { url: `http://127.0.0.1:${port}` },
        open: { targets: ['http://127.0.0.1:9'], health: { path: '/', every: '1h' }, discover: undefined }
      },
      routes: FAILURES.flatMap(([name, leg], i) =>
        (['required', 'optional', 'fallback'] as const).map((kind) => ({
          name: `${name} ${kind}`,
          path: `/${i}/${kind}`,
          aggregate: {
            legs: {
              ok: { upstream: 'a', path: '/ok' },
              bad: {
                upstream: 'a',
                path: '/ok',
                ...leg,
                ...(kind === 'optional'
                  ? { required: false }
                  : kind === 'fallback'
                    ? { fallback: ['none'] }
                    : {})
              },
              after: { upstream: 'a', path: '/ok?{legs.bad.x}', required: false }
            }
          }
        }))
      )
    },
    { log }
  )
  for (const [i, [name, , status, reason, upstreamStatus]] of FAILURES.entries()) {
    if (name === 'no target') continue
    const required = await app.inject(`/${i}/required`)
    t.equal(required.statusCode, status, `${name}: the status`)
    t.match(required.json(), { code: 'SP_ERR_AGGREGATE_LEG', leg: 'bad', reason }, `${name}: the problem`)
    t.notMatch(required.body, /127\.0\.0\.1|ECONN/, `${name}: no address`)
    const partial = `bad;reason=${reason}${upstreamStatus === undefined ? '' : `;status=${upstreamStatus}`}, after;reason=skipped`
    const optional = await app.inject(`/${i}/optional`)
    t.match(
      [
        optional.statusCode,
        optional.json(),
        optional.headers['sallyport-partial'],
        optional.headers['cache-control']
      ],
      [200, { ok: { ok: true } }, partial, 'no-store'],
      `${name}: optional`
    )
    t.notOk('bad' in optional.json(), `${name}: its key is left out`)
    const fallback = await app.inject(`/${i}/fallback`)
    t.match(
      [fallback.statusCode, fallback.json(), fallback.headers['sallyport-partial']],
      [200, { ok: { ok: true }, bad: ['none'] }, partial],
      `${name}: fallback`
    )
  }
  const line = lines.find(({ route }) => route === '500 optional')
  t.match(
    line?.['legs'],
    [
      { name: 'ok', status: 200 },
      { name: 'bad', status: 500, reason: 'status' },
      { name: 'after', status: 0, reason: 'skipped' }
    ],
    'the access log names the legs'
  )
})
