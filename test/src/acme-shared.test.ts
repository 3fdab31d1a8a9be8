import { mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import type { PeerCertificate } from 'node:tls'
import t from 'tap'
import { issued, placeOf, renewed, serialOf, shown, stage, standIn, takenUp } from '../acme.ts'
import { authority } from '../certificates.ts'
import { clock } from '../helpers.ts'
import { type Pebble, pebble, withoutPebble } from '../pebble.ts'
import { cli, redis, withoutRedis } from '../redis.ts'

const skip = withoutPebble

// One authority for all of them; each has a storage, and so an account, of its own.
const server = (skip === false ? await pebble(t) : undefined) as Pebble

t.test('waits for the lock of another instance, but not for a stale one', { skip }, async (t) => {
  const first = await stage(t, server)
  await first.line(issued)
  await first.served.close()
  const lock = first.file('certificates/two.example.lock')
  writeFileSync(lock, 'another')
  const { app, line, lines } = await stage(t, server, {
    acme: { storage: first.folder, domains: ['two.example', 'three.example'] }
  })
  await line((each) => issued(each) && String(each['names']) === 'three.example')
  t.notOk(lines.some((each) => issued(each) && String(each['names']) === 'two.example'))
  t.match(app.tls?.certificates()[0], { names: ['two.example'], ends: 0 })
  utimesSync(lock, 1, 1)
  await line((each) => issued(each) && String(each['names']) === 'two.example')
})

for (const [where, reason] of [
  ['a folder', skip],
  ['the store', skip || withoutRedis]
] as const)
  t.test(
    `instances that share ${where} order once, answer for each other, and take up what another has`,
    { skip: reason },
    async (t) => {
      const ahead = clock(t)
      const shared = where === 'the store'
      const cache = shared ? await redis(t) : undefined
      const acme = { storage: shared ? false : t.testdir() }
      const more = cache === undefined ? {} : { store: { redis: cache.url, timeout: '10s' } }
      // The only one that the authority reaches.
      const door = await stage(t, server, {
        acme: { ...acme, domains: ['door.example'] },
        port: server.tlsPort,
        more
      })
      await door.line(issued)
      for (const [name, challenge] of [
        ['one.example', 'http-01'],
        ['two.example', 'tls-alpn-01']
      ]) {
        const said = {
          acme: { ...acme, domains: [name], challenges: [challenge] },
          tls: { redirectFrom: 0 },
          more
        }
        const [one, two] = await Promise.all([stage(t, server, said), stage(t, server, said)])
        const both = [one, two]
        await Promise.all(both.map(({ line }) => line((each) => issued(each) || takenUp(each))))
        const lines = (): Record<string, unknown>[] => both.flatMap((each) => each.lines)
        t.equal(lines().filter(issued).length, 1, `${challenge}: one has ordered`)
        const serials = (): Promise<string[]> =>
          Promise.all(both.map(async ({ port }) => serialOf(await shown(port, { servername: name }))))
        const before = await serials()
        t.equal(before[0], before[1])
        ahead(0.67 * 3600)
        const due = both.map((each) => each.lines.length)
        await Promise.any(both.map(({ line }) => line(renewed)))
        ahead(-0.67 * 3600)
        await Promise.all(
          both.map(({ line, lines }, i) =>
            line((each) => lines.indexOf(each) >= (due[i] ?? 0) && (renewed(each) || takenUp(each)))
          )
        )
        t.equal(lines().filter(renewed).length, 1, `${challenge}: one has renewed`)
        const later = both.flatMap((each, i) => each.lines.slice(due[i]))
        t.equal(later.filter((each) => renewed(each) || takenUp(each)).length, 2)
        const after = await serials()
        t.equal(after[0], after[1])
        t.not(after[0], before[0])
        await Promise.all(both.map(({ served }) => served.close()))
      }
      if (cache === undefined) return
      await door.served.close()
      const keys = cli(cache.port, 'keys', 'sallyport:acme:*').trim().split('\n')
      t.ok(keys.some((key) => key.endsWith('certificates/one.example.pem')))
      t.notOk(
        keys.some((key) => key.endsWith('.lock')),
        'locks are gone'
      )
    }
  )

const subjectOf = (certificate: PeerCertificate | string): string =>
  typeof certificate === 'string' ? certificate : String(certificate.subject.CN)

t.test('answers a tls-alpn-01 challenge of another instance over TLS 1.2, too', { skip }, async (t) => {
  const ahead = clock(t)
  const { cert, key } = authority(t).issue('/CN=challenge', 'DNS:one.example')
  const { port, file, line } = await stage(t, server)
  await line(issued)
  const challenge = (versions: object): Promise<string> =>
    shown(port, { ALPNProtocols: ['acme-tls/1'], ...versions }).then(subjectOf)
  const ordinary = (versions: object): Promise<string> =>
    shown(port, { ALPNProtocols: ['http/1.1'], ...versions }).then(subjectOf)
  const one2 = { maxVersion: 'TLSv1.2' }
  mkdirSync(file('challenges'), { recursive: true })
  writeFileSync(file('challenges/one.example.pem'), `${key.toString()}${cert.toString()}`)
  t.equal(await challenge({}), 'challenge')
  t.not(await challenge(one2), 'challenge', 'not while no order can be under way')
  // The authority is away, so that the certificate stays due.
  await server.kill()
  t.teardown(() => server.start())
  ahead(0.67 * 3600)
  t.equal(await challenge(one2), 'challenge')
  t.equal(await challenge({}), 'challenge')
  t.not(await ordinary(one2), 'challenge', 'a client gets the certificate')
  t.not(await ordinary({}), 'challenge')
  ahead(-0.67 * 3600)
  const first = await stage(t, await standIn(t, () => {}))
  mkdirSync(first.file('challenges'), { recursive: true })
  writeFileSync(first.file('challenges/one.example.pem'), `${key.toString()}${cert.toString()}`)
  for (const versions of [one2, {}])
    t.equal(
      subjectOf(await shown(first.port, { ALPNProtocols: ['acme-tls/1'], ...versions })),
      'challenge',
      'before the first certificate'
    )
})

t.test(
  'a store that is away, and comes back empty, costs no certificate',
  { skip: skip || withoutRedis },
  async (t) => {
    const cache = await redis(t)
    const { port, app, line, lines } = await stage(t, server, {
      acme: { storage: false },
      more: { store: { redis: cache.url, timeout: '10s' } }
    })
    await line(issued)
    const before = serialOf(await shown(port))
    await cache.kill()
    await line(({ msg }) => msg === 'certificate storage unavailable')
    t.equal(serialOf(await shown(port)), before)
    t.match(app.tls?.certificates(), [
      { names: ['one.example'], ends: Number, trouble: /^its storage is not available$/ }
    ])
    await cache.start()
    await line(({ msg }) => msg === 'certificate restored to storage')
    t.match(
      cli(cache.port, 'get', 'sallyport:acme:'.concat(placeOf(server), ':certificates/one.example.pem')),
      /BEGIN CERT/
    )
    t.equal(serialOf(await shown(port)), before)
    t.equal(lines.filter(issued).length, 1)
  }
)
