import t from 'tap'
import { gateway, upstream } from '../helpers.ts'

t.test('responds in place of the target, for the configured share of requests', async (t) => {
  let reached = 0
  const url = await upstream(t, (_request, response) => {
    reached++
    response.end('ok')
  })
  const route = (path: string, fault: object): object => ({ path, proxy: { upstream: url }, fault })
  const app = await gateway(t, {
    routes: [
      route('/all', { status: 503 }),
      route('/odd', { status: 418, delay: '1ms' }),
      route('/none', { status: 500, share: '0%' }),
      route('/some', { status: 500, share: '50%' }),
      route('/slow', { delay: '30ms' }),
      route('/report', { status: 500, mode: 'report' })
    ]
  })
  const cases = [
    { path: '/all', status: 503, code: 'SP_ERR_FAULT_INJECTED', reached: 0 },
    { path: '/odd', status: 418, code: 'SP_ERR_FAULT_INJECTED', reached: 0 },
    { path: '/none', status: 200, reached: 1 },
    { path: '/slow', status: 200, reached: 1 },
    { path: '/report', status: 200, reached: 1 }
  ]
  for (const each of cases) {
    reached = 0
    const answer = await app.inject(each.path)
    t.equal(answer.statusCode, each.status, each.path)
    t.equal(reached, each.reached)
    if (each.code !== undefined) t.equal(answer.json<{ code: string }>().code, each.code)
  }
  t.equal((await app.inject('/all')).headers['retry-after'], '1', 'a 503 has a Retry-After')
  const answers = await Promise.all(Array.from({ length: 400 }, () => app.inject('/some')))
  const failed = answers.filter(({ statusCode }) => statusCode === 500).length
  t.ok(failed > 120 && failed < 280, `about half of 400 failed: ${failed}`)
})

t.test('runs after every gate, so that refused requests get no injected fault', async (t) => {
  const app = await gateway(t, {
    auth: { global: false, apiKeys: { list: [{ id: 'a', secret: 'a-key' }] } },
    routes: [{ path: '/x', respond: {}, auth: true, fault: { status: 500 } }]
  })
  t.equal((await app.inject('/x')).statusCode, 401)
  t.equal((await app.inject({ url: '/x', headers: { 'x-api-key': 'a-key' } })).statusCode, 500)
})
