import t from 'tap'
import { startInterval, startTimer, wall } from '../../src/lib/clock.ts'
import { clock, gateway, type TestScope, upstream } from '../../src/testing/index.ts'

t.test('a gateway of a test', async (t) => {
  t.test('forwards to an upstream that records requests, over every client', async (t) => {
    const { url, requests } = await upstream(t)
    const app = await gateway(t, { routes: [{ path: '/api/*', proxy: { upstream: url } }] }, { https: true })
    const clients: [name: string, send: (path: string) => Promise<unknown>][] = [
      ['fetch', async (path) => (await app.fetch(path)).json()],
      ['http2', async (path) => (await app.http2(path)).json()],
      ['inject', async (path) => (await app.inject(path)).json()]
    ]
    for (const [name, send] of clients)
      t.match(await send(`/api/${name}?a=1`), { method: 'GET', url: `/api/${name}?a=1` }, name)
    t.strictSame(
      requests.map(({ url }) => url),
      ['/api/fetch?a=1', '/api/http2?a=1', '/api/inject?a=1']
    )
    t.match(app.url, /^https:\/\/127\.0\.0\.1:\d+$/)
    const posted = await app.http2('/api/x', { method: 'POST', body: 'ä', headers: { 'x-a': 'b' } })
    t.equal(posted.status, 200)
    t.match(requests.at(-1), { method: 'POST', body: 'ä', bytes: Buffer.from('ä'), headers: { 'x-a': 'b' } })
    const line = await app.log.line(({ method }) => method === 'POST')
    t.match(line, { status: 200, level: 'info' })
  })

  t.test('is read from a file, with environment variables', async (t) => {
    const folder = t.testdir({
      'gateway.yaml': `routes: [{ path: /, respond: { body: "\${WORD}" } }]`
    })
    const app = await gateway(t, `${folder}/gateway.yaml`, { env: { WORD: 'hello' }, https: true })
    t.equal(await (await app.http2('/')).text(), 'hello')
  })

  t.test('reloads', async (t) => {
    const body = (text: string): object => ({ routes: [{ path: '/', respond: { body: text } }] })
    const app = await gateway(t, body('one'))
    const text = async (): Promise<string> => (await app.fetch('/')).text()
    t.equal(await text(), 'one')
    const first = app.app
    await app.reload(body('two'))
    t.equal(await text(), 'two')
    t.not(app.app, first)
    await t.rejects(app.reload({ routes: [{ path: '/', respnod: {} }] }), {
      name: 'ConfigError',
      message: /did you mean "respond"/
    })
    await t.rejects(app.reload({ tls: { acme: { domains: ['a.test'] } }, routes: [] }))
    t.equal(await text(), 'two', 'and keeps its config on an error')
    await app.reload()
    t.equal(await text(), 'one', 'without a config, that of the start')
  })

  t.test('does not follow redirects, and refuses HTTP/2 without TLS', async (t) => {
    const app = await gateway(t, { routes: [{ path: '/', redirect: { to: '/b' } }] })
    t.equal((await app.fetch('/')).headers.get('location'), '/b')
    await t.rejects(app.http2('/'), { message: /\{ https: true \}/ })
    await app.close()
    await t.rejects(app.fetch('/'))
  })
})

t.test('ends with its test, by either name of the hook', async (t) => {
  for (const hook of ['after', 'teardown'] as const) {
    const ends: (() => unknown)[] = []
    const scope = { [hook]: (run: () => unknown) => void ends.push(run) } as unknown as TestScope
    const service = await upstream(scope)
    const app = await gateway(scope, { routes: [{ path: '/', proxy: { upstream: service.url } }] })
    t.equal((await app.fetch('/')).status, 200, hook)
    for (const end of ends) await end()
    await t.rejects(fetch(app.url))
    await t.rejects(fetch(service.url))
  }
})

t.test('an upstream', async (t) => {
  t.test('answers by its handler, and says when that fails', async (t) => {
    const { url } = await upstream(t, ({ url }, response) => {
      if (url === '/wrong') throw new Error('a fault of the test')
      response.statusCode = 418
      response.end(url)
    })
    const fine = await fetch(`${url}/tea`)
    t.strictSame([fine.status, await fine.text()], [418, '/tea'])
    const wrong = await fetch(`${url}/wrong`)
    t.equal(wrong.status, 500)
    t.match(await wrong.text(), /The handler of the upstream failed: Error: a fault of the test/)
  })
})

t.test('a clock', async (t) => {
  t.test('runs timers in order, each at its time, with those that they start', async (t) => {
    const { advance, setDate } = clock(t, '2026-11-30T12:00:00Z')
    const began = wall()
    t.equal(new Date(began).toISOString(), '2026-11-30T12:00:00.000Z')
    const seen: string[] = []
    const note = (name: string): void => void seen.push(`${name} ${(wall() - began) / 1000}`)
    startTimer(() => note('late'), 50_000)
    const again = startInterval(() => note('again'), 20_000)
    startTimer(() => {
      note('early')
      void Promise.resolve().then(() => startTimer(() => note('next'), 15_000))
    }, 10_000)
    startTimer(() => note('never'), 61_000).unref()
    await advance('1m')
    again.unref()
    t.strictSame(seen, ['early 10', 'again 20', 'next 25', 'again 40', 'late 50', 'again 60'])
    setDate('-1h')
    t.equal(wall() - began, 60_000 - 3_600_000)
    t.equal(seen.length, 6, 'no timer runs by the date')
  })

  t.test('moves what a gateway counts', async (t) => {
    const { advance } = clock(t)
    const app = await gateway(t, {
      rateLimit: { max: 1, window: '1m' },
      routes: [{ path: '/', respond: { body: 'fine' } }]
    })
    const status = async (): Promise<number> => (await app.fetch('/')).status
    t.strictSame([await status(), await status()], [200, 429])
    await advance('61s')
    t.equal(await status(), 200)
  })

  await t.test('refuses what is no date and no duration', async (t) => {
    t.throws(() => clock(t, 'soon'), { message: /expected a date such as/ })
    await t.rejects(clock(t).advance('a while'), { message: /expected a duration/ })
  })

  t.ok(Math.abs(wall() - performance.timeOrigin - performance.now()) < 60_000, 'and is restored at the end')
})
