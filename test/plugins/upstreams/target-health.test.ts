import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { ask, clock, gateway, listening, readableLog, upstream } from '../../helpers.ts'
import { askAll, fleet, routes, tally, target, until } from './fleet.ts'

const quick = { path: '/healthz', every: '10ms', timeout: '5s' }

t.test('stops using a target after failed checks in a row, and resumes after passed ones', async (t) => {
  const { urls, status, checks, hits } = await fleet(t, 2)
  const options = { ...quick, unhealthyAfter: 3, healthyAfter: 4 }
  const { log, lines } = readableLog()
  const app = await gateway(t, { upstreams: { up: { targets: urls, health: options } }, routes }, { log })
  await app.ready()
  const { health } = target(app, 1)
  status[1] = 500
  const bad = checks[1] ?? 0
  await until(app, () => !health.isEligible)
  t.ok((checks[1] ?? 0) - bad >= 2, 'one may have been under way')
  const seen = hits[1]
  t.same(tally(await askAll(app, 10)), { 0: 10 })
  t.equal(hits[1], seen)
  status[1] = 200
  const good = checks[1] ?? 0
  await until(app, () => health.isEligible)
  t.ok((checks[1] ?? 0) - good >= 3)
  t.same(tally(await askAll(app, 10)), { 0: 5, 1: 5 })
  t.same(
    lines.filter(({ state }) => state !== undefined).map(({ level, msg, state }) => [level, msg, state]),
    [
      ['warn', 'target unhealthy', 'unhealthy'],
      ['info', 'target recovered', 'healthy']
    ],
    'logs each change once'
  )
})

t.test('checks health by status, timeout and host', async (t) => {
  const hosts = new Set<string | undefined>()
  const agents = new Set<string | undefined>()
  const answering = (status: number | undefined): Promise<string> =>
    upstream(t, ({ url, headers }, response) => {
      if (url !== '/healthz?deep') return void response.end(String(status))
      hosts.add(headers.host)
      agents.add(headers['user-agent'])
      if (status !== undefined) response.writeHead(status).end()
    })
  const cases: [status: number | undefined, well: boolean][] = [
    [200, true],
    [404, true],
    [405, false],
    [299, true],
    [500, false],
    [undefined, false]
  ]
  // Two numbers alone are a range.
  const forms = [[200, 404], ['200-404'], ['2xx', '404', 404], ['2xx', '300-404']]
  const targets = await Promise.all(cases.map(([status]) => answering(status)))
  const health = {
    path: '/healthz?deep',
    every: '10ms',
    timeout: '400ms',
    host: 'health.example.com',
    unhealthyAfter: 1
  }
  for (const status of forms) {
    const app = await gateway(t, { upstreams: { up: { targets, health: { ...health, status } } }, routes })
    await app.ready()
    await until(app, () => app.upstream('up').ready.length === 3)
    t.same(
      app.upstream('up').targets.map(({ health }) => health.isEligible),
      cases.map(([, well]) => well),
      status.join()
    )
  }
  t.same([...hosts], ['health.example.com'])
  t.same([...agents], ['sallyport-health'])
})

t.test('checks health at the root of a target whose URL has a path', async (t) => {
  const asked = Promise.withResolvers<string>()
  const url = await upstream(t, (request, response) => {
    if (request.headers['user-agent'] === 'sallyport-health') asked.resolve(request.url ?? '')
    response.end(request.url)
  })
  const app = await gateway(t, { upstreams: { up: { url: `${url}/v1`, health: quick } }, routes })
  t.equal((await app.inject('/x')).body, '/v1/x')
  t.equal(await asked.promise, '/healthz')
})

t.test('checks health at another port of a target', async (t) => {
  const asked = Promise.withResolvers<string>()
  const checks = new URL(
    await upstream(t, (request, response) => {
      asked.resolve(`${request.headers.host} ${request.url}`)
      response.end()
    })
  )
  const url = await upstream(t, (_request, response) => void response.end('service'))
  const app = await gateway(t, {
    upstreams: { up: { url, health: { ...quick, port: Number(checks.port) } } },
    routes
  })
  t.equal((await app.inject('/x')).body, 'service')
  t.equal(await asked.promise, `${new URL(url).host} /healthz`)
})

t.test(
  'answers 503 with Retry-After while no target is healthy, and uses all of them in panic',
  async (t) => {
    const { urls, status } = await fleet(t, 2)
    const health = { ...quick, unhealthyAfter: 1, healthyAfter: 1 }
    const app = await gateway(t, { upstreams: { up: { targets: urls, health } }, routes })
    const panics = await gateway(t, { upstreams: { up: { targets: urls, health, eject: {} } }, routes })
    status.fill(404)
    for (const each of [app, panics])
      await until(each, () => each.upstream('up').targets.every(({ health }) => !health.isEligible))
    const none = await app.inject('/x')
    t.equal(none.statusCode, 503)
    t.equal(none.headers['retry-after'], '5')
    t.equal((await panics.inject('/x')).statusCode, 404, 'better some than none')
  }
)

