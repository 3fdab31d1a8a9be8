import { hash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import t from 'tap'
import { gateway } from '../../helpers.ts'
import { askAll, fleet, routes, tally, target } from './fleet.ts'

/** What a request says of itself. */
interface Said {
  readonly url?: string
  readonly remoteAddress?: string
  readonly headers?: Record<string, string>
}

t.test('sends no more requests to a target that does not answer, with leastRequests', async (t) => {
  const held: ServerResponse[] = []
  const four = Promise.withResolvers<void>()
  const { urls, hits } = await fleet(t, 2, (_request, response) => {
    held.push(response)
    if (held.length === 4) four.resolve()
  })
  const app = await gateway(t, { upstreams: { up: { targets: urls, balance: 'leastRequests' } }, routes })
  const waiting = Array.from({ length: 4 }, () => app.inject('/hold'))
  await four.promise
  t.same(hits, [2, 2], 'as many each')
  const [first] = held
  first?.end('ok')
  await Promise.race(waiting)
  const [free] = [0, 1].filter((at) => target(app, at).load.requests === 1)
  t.same(tally(await askAll(app, 10)), { [String(free)]: 10 }, 'who has one is asked, who has two is not')
  for (const response of held.slice(1)) response.end('ok')
  await Promise.all(waiting)
})

t.test('sends equal hash keys to the same target, whatever hashOn is', async (t) => {
  const { urls } = await fleet(t, 3)
  const cases: { hashOn: string; of: (i: number) => Said; not: Said }[] = [
    {
      hashOn: 'ip',
      of: (i) => ({ remoteAddress: `10.0.${i}.1` }),
      not: { headers: { cookie: 'sid=other', 'x-user': 'other' } }
    },
    {
      hashOn: 'header:X-User',
      of: (i) => ({ headers: { 'x-user': `u${i}` } }),
      not: { remoteAddress: '10.1.1.1' }
    },
    {
      hashOn: 'cookie:sid',
      of: (i) => ({ headers: { cookie: `a=b; sid=s${i}` } }),
      not: { remoteAddress: '10.1.1.1' }
    },
    {
      hashOn: 'query:user',
      of: (i) => ({ url: `/x?a=b&user=u%20${i}` }),
      not: { remoteAddress: '10.1.1.1' }
    },
    { hashOn: 'path', of: (i) => ({ url: `/p${i}?user=one` }), not: { remoteAddress: '10.1.1.1' } },
    { hashOn: 'url', of: (i) => ({ url: `/x?page=${i}` }), not: { remoteAddress: '10.1.1.1' } },
    {
      hashOn: 'caller',
      of: (i) => ({ headers: { 'x-api-key': `key ${i}` } }),
      not: { remoteAddress: '10.1.1.1' }
    }
  ]
  const list = Array.from({ length: 60 }, (_, i) => ({
    id: `c${i}`,
    key: `sha256:${hash('sha256', `key ${i}`)}`
  }))
  for (const { hashOn, of, not } of cases) {
    const app = await gateway(t, {
      upstreams: { up: { targets: urls, balance: 'hash', hashOn } },
      ...(hashOn === 'caller' ? { auth: { apiKeys: { list } } } : {}),
      routes
    })
    const answers = (more: Said): Promise<string[]> =>
      Promise.all(
        list.map(async (_, i) => {
          const headers = { ...more.headers, ...of(i).headers }
          return (await app.inject({ url: '/x', ...more, ...of(i), headers })).body
        })
      )
    const first = await answers({})
    t.equal(Object.keys(tally(first)).length, 3, `${hashOn}: all three are asked`)
    t.same(await answers(not), first, `${hashOn}: nothing else counts`)
  }
})

t.test('moves only the keys of an unhealthy target', async (t) => {
  const { urls, status } = await fleet(t, 4)
  const app = await gateway(t, {
    upstreams: {
      up: { targets: urls, balance: 'hash', hashOn: 'header:x-user', eject: { failures: 1, for: '1h' } }
    },
    routes
  })
  const all = async (): Promise<string[]> => {
    const bodies: string[] = []
    for (let i = 0; i < 100; i++) bodies.push(...(await askAll(app, 1, { 'x-user': `user ${i}` })))
    return bodies
  }
  const before = await all()
  status[2] = 500
  t.equal(tally(await all())['500'], 1, 'one of its keys finds out')
  const moved = await all()
  t.equal(tally(moved)['2'], undefined)
  t.ok(
    moved.every((body, i) => body === before[i] || before[i] === '2'),
    'the others stay'
  )
  t.equal(Object.keys(tally(moved.filter((_, i) => before[i] === '2'))).length, 3, 'they are spread over all')
})

t.test('queues as many requests as connections.pending, and answers 503 beyond', async (t) => {
  const held: ServerResponse[] = []
  const two = Promise.withResolvers<void>()
  const four = Promise.withResolvers<void>()
  const { urls, hits } = await fleet(t, 2, (_request, response) => {
    held.push(response)
    if (held.length === 2) two.resolve()
    if (held.length === 4) four.resolve()
  })
  const app = await gateway(t, {
    upstreams: { up: { targets: urls, connections: { max: 1, pending: 1 } } },
    routes
  })
  const waiting = Array.from({ length: 4 }, () => app.inject('/hold'))
  await two.promise
  t.same(hits, [1, 1], 'one each, the others wait')
  const full = await app.inject('/x')
  t.equal(full.statusCode, 503)
  t.equal(full.json().code, 'SP_ERR_UPSTREAM_UNAVAILABLE')
  t.equal(full.headers['retry-after'], '5')
  for (const response of held) response.end('ok')
  await four.promise
  for (const response of held) response.end('ok')
  t.ok((await Promise.all(waiting)).every(({ statusCode }) => statusCode === 200))
  t.same([target(app, 0).load.requests, target(app, 1).load.requests], [0, 0])
})

t.test('does not use a backup while a main target is merely full', async (t) => {
  const held: ServerResponse[] = []
  const one = Promise.withResolvers<void>()
  const { urls, hits } = await fleet(t, 2, (_request, response) => {
    held.push(response)
    one.resolve()
  })
  const app = await gateway(t, {
    upstreams: {
      up: { targets: [urls[0], { url: urls[1], backup: true }], connections: { max: 1, pending: 0 } }
    },
    routes
  })
  const waiting = app.inject('/hold')
  await one.promise
  t.equal((await app.inject('/x')).statusCode, 503)
  t.same(hits, [1, 0])
  for (const response of held) response.end('ok')
  await waiting
})

t.test('sends nothing to a target of weight 0, and answers 503 if there is no other', async (t) => {
  const { urls, hits } = await fleet(t, 2)
  const [a, b] = urls
  for (const balance of ['roundRobin', 'leastRequests', 'random', 'powerOfTwo', 'hash']) {
    const app = await gateway(t, {
      upstreams: { up: { targets: [{ url: a, weight: 0 }, b], balance } },
      routes
    })
    await askAll(app, 20)
    t.equal(hits[0], 0, balance)
  }
  const none = await gateway(t, { upstreams: { up: { targets: [{ url: a, weight: 0 }] } }, routes })
  const answer = await none.inject('/x')
  t.equal(answer.statusCode, 503)
  t.ok(answer.headers['retry-after'])
})

t.test('accepts the sticky cookie of another gateway with the same secret', async (t) => {
  const { urls } = await fleet(t, 3)
  const keeping = (sticky: object, more: object = {}): ReturnType<typeof gateway> =>
    gateway(t, { upstreams: { up: { targets: urls, sticky } }, routes, ...more })
  const secret = 'the same for all gateways'
  const [one, two, alone] = await Promise.all([keeping({ secret }), keeping({ secret }), keeping({})])
  const said = await one.inject('/x')
  const [line = ''] = [said.headers['set-cookie']].flat()
  t.match(line, /^lb=[\w-]{22}; Path=\/; HttpOnly; SameSite=Lax$/, 'over http it is not Secure')
  for (const url of urls) t.notOk(line.includes(new URL(url).port))
  const cookie = line.split(';')[0] ?? ''
  t.same(tally(await askAll(two, 9, { cookie })), { [said.body]: 9 }, 'another gateway knows it')
  const other = await alone.inject({ url: '/x', headers: { cookie } })
  t.ok(other.headers['set-cookie'], 'one with a secret of its own does not')
  const limited = await keeping({ cookie: 'where', maxAge: '90s' }, { publicUrl: 'https://a.example.com' })
  t.match(
    (await limited.inject('/x')).headers['set-cookie'],
    /^where=[\w-]{22}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=90; Secure$/
  )
})

t.test(
  'adds the sticky cookie to the cookies of the response, and distinguishes targets of one origin',
  async (t) => {
    const { urls } = await fleet(t, 1, (_request, response) => {
      response.writeHead(200, { 'set-cookie': ['a=1', 'b=2'] }).end()
    })
    const app = await gateway(t, {
      upstreams: { up: { targets: [`${urls[0]}/one`, `${urls[0]}/two`], sticky: {} } },
      routes
    })
    const names = new Set<string>()
    for (let i = 0; i < 4; i++) names.add(String((await app.inject('/x')).headers['set-cookie']).slice(0, 25))
    t.equal(names.size, 2)
    const plain = await gateway(t, { upstreams: { up: { url: urls[0], sticky: {} } }, routes })
    const { headers } = await plain.inject('/hold')
    t.match(headers['set-cookie'], ['a=1', 'b=2', /^lb=/])
  }
)
