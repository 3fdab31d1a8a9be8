import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { gateway, readableLog } from '../helpers.ts'

t.test('health checks', async (t) => {
  const { log, lines } = readableLog('trace')
  const app = await gateway(
    t,
    {
      auth: { apiKeys: { list: [] } },
      rateLimit: { max: 1, window: '1h' },
      cors: { origins: ['https://app.example.com'] },
      headers: { response: { 'x-served-by': 'sallyport' } },
      responseTime: true,
      routes: [
        { path: '/*', respond: { body: 'everything' } },
        { path: '/*', host: 'api.test', respond: { body: 'everything of a host' } }
      ]
    },
    { log }
  )
  const probe = (url: string, method: 'GET' | 'HEAD' | 'POST' = 'GET'): Promise<LightMyRequestResponse> =>
    app.inject({ method, url, headers: { origin: 'https://app.example.com' } })

  t.test('responds to probes without gates', async (t) => {
    for (const [url, status] of [
      ['/-/live', 'live'],
      ['/-/ready', 'ready']
    ] as const)
      for (let i = 0; i < 3; i++) {
        const answer = await probe(url)
        t.equal(answer.statusCode, 200)
        t.strictSame(answer.json(), { status })
        t.equal(answer.headers['cache-control'], 'no-store')
        for (const name of ['access-control-allow-origin', 'ratelimit', 'x-served-by', 'x-response-time'])
          t.equal(answer.headers[name], undefined, name)
        t.equal((await probe(url, 'HEAD')).statusCode, 200)
      }
    t.strictSame(lines, [], 'and none of them has a line in the log')
  })
  t.test('is a 503 while the process drains', async (t) => {
    app.readiness.ready = false
    const answer = await probe('/-/ready')
    t.equal(answer.statusCode, 503)
    t.strictSame(answer.json(), { status: 'draining' })
    t.equal(answer.headers['retry-after'], '5')
    t.equal((await probe('/-/live')).statusCode, 200, 'a process that drains lives')
    app.readiness.ready = true
    t.equal((await probe('/-/ready')).statusCode, 200)
  })
  t.test('rejects other methods and paths', async (t) => {
    const app = await gateway(t, { routes: [{ path: '/*', respond: { body: 'everything' } }] })
    for (const url of ['/-/live', '/-/ready']) {
      const answer = await app.inject({ method: 'POST', url })
      t.match(answer, { statusCode: 405, headers: { allow: 'GET, HEAD' } })
    }
    t.equal((await app.inject('/-/other')).body, 'everything', 'what is beside them is as any path')
  })
})
