import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway, listening, upstream } from '../helpers.ts'

t.test(
  'refuses everything but the allowed addresses, before sessions, limits and the upstream',
  async (t) => {
    let asked = 0
    const url = await upstream(t, (_request, response) => {
      asked++
      response.end('up')
    })
    const app = await gateway(
      t,
      {
        maintenance: { on: `\${MAINTENANCE:-false}`, allow: ['10.0.0.0/8'], retryAfter: '2m' },
        auth: { apiKeys: { list: [] } },
        rateLimit: { max: 1, window: '1m' },
        routes: [
          { path: '/a', proxy: { upstream: url } },
          { path: '/open', maintenance: false, auth: false, respond: { body: 'open' } }
        ]
      } as never,
      { env: { MAINTENANCE: 'true' } } as never
    )
    for (let i = 0; i < 3; i++) {
      const { statusCode, headers, json } = await app.inject({ url: '/a', remoteAddress: '192.0.2.1' })
      t.equal(statusCode, 503)
      t.equal(headers['retry-after'], '120')
      t.equal(headers['cache-control'], 'no-store')
      t.match(json(), { code: 'SP_ERR_MAINTENANCE_ON' })
    }
    t.equal((await app.inject({ url: '/a', remoteAddress: '10.1.2.3' })).statusCode, 401)
    t.equal((await app.inject('/open')).body, 'open')
    t.equal((await app.inject('/-/ready')).statusCode, 200)
    t.equal(asked, 0)
  }
)

t.test('lets everything through while it is off, and reports in report mode', async (t) => {
  for (const maintenance of [{ on: false }, { mode: 'report' }, false] as const) {
    const app = await gateway(t, { maintenance, routes: [{ path: '/a', respond: { body: 'a' } }] })
    t.equal((await app.inject('/a')).body, 'a', JSON.stringify(maintenance))
  }
})

t.test('takes the address of the client, not that of an untrusted proxy', async (t) => {
  const { port } = await listening(t, {
    maintenance: { allow: ['192.0.2.0/24'] },
    routes: [{ path: '/a', respond: { body: 'a' } }]
  })
  const { status } = await fetch(`http://127.0.0.1:${port}/a`, {
    headers: { 'x-forwarded-for': '192.0.2.1' }
  })
  t.equal(status, 503)
})

t.test('rejects what is not an address', async (t) => {
  await t.rejects(loadConfig({ maintenance: { allow: ['office'] }, routes: [] }, {}), {
    message: /maintenance\.allow.*expected an address, got "office"; an IP address/
  })
})
