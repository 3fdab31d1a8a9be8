import t from 'tap'
import { brokenUpstream, gateway, upstream } from '../helpers.ts'

const respond = { body: 'hello' }

const target = await upstream(t, (_request, response) => {
  response.setHeader('x-response-time', '1').setHeader('server-timing', 'db;dur=53').end('hello')
})
const routes = [
  { path: '/proxy/*', proxy: { upstream: target } },
  { path: '/respond', respond },
  { path: '/down/*', proxy: { upstream: await brokenUpstream(t) } },
  { path: '/plain', respond, responseTime: { serverTiming: false } },
  { path: '/off', respond, responseTime: false }
]

t.test('sends the response time and server timing where enabled', async (t) => {
  const app = await gateway(t, { responseTime: true, routes })
  const cases: [url: string, timing: RegExp | undefined][] = [
    ['/proxy/x', /^gateway;dur=\d+\.\d\d, upstream;dur=\d+\.\d\d$/],
    ['/respond', /^gateway;dur=\d+\.\d\d$/],
    ['/down/x', /^gateway;dur=\d+\.\d\d$/],
    ['/nowhere', /^gateway;dur=\d+\.\d\d$/],
    ['/plain', undefined]
  ]
  for (const [url, timing] of cases) {
    const { headers } = await app.inject(url)
    t.match(headers['x-response-time'], /^\d+\.\d\dms$/, url)
    if (timing === undefined) t.equal(headers['server-timing'], undefined)
    else t.match(headers['server-timing'], timing)
  }
  t.equal((await app.inject('/off')).headers['x-response-time'], undefined)
})

t.test('sends nothing by default, and passes the headers of the upstream', async (t) => {
  const app = await gateway(t, { routes })
  const { headers } = await app.inject('/respond')
  t.equal(headers['x-response-time'], undefined)
  t.equal(headers['server-timing'], undefined)
  t.match((await app.inject('/proxy/x')).headers, { 'x-response-time': '1', 'server-timing': 'db;dur=53' })
})
