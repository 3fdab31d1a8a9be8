import type { IncomingHttpHeaders } from 'node:http'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { bodyOf, gateway, readableLog, type Scope, upstream } from '../helpers.ts'

const naming = (t: Scope, name: string): Promise<string> =>
  upstream(t, (_request, response) => response.end(name))

t.test('splits requests by shares, and keeps a known caller where it was', async (t) => {
  const keys = Array.from({ length: 60 }, (_, i) => ({ id: `caller ${i}`, secret: `key-${i}` }))
  const split = [
    { upstream: await naming(t, 'old'), share: '80%' },
    { upstream: await naming(t, 'new'), share: '20%' }
  ]
  const app = await gateway(t, {
    auth: { global: false, apiKeys: { list: keys } },
    routes: [
      { path: '/open', proxy: { split } },
      { path: '/known', auth: true, proxy: { split } }
    ]
  })
  const open = await Promise.all(Array.from({ length: 500 }, () => app.inject('/open')))
  const fresh = open.filter(({ body }) => body === 'new').length
  t.ok(fresh > 60 && fresh < 145, `about 100 of 500: ${fresh}`)
  const where = async (key: string): Promise<string> =>
    (await app.inject({ url: '/known', headers: { 'x-api-key': key } })).body
  const first = await Promise.all(keys.map(({ secret }) => where(secret)))
  for (let i = 0; i < 3; i++) t.same(await Promise.all(keys.map(({ secret }) => where(secret))), first)
  t.ok(first.includes('new') && first.includes('old'))
})

t.test('refuses a split that is not whole, and one beside an upstream', async (t) => {
  const up = { old: { url: 'http://a' }, fresh: { url: 'http://b' } }
  const cases = [
    {
      proxy: { split: [{ upstream: 'old', share: '90%' }] },
      message: /make 90%; together they have to make 100%/
    },
    { proxy: { split: [{ upstream: 'frsh', share: '100%' }] }, message: /did you mean "fresh"/ },
    {
      proxy: { upstream: 'old', split: [{ upstream: 'old', share: '100%' }] },
      message: /either "upstream" or "split"/
    },
    { proxy: { rewrite: '/' }, message: /either "upstream" or "split"/ },
    { proxy: { upstream: 'old', mirror: { upstream: 'frsh' } }, message: /did you mean "fresh"/ },
    {
      proxy: { upstream: 'old', fallback: { headers: { 'content-length': '1' } } },
      message: /content-length/
    },
    { proxy: { upstream: 'old', retry: { on: ['404x'] } }, message: /retry\.on/ }
  ]
  for (const { proxy, message } of cases)
    await t.rejects(loadConfig({ upstreams: up, routes: [{ path: '/*', proxy }] }, {}), { message })
})

t.test('copies requests to a mirror, whole, and never waits for it', async (t) => {
  const copies: { method?: string; url?: string; body: string; headers: IncomingHttpHeaders }[] = []
  let arrived = Promise.withResolvers<void>()
  const shadow = await upstream(t, (request) => {
    void bodyOf(request).then((body) => {
      const { method = '', url = '', headers } = request
      copies.push({ method, url, headers, body: body.toString('latin1') })
      arrived.resolve()
    })
  })
  const up = await upstream(t, (request, response) => {
    void bodyOf(request).then(() => response.end('real'))
  })
  const app = await gateway(t, {
    routes: [
      { path: '/all/*', proxy: { upstream: up, rewrite: '/v2', mirror: { upstream: `${shadow}/shadow` } } },
      { path: '/none', proxy: { upstream: up, mirror: { upstream: shadow, share: '0%' } } },
      { path: '/one', proxy: { upstream: up, mirror: { upstream: shadow, max: 1, maxBody: '1kb' } } },
      { path: '/gone', proxy: { upstream: up, mirror: { upstream: 'http://nobody.invalid' } } }
    ]
  })
  const body = '{"a":1,"a":2}'
  const answer = await app.inject({
    method: 'POST',
    url: '/all/x?y=1',
    payload: body,
    headers: { 'content-type': 'application/json', 'x-mine': 'yes' }
  })
  t.equal(answer.body, 'real', 'the mirror never answers, and nobody notices')
  await arrived.promise
  t.match(copies[0], { method: 'POST', url: '/shadow/v2/x?y=1', body, headers: { 'x-mine': 'yes' } })
  t.equal(copies[0]?.headers.host, new URL(shadow).host)
  arrived = Promise.withResolvers()
  t.equal((await app.inject('/none')).body, 'real')
  t.equal(
    (await app.inject({ method: 'POST', url: '/one', payload: 'x'.repeat(2000) })).body,
    'real',
    'too large'
  )
  t.equal((await app.inject('/gone')).body, 'real')
  t.equal((await app.inject('/one')).body, 'real')
  await arrived.promise
  t.equal(copies.at(-1)?.url, '/one')
  t.equal((await app.inject('/one')).body, 'real', 'one is under way for ever: no second copy is sent')
  t.equal((await app.inject('/all/last')).body, 'real')
  arrived = Promise.withResolvers()
  await arrived.promise
  t.same(
    copies.map(({ url }) => url),
    ['/shadow/v2/x?y=1', '/one', '/shadow/v2/last']
  )
})

t.test('answers by the fallback where the upstream gives none, and the log knows why', async (t) => {
  const silent = await upstream(t, () => {})
  const { log, line } = readableLog()
  const fallback = { status: 200, body: { stale: true }, headers: { 'x-from': 'fallback' } }
  const app = await gateway(
    t,
    {
      routes: [
        { path: '/refused', proxy: { upstream: 'http://127.0.0.1:1', fallback: { body: 'Back soon' } } },
        { path: '/slow', proxy: { upstream: silent, timeouts: { headers: '50ms' }, fallback } },
        { path: '/late', proxy: { upstream: silent, fallback }, limits: { time: '50ms' } },
        {
          path: '/fails',
          proxy: { upstream: await upstream(t, (_q, p) => void p.writeHead(503).end('own')), fallback }
        }
      ]
    },
    { log }
  )
  const refused = await app.inject('/refused')
  t.equal(refused.statusCode, 503)
  t.equal(refused.body, 'Back soon')
  t.match(refused.headers['content-type'], 'text/plain')
  t.match(await line(({ path }) => path === '/refused'), { status: 503, code: 'SP_ERR_UPSTREAM_FAILED' })
  for (const path of ['/slow', '/late']) {
    const answer = await app.inject(path)
    t.equal(answer.statusCode, 200, path)
    t.same(answer.json(), { stale: true })
    t.equal(answer.headers['x-from'], 'fallback')
  }
  t.equal((await app.inject('/fails')).body, 'own', "an upstream's own answer is an answer")
})