t.test('checks two upstreams at one address with their own paths', async (t) => {
  let checks = 0
  const both = Promise.withResolvers<void>()
  const url = await upstream(t, (request, response) => {
    if (request.headers['user-agent'] === 'sallyport-health' && ++checks === 20) both.resolve()
    response.writeHead(request.url === '/bad' ? 500 : 200).end('ok')
  })
  const of = (path: string): object => ({
    url,
    health: { path, every: '10ms', healthyAfter: 1, unhealthyAfter: 1 }
  })
  const app = await gateway(t, {
    upstreams: { up: of('/good'), down: of('/bad'), blind: { url } },
    routes: ['up', 'down', 'blind'].map((name) => ({ path: `/${name}`, proxy: { upstream: name } }))
  })
  await app.ready()
  await both.promise
  const statuses = await Promise.all(
    ['/up', '/down', '/blind'].map(async (path) => (await app.inject(path)).statusCode)
  )
  t.same(statuses, [200, 503, 200])
})

t.test('hides a failing target of three from clients, and uses it again after it recovers', async (t) => {
  for (const { name, breaks, retry, most } of [
    { name: 'by its answers', breaks: 503, retry: undefined, most: 3 },
    { name: 'by its connections', breaks: 0, retry: undefined, most: 3 },
    { name: 'with "retry"', breaks: 503, retry: { attempts: 3, backoff: '1ms' }, most: 0 }
  ])
    await t.test(name, async (t) => {
      const { urls, status } = await fleet(t, 3)
      const app = await gateway(t, {
        upstreams: { up: { targets: urls, eject: { failures: 3, for: '100ms' } } },
        routes: [{ path: '/*', proxy: { upstream: 'up', ...(retry === undefined ? {} : { retry }) } }]
      })
      const { health } = target(app, 1)
      status[1] = breaks
      while (!health.ejected) await app.inject('/x')
      // Whatever time this takes, each time that it comes back costs no more than it takes to see that it still fails.
      let ejections = 1
      const stop = health.watch(() => health.ejected && ejections++)
      const bodies = await askAll(app, 600)
      stop()
      const { 502: broken = 0, 503: failed = 0 } = tally(bodies)
      t.ok(
        broken + failed <= most * ejections,
        `${broken + failed} of 600 failed, ejected ${ejections} times`
      )
      status[1] = 200
      await until(app, () => health.isEligible)
      t.ok((tally(await askAll(app, 9))['1'] ?? 0) >= 2, 'it is back')
    })
})

t.test('ejects after failures in a row only: a success resets the count', async (t) => {
  const { urls, status } = await fleet(t, 2)
  const app = await gateway(t, {
    upstreams: { up: { targets: urls, eject: { failures: 3, for: '1h' } } },
    routes
  })
  const { health } = target(app, 0)
  for (const [answer, ejected] of [
    [500, false],
    [503, false],
    [404, false],
    [500, false],
    [0, false],
    [599, true]
  ] as const) {
    status[0] = answer
    await askAll(app, 2)
    t.equal(health.ejected, ejected, String(answer))
  }
})

t.test('ejects a target for longer each time in a row', async (t) => {
  const { urls, status } = await fleet(t, 2)
  const app = await gateway(t, {
    upstreams: { up: { targets: urls, eject: { failures: 1, for: '40ms' } } },
    routes
  })
  const { health } = target(app, 0)
  status[0] = 500
  // When it went out and came back, in turn.
  const changes: number[] = []
  const unwatch = health.watch(() => changes.push(performance.now()))
  while (changes.length < 6) await app.inject('/x')
  unwatch()
  for (const times of [1, 2, 3]) {
    const [out = 0, back = 0] = changes.slice(2 * times - 2)
    // It can only last longer, on a busy machine.
    t.ok(back - out >= 40 * times - 5, `${times} times as long`)
  }
})

t.test('does not count a client that leaves or sends too much as a failure', async (t) => {
  const reached = Promise.withResolvers<void>()
  const left = Promise.withResolvers<void>()
  const { urls } = await fleet(t, 1, (_request, response) => {
    response.on('close', left.resolve)
    reached.resolve()
  })
  const { port, app, url } = await listening(t, {
    upstreams: {
      up: {
        url: urls[0],
        eject: { failures: 1, for: '1h' },
        breaker: { failures: '1%', of: 1, openFor: '1h' }
      }
    },
    limits: { body: '1kb' },
    routes
  })
  const client = connect(port, '127.0.0.1', () => client.write('GET /hold HTTP/1.1\r\nHost: a\r\n\r\n'))
  await reached.promise
  client.destroy()
  await left.promise
  const body = new Blob(['x'.repeat(5000)]).stream()
  const large = await ask(`${url}/x`, { method: 'POST', duplex: 'half', body } as RequestInit)
  t.equal(large.status, 413)
  const { health } = target(app, 0)
  t.same([health.ejected, health.breakerOpen], [false, false])
})

