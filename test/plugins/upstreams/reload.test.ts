import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import t from 'tap'
import { Keep } from '../../../src/index.ts'
import { closed, gateway, readableLog, type Scope } from '../../helpers.ts'
import { dnsServer, type Zone } from '../dns.ts'
import { askAll, fleet, routes, tally, target, until } from './fleet.ts'

/** The connections that are open to some targets, by their ports here. */
const portsOf = (sockets: readonly Set<Socket>[]): (number | undefined)[][] =>
  sockets.map((mine) => [...mine].map(({ remotePort }) => remotePort))

t.test('keeps connections and health over a reload if the target is unchanged', async (t) => {
  const { urls, status, sockets } = await fleet(t, 2)
  const keep = new Keep()
  const eject = { failures: 1, for: '1h' }
  const up = { targets: urls, eject, breaker: { of: 1 }, connections: { max: 1 } }
  const one = await gateway(t, { upstreams: { up }, routes }, { keep })
  status[1] = 500
  await askAll(one, 4)
  t.equal(target(one, 1).health.ejected, true)
  const [connection] = sockets[0] as Set<Socket>
  const ports = portsOf(sockets)
  const two = await gateway(t, { upstreams: { up: { ...up, balance: 'random' } }, routes }, { keep })
  await one.close()
  t.same(tally(await askAll(two, 10)), { 0: 10 }, 'who is out stays out')
  t.same(portsOf(sockets), ports, 'the connections are used again')
  t.equal(target(two, 1).health.breakerOpen, true)
  const three = await gateway(
    t,
    { upstreams: { up: { ...up, eject: { ...eject, failures: 2 } } }, routes },
    { keep }
  )
  await two.close()
  t.equal(target(three, 1).health.ejected, false, 'other rules begin anew')
  await askAll(three, 4)
  t.same(portsOf(sockets), ports, 'on the same connections')
  const gone = closed(connection as Socket)
  await three.close()
  await gone
  t.equal(keep.size, 0)
})

t.test('continues health checks over a reload, and stops them with the last gateway', async (t) => {
  const { urls, status, sockets } = await fleet(t, 2)
  const keep = new Keep()
  const health = { path: '/healthz', every: '10ms', unhealthyAfter: 1 }
  const config = { upstreams: { up: { targets: urls, health } }, routes }
  const one = await gateway(t, config, { keep })
  await one.ready()
  status[1] = 500
  await until(one, () => !target(one, 1).health.isEligible)
  const two = await gateway(t, config, { keep })
  await one.close()
  t.equal(target(two, 1).health.isEligible, false, 'it is known from the first request on')
  t.same(tally(await askAll(two, 4)), { 0: 4 })
  const changed = until(two, () => target(two, 1).health.isEligible)
  status[1] = 200
  await changed
  t.pass('the checks go on')
  const { log, lines } = readableLog()
  const three = await gateway(
    t,
    { upstreams: { up: { targets: urls, health: { ...health, every: '15ms' } } }, routes },
    { keep, log }
  )
  await two.close()
  status[1] = 500
  await until(three, () => !target(three, 1).health.isEligible)
  const ends = [...(sockets[0] as Set<Socket>), ...(sockets[1] as Set<Socket>)].map(closed)
  await three.close()
  await Promise.all(ends)
  t.equal(keep.size, 0)
  t.notOk(
    lines.some(({ state }) => state === 'healthy'),
    'the end of the checks is no news of health'
  )
})

/** Listens on one port at several addresses of this machine, and tells the connections of each. */
async function addresses(
  t: Scope,
  hosts: readonly string[],
  answer: RequestListener = (_request, response) => void response.end(response.socket?.localAddress)
): Promise<{ port: number; sockets: Record<string, Set<Socket>> }> {
  let port = 0
  const sockets: Record<string, Set<Socket>> = {}
  for (const host of hosts) {
    const mine = new Set<Socket>()
    sockets[host] = mine
    const server = createServer(answer)
    server.on('connection', (socket) => {
      mine.add(socket)
      socket.on('close', () => mine.delete(socket))
    })
    server.listen(port, host)
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
    t.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
  }
  return { port, sockets }
}

const changed = ({ msg }: Record<string, unknown>): boolean => msg === 'targets changed'

t.test('releases a target that is no longer discovered after its last request', async (t) => {
  const held = Promise.withResolvers<ServerResponse>()
  const { port, sockets } = await addresses(t, ['127.0.0.1', '127.0.0.2'], (request, response) => {
    if (request.url === '/hold') held.resolve(response)
    else response.end(request.socket.localAddress)
  })
  let zone: Zone = { 'A up.test': ['127.0.0.1'] }
  const server = await dnsServer(t, () => zone)
  const { log, lines, line } = readableLog()
  const keep = new Keep()
  const app = await gateway(
    t,
    {
      upstreams: {
        up: { discover: { dns: 'up.test', port, server, every: '1s' }, eject: {}, health: { every: '1h' } }
      },
      routes
    },
    { log, keep }
  )
  await app.ready()
  const before = keep.size
  const waiting = app.inject('/hold')
  const response = await held.promise
  lines.length = 0
  zone = { 'A up.test': ['127.0.0.2'] }
  await line(changed)
  t.same(tally(await askAll(app, 4)), { '127.0.0.2': 4 })
  t.equal(keep.size, before, 'as much is kept as before')
  const [busy] = [...(sockets['127.0.0.1'] as Set<Socket>)].filter((socket) => socket === response.socket)
  t.ok(busy, 'what a request is on stays')
  const gone = closed(busy as Socket)
  response.end('done')
  t.equal((await waiting).body, 'done')
  await gone
})

