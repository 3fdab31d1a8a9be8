import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { gateway, readableLog, type Scope, upstream } from '../helpers.ts'
import { dnsServer, type Zone } from './dns.ts'

const routes = [{ path: '/*', proxy: { upstream: 'up' } }]

/** Listens on one port at several addresses of this machine; each answers with its address. */
async function addresses(t: Scope, hosts: readonly string[], answer?: RequestListener): Promise<number> {
  let port = 0
  for (const host of hosts) {
    const server = createServer(answer ?? ((_request, response) => void response.end(host)))
    server.listen(port, host)
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
    t.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
  }
  return port
}

const bodies = async (app: FastifyInstance, times: number): Promise<Set<string>> => {
  const seen = new Set<string>()
  for (let i = 0; i < times; i++) seen.add((await app.inject('/x')).body)
  return seen
}

t.test('finds targets by name before the first request, and follows the name without dropping', async (t) => {
  const port = await addresses(t, ['127.0.0.1', '127.0.0.2', '127.0.0.3'], (request, response) => {
    if (request.url === '/hold') response.writeHead(200).write('half ')
    else response.end(request.socket.localAddress)
    if (request.url === '/hold') release.promise.then(() => response.end('whole'))
  })
  const release = Promise.withResolvers<void>()
  let zone: Zone = { 'A up.test': ['127.0.0.1', '127.0.0.2'] }
  const server = await dnsServer(t, () => zone)
  const { log, line } = readableLog()
  const app = await gateway(
    t,
    { upstreams: { up: { discover: { dns: 'up.test', port, server, every: '10s' } } }, routes },
    { log }
  )
  t.same([...(await bodies(app, 4))].sort(), ['127.0.0.1', '127.0.0.2'])
  const held = app.inject('/hold')
  zone = { 'A up.test': ['127.0.0.3'] }
  await line(({ targets }) => Array.isArray(targets) && targets.length === 1)
  t.same([...(await bodies(app, 4))], ['127.0.0.3'], 'uses the TTL of one second, not the ten of "every"')
  release.resolve()
  t.equal((await held).body, 'half whole', 'a removed target finishes its requests')
  zone = {}
  await line(({ msg }) => msg === 'target discovery failed')
  t.same([...(await bodies(app, 4))], ['127.0.0.3'], 'the last known targets stay')
})

t.test('reads SRV records: hosts, ports and weights; the others of a lower priority stand by', async (t) => {
  const answering = (body: string): Promise<string> => upstream(t, (_request, response) => response.end(body))
  const [one, two, spare] = await Promise.all(['one', 'two', 'spare'].map(answering))
  const portOf = (url = ''): number => Number(new URL(url).port)
  const record = (url: string | undefined, priority: number, weight: number): object => ({
    priority,
    weight,
    port: portOf(url),
    name: 'host.test'
  })
  const zone = {
    'SRV _http._tcp.up.test': [record(one, 1, 3), record(two, 1, 1), record(spare, 2, 1)],
    'A host.test': ['127.0.0.1']
  } as Zone
  const server = await dnsServer(t, () => zone)
  const app = await gateway(t, {
    upstreams: { up: { discover: { srv: '_http._tcp.up.test', server } } },
    routes
  })
  const seen: string[] = []
  for (let i = 0; i < 8; i++) seen.push((await app.inject('/x')).body)
  t.equal(seen.filter((body) => body === 'one').length, 6)
  t.equal(seen.filter((body) => body === 'two').length, 2)
})

t.test('starts without an address of the name, and responds with 503', async (t) => {
  const server = await dnsServer(t, () => ({}))
  const app = await gateway(t, { upstreams: { up: { discover: { dns: 'none.test', server } } }, routes })
  const answer = await app.inject('/x')
  t.equal(answer.statusCode, 503)
  t.ok(answer.headers['retry-after'])
})

t.test('resolves names of the hosts file, and sends them as Host', async (t) => {
  const url = await upstream(t, (request, response) => response.end(request.headers.host))
  const { port } = new URL(url)
  const app = await gateway(t, {
    upstreams: {
      up: {
        discover: { dns: 'localhost', port: Number(port) },
        timeouts: { connect: '1s' },
        eject: { failures: 1 }
      }
    },
    routes: [{ path: '/*', proxy: { upstream: 'up', retry: { attempts: 3 } } }]
  })
  t.equal((await app.inject('/x')).body, `localhost:${port}`)
})