t.test(
  'opens a breaker again where its try fails, and gives the try back where its client leaves',
  async (t) => {
    const reached = Promise.withResolvers<void>()
    const left = Promise.withResolvers<void>()
    const { urls, status, hits } = await fleet(t, 1, (_request, response) => {
      response.on('close', left.resolve)
      reached.resolve()
    })
    const pass = clock(t)
    const { port, app, url } = await listening(t, {
      upstreams: {
        up: { url: urls[0], breaker: { failures: '100%', of: 2, within: '1h', openFor: '1m' } }
      },
      routes
    })
    const { health } = target(app, 0)
    status[0] = 0
    t.equal((await ask(`${url}/x`, { method: 'POST' })).status, 502)
    t.equal((await ask(`${url}/x`, { method: 'POST' })).status, 502)
    t.equal(health.breakerOpen, true, 'broken connections count')
    pass(61)
    t.equal(health.breakerOpen, false)
    status[0] = 500
    t.equal((await ask(`${url}/x`)).status, 500)
    t.equal(health.breakerOpen, true, 'the try has failed')
    const seen = hits[0]
    const refused = await ask(`${url}/x`)
    t.equal(refused.status, 503)
    t.match(refused.headers.get('retry-after'), /^(60|[1-5]\d)$/)
    t.equal(hits[0], seen)
    pass(61)
    status[0] = 200
    const client = connect(port, '127.0.0.1', () => client.write('GET /hold HTTP/1.1\r\nHost: a\r\n\r\n'))
    await reached.promise
    const others = await Promise.all([1, 2, 3].map(() => ask(`${url}/x`)))
    t.ok(
      others.every((each) => each.status === 503),
      'one alone tries'
    )
    client.destroy()
    await left.promise
    t.equal((await ask(`${url}/x`)).status, 200, 'the next one tries')
    const all = await Promise.all([1, 2, 3].map(() => ask(`${url}/x`)))
    t.ok(
      all.every((each) => each.status === 200),
      'it is closed'
    )
  }
)

t.test('sends requests to other targets while a circuit breaker is open', async (t) => {
  const { urls, status, hits } = await fleet(t, 2)
  const app = await gateway(t, {
    upstreams: { up: { targets: urls, breaker: { of: 3, openFor: '1h' } } },
    routes
  })
  status[0] = 500
  t.equal(tally(await askAll(app, 6))['500'], 3)
  t.same(tally(await askAll(app, 20)), { 1: 20 })
  t.equal(hits[0], 3)
  status[1] = 500
  while (!target(app, 1).health.breakerOpen) await app.inject('/x')
  const refused = await app.inject('/x')
  t.equal(refused.statusCode, 503, 'all are open')
  t.match(refused.headers['retry-after'], /^3[56]\d\d$/)
})

t.test('uses backups while a half-open circuit breaker is probed', async (t) => {
  const held: ServerResponse[] = []
  const both = Promise.withResolvers<void>()
  const { urls, status, hits } = await fleet(t, 2, (_request, response) => {
    if (held.push(response) === 2) both.resolve()
  })
  const pass = clock(t)
  const app = await gateway(t, {
    upstreams: {
      up: { targets: [urls[0], { url: urls[1], backup: true }], breaker: { of: 2, openFor: '1m' } }
    },
    routes
  })
  const { health } = target(app, 0)
  status[0] = 500
  await askAll(app, 2)
  t.equal(health.breakerOpen, true)
  t.same(tally(await askAll(app, 5)), { 1: 5 })
  pass(61)
  status[0] = 200
  const waiting = [app.inject('/hold'), app.inject('/hold')]
  await both.promise
  t.same(hits, [3, 6], 'one of two tries the main target')
  t.same(tally(await askAll(app, 5)), { 1: 5 }, 'nobody waits for the try')
  for (const response of held) response.end('ok')
  await Promise.all(waiting)
  t.same(tally(await askAll(app, 5)), { 0: 5 }, 'it has done well')
})

t.test('starts a recovered target slowly', async (t) => {
  for (const balance of ['roundRobin', 'random', 'leastRequests'] as const) {
    const { urls, status } = await fleet(t, 2)
    const app = await gateway(t, {
      upstreams: { up: { targets: urls, balance, slowStart: '1h', eject: { failures: 1, for: '30ms' } } },
      routes
    })
    const before = tally(await askAll(app, 100))
    t.ok((before['1'] ?? 0) > 5, `${balance}: those that were there from the beginning have their share`)
    const { health } = target(app, 1)
    status[1] = 500
    while (!health.ejected) await app.inject('/x')
    status[1] = 200
    await until(app, () => health.isEligible)
    const { 1: few = 0 } = tally(await askAll(app, 200))
    t.ok(few < 60, `${balance}: ${few} of 200`)
  }
})