t.test('keeps a target whose weight or priority changed', async (t) => {
  const { urls, sockets } = await fleet(t, 2)
  const record = (at: number, priority: number, weight: number) => ({
    priority,
    weight,
    port: Number(new URL(urls[at] ?? '').port),
    name: `host${at}.test`
  })
  const hosts = { 'A host0.test': ['127.0.0.1'], 'A host1.test': ['127.0.0.1'] } as const
  let zone: Zone = { ...hosts, 'SRV up.test': [record(0, 1, 1), record(1, 1, 1)] }
  const server = await dnsServer(t, () => zone)
  const { log, lines, line } = readableLog()
  const app = await gateway(
    t,
    {
      upstreams: {
        up: {
          discover: { srv: 'up.test', server, every: '1s' },
          connections: { max: 1 },
          slowStart: '1h',
          sticky: {}
        }
      },
      routes
    },
    { log }
  )
  t.same(tally(await askAll(app, 8)), { 0: 4, 1: 4 })
  const said = await app.inject('/x')
  const cookie = String(said.headers['set-cookie']).split(';')[0] ?? ''
  const ports = portsOf(sockets)
  lines.length = 0
  zone = { ...hosts, 'SRV up.test': [record(0, 1, 1), record(1, 1, 3)] }
  await line(changed)
  t.same(tally(await askAll(app, 8)), { 0: 2, 1: 6 })
  t.same(tally(await askAll(app, 8, { cookie })), { [said.body]: 8 })
  lines.length = 0
  zone = { ...hosts, 'SRV up.test': [record(0, 1, 1), record(1, 2, 3)] }
  await line(changed)
  t.same(tally(await askAll(app, 8)), { 0: 8 }, 'the other one stands by')
  t.same(portsOf(sockets), ports, 'on the same connections')
})

t.test('uses SRV targets of a lower priority when the first ones are unhealthy', async (t) => {
  const { urls, status } = await fleet(t, 3)
  const records = [1, 1, 2].map((priority, at) => ({
    priority,
    weight: 0,
    port: Number(new URL(urls[at] ?? '').port),
    name: 'host.test'
  }))
  const server = await dnsServer(t, () => ({ 'SRV up.test': records, 'A host.test': ['127.0.0.1'] }))
  const app = await gateway(t, {
    upstreams: {
      up: {
        discover: { srv: 'up.test', server },
        eject: { failures: 1, for: '1h', max: '100%', panic: '0%' }
      }
    },
    routes
  })
  t.same(tally(await askAll(app, 8)), { 0: 4, 1: 4 }, 'a weight of 0 gets its share among others of 0')
  status[0] = status[1] = 500
  await askAll(app, 2)
  t.same(tally(await askAll(app, 8)), { 2: 8 })
})

t.test('starts a newly discovered target slowly', async (t) => {
  const { port } = await addresses(t, ['127.0.0.1', '127.0.0.2'])
  let zone: Zone = { 'A up.test': ['127.0.0.1'] }
  const server = await dnsServer(t, () => zone)
  const { log, lines, line } = readableLog()
  const app = await gateway(
    t,
    {
      upstreams: {
        up: { discover: { dns: 'up.test', port, server, every: '1s' }, balance: 'random', slowStart: '1h' }
      },
      routes
    },
    { log }
  )
  t.same(tally(await askAll(app, 4)), { '127.0.0.1': 4 })
  lines.length = 0
  zone = { 'A up.test': ['127.0.0.1', '127.0.0.2'] }
  await line(changed)
  const { '127.0.0.2': few = 0 } = tally(await askAll(app, 300))
  t.ok(few > 0 && few < 90, `${few} of 300`)
})

const noIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'))
  ? false
  : 'this machine has no IPv6'

t.test('discovers IPv6 addresses', { skip: noIpv6 }, async (t) => {
  const server6 = createServer((request, response) => response.end(request.headers.host))
  server6.listen(0, '::1')
  await once(server6, 'listening')
  t.teardown(() => server6.close())
  const { port } = server6.address() as AddressInfo
  const server = await dnsServer(t, () => ({ 'AAAA up.test': ['::1'] }))
  const app = await gateway(t, { upstreams: { up: { discover: { dns: 'up.test', port, server } } }, routes })
  t.equal((await app.inject('/x')).body, `up.test:${port}`)
})

t.test('discovers a name that only appears after the start', async (t) => {
  const { port } = await addresses(t, ['127.0.0.1'])
  let zone: Zone = {}
  const server = await dnsServer(t, () => zone)
  const { log, line } = readableLog()
  const app = await gateway(
    t,
    { upstreams: { up: { discover: { dns: 'up.test', port, server, every: '1s' } } }, routes },
    { log }
  )
  t.equal((await app.inject('/x')).statusCode, 503)
  zone = { 'A up.test': ['127.0.0.1'] }
  await line(changed)
  t.equal((await app.inject('/x')).body, '127.0.0.1')
})

t.test('shares DNS lookups between gateways, and stops them with the last one', async (t) => {
  const { port } = await addresses(t, ['127.0.0.1'])
  let questions = 0
  const server = await dnsServer(t, () => {
    questions++
    return { 'A up.test': ['127.0.0.1'] }
  })
  const keep = new Keep()
  const config = {
    upstreams: { up: { discover: { dns: 'up.test', port, server } } },
    routes
  }
  const one = await gateway(t, config, { keep })
  await one.ready()
  const asked = questions
  const two = await gateway(t, config, { keep })
  t.equal((await two.inject('/x')).body, '127.0.0.1', 'what one has found the next one has')
  t.equal(questions, asked)
  await one.close()
  t.equal((await two.inject('/x')).body, '127.0.0.1')
  await two.close()
  t.equal(keep.size, 0)
})
