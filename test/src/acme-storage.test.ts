import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { buildGateway, Keep, loadConfig } from '../../src/index.ts'
import {
  at,
  emptyFolder,
  failed,
  issued,
  placeOf,
  renewed,
  routes,
  serialOf,
  shown,
  stage,
  takenUp
} from '../acme.ts'
import { authority } from '../certificates.ts'
import { bodyOf, clock, upstream } from '../helpers.ts'
import { type Pebble, pebble, withoutPebble } from '../pebble.ts'
import { cli, redis, withoutRedis } from '../redis.ts'

const skip = withoutPebble

// One authority for all of them; each has a storage, and so an account, of its own.
const server = (skip === false ? await pebble(t) : undefined) as Pebble

t.test('takes no notice of nonces that are refused, even half of them', { skip }, async (t) => {
  const server = await pebble(t, { nonceReject: 50 })
  const domains = ['a.example', 'b.example', 'c.example', 'd.example', 'e.example']
  const { line, lines } = await stage(t, server, { acme: { domains } })
  for (const name of domains) await line((each) => issued(each) && String(each['names']) === name)
  t.notOk(lines.some(failed))
})

t.test('a reload keeps what there is, and orders what is new', { skip }, async (t) => {
  const keep = new Keep()
  const { port, served, folder, line, lines, log } = await stage(t, server, { keep })
  await line(issued)
  const before = serialOf(await shown(port))
  const acme = { ...at(server), storage: folder, domains: ['one.example', 'two.example'] }
  const tls = { redirectFrom: server.httpPort, minVersion: 'TLSv1.3', acme }
  served.swap(await buildGateway(await loadConfig({ tls, routes }, {}), keep, log))
  await line((each) => issued(each) && String(each['names']) === 'two.example')
  t.match(await shown(port, { servername: 'two.example' }), { subjectaltname: 'DNS:two.example' })
  t.equal(serialOf(await shown(port)), before)
  t.match(
    await shown(port, { maxVersion: 'TLSv1.2' }),
    /PROTOCOL_VERSION/,
    'by the newer words of the config'
  )
  t.equal(lines.filter(issued).length, 2)
})

t.test('several names, several accounts', { skip }, async (t) => {
  const folder = emptyFolder(t)
  const { port, line, app } = await stage(t, server, {
    tls: {
      redirectFrom: server.httpPort,
      acme: [
        {
          ...at(server),
          storage: folder,
          email: 'a@example.com',
          domains: [['one.example', 'www.one.example']]
        },
        { ...at(server), storage: folder, email: 'b@example.com', domains: ['two.example'] }
      ]
    }
  })
  await line((each) => issued(each) && String(each['names']) === 'one.example,www.one.example')
  await line((each) => issued(each) && String(each['names']) === 'two.example')
  for (const [servername, names] of [
    ['www.one.example', 'DNS:one.example, DNS:www.one.example'],
    ['two.example', 'DNS:two.example']
  ])
    t.match(await shown(port, { servername }), { subjectaltname: names })
  t.equal(app.edge?.certificates().length, 2)
  const [place = ''] = readdirSync(folder)
  t.equal(readdirSync(join(folder, place)).filter((name) => /^account-\w+\.json$/.test(name)).length, 2)
})

t.test('by default the hosts of the routes, except for what the files hold', { skip }, async (t) => {
  const files = authority(t).issue('/CN=files', 'DNS:two.example,DNS:*.wild.example')
  const { port, line, app } = await stage(t, server, {
    tls: {
      certificates: [{ cert: files.certFile, key: files.keyFile }],
      redirectFrom: server.httpPort,
      acme: { directory: server.directory, ca: server.ca, agreeToTerms: true, storage: emptyFolder(t) }
    },
    more: {
      routes: [
        { path: '/a', host: ['one.example', '127.0.0.1'], respond: { body: 'in' } },
        { path: '/b', host: ['two.example', 'a.wild.example', 'localhost'], respond: { body: 'in' } },
        { path: '/c', respond: { body: 'in' } }
      ]
    }
  })
  t.match(await line(issued), { names: ['one.example'] })
  t.match(await shown(port), { subjectaltname: 'DNS:one.example' })
  for (const servername of ['two.example', 'a.wild.example', 'nobody.example'])
    t.match(await shown(port, { servername }), { subject: { CN: 'files' } }, servername)
  t.match(
    app.edge?.certificates().map(({ from }) => from),
    ['files', 'acme']
  )
})

t.test('a wildcard is proven by the DNS, through an extension', { skip }, async (t) => {
  const seen: string[] = []
  const url = await upstream(t, (request, response) => {
    void bodyOf(request).then(async (body) => {
      const { name, value } = JSON.parse(body.toString()) as { name: string; value: string }
      seen.push(`${request.method} ${name} ${request.headers.authorization}`)
      const host = `${name}.`
      await (request.method === 'POST'
        ? server.dns('set-txt', { host, value })
        : server.dns('clear-txt', { host }))
      response.end()
    })
  })
  const module = fileURLToPath(new URL('../../examples/extensions/dns-hook.ts', import.meta.url))
  const { port, line } = await stage(t, server, {
    acme: { domains: ['*.wild.example'] },
    tls: {},
    more: { extensions: [{ module }], dnsHook: { url, token: 'sesame' } }
  })
  await line(issued)
  t.match(await shown(port, { servername: 'a.wild.example' }), { subjectaltname: 'DNS:*.wild.example' })
  t.same(seen, [
    'POST _acme-challenge.wild.example Bearer sesame',
    'DELETE _acme-challenge.wild.example Bearer sesame'
  ])
})

t.test('a stored certificate that can not be used is ordered anew, and said', { skip }, async (t) => {
  const first = await stage(t, server)
  await first.line(issued)
  await first.served.close()
  writeFileSync(first.file('certificates/one.example.pem'), 'no certificate')
  const { port, line, lines } = await stage(t, server, { acme: { storage: first.folder } })
  await line(issued)
  t.match(lines[0], { level: 'warn', names: ['one.example'], msg: /can not be used: it is ordered anew$/ })
  t.match(await shown(port), { subjectaltname: 'DNS:one.example' })
})

t.test('a lock of another is waited for; one that was left behind is not', { skip }, async (t) => {
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
  t.match(app.edge?.certificates()[0], { names: ['two.example'], ends: 0 })
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
      const more = cache === undefined ? {} : { store: { redis: cache.url } }
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
        const due = lines().length
        await Promise.any(both.map(({ line }) => line(renewed)))
        ahead(-0.67 * 3600)
        await Promise.all(
          both.map(({ line, lines }) =>
            line((each) => lines.indexOf(each) > 0 && (renewed(each) || takenUp(each)))
          )
        )
        t.equal(lines().filter(renewed).length, 1, `${challenge}: one has renewed`)
        t.equal(lines().length, due + 2)
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
        keys.some((key) => /lock$|challenges/.test(key)),
        'locks and answers are gone'
      )
    }
  )

t.test(
  'a store that is away, and comes back empty, costs no certificate',
  { skip: skip || withoutRedis },
  async (t) => {
    const cache = await redis(t)
    const { port, app, line, lines } = await stage(t, server, {
      acme: { storage: false },
      more: { store: { redis: cache.url } }
    })
    await line(issued)
    const before = serialOf(await shown(port))
    await cache.kill()
    await line(({ msg }) => msg === 'the storage of certificates is not available')
    t.equal(serialOf(await shown(port)), before)
    t.match(app.edge?.certificates(), [
      { names: ['one.example'], ends: Number, trouble: /^its storage is not available$/ }
    ])
    await cache.start()
    await line(({ msg }) => msg === 'a certificate was put back into its storage')
    t.match(
      cli(cache.port, 'get', 'sallyport:acme:'.concat(placeOf(server), ':certificates/one.example.pem')),
      /BEGIN CERT/
    )
    t.equal(serialOf(await shown(port)), before)
    t.equal(lines.filter(issued).length, 1)
  }
)

t.test(
  'a stored certificate that breaks while it is served is replaced by the one that is',
  { skip },
  async (t) => {
    const { file, line } = await stage(t, server)
    await line(issued)
    const stored = file('certificates/one.example.pem')
    const pem = readFileSync(stored, 'utf8')
    writeFileSync(stored, pem.slice(0, 100))
    await line(({ msg }) => msg === 'a certificate was put back into its storage')
    t.equal(readFileSync(stored, 'utf8'), pem)
  }
)

t.test('what can never be had is said before anything starts', { skip }, async (t) => {
  const acme = { agreeToTerms: true, domains: ['one.example'], storage: emptyFolder(t) }
  const broken = join(t.testdir({ 'x.pem': 'no pem' }), 'x.pem')
  const cases: [object, RegExp][] = [
    [{}, /^(\S+ )?tls: There is no certificate; say "certificates", "acme", or both$/],
    [
      { acme: { domains: ['a.example'] } },
      /tls\.acme\.agreeToTerms: No authority issues certificates unless/
    ],
    [{ acme: [acme, { ...acme, agreeToTerms: false }] }, /tls\.acme\[1\]\.agreeToTerms: No authority/],
    [{ acme: { ...acme, ca: broken } }, /tls\.acme\.ca: The file .* holds no certificate as PEM/],
    [
      { acme: { ...acme, directory: 'http://plain' } },
      /tls\.acme\.directory: .* it takes "production" or "staging"/
    ],
    [
      { acme: { ...acme, domains: ['10.0.0.1'] } },
      /tls\.acme\.domains\[0\]: "10\.0\.0\.1" is an address; certificates/
    ],
    [{ acme: { ...acme, domains: ['a b'] } }, /tls\.acme\.domains\[0\]: .* it takes a host such as/],
    [
      { acme: { ...acme, domain: ['a.example'] } },
      /tls\.acme\.domain: Unknown word "domain"; did you mean "domains"\?/
    ],
    [
      { acme: { ...acme, domains: ['*.a.example'], challenges: ['http-01'] } },
      /tls\.acme\.domains\[0\]: "\*\.a\.example" takes the challenge dns-01, which "challenges" leaves out/
    ]
  ]
  for (const [tls, expected] of cases) await t.rejects(loadConfig({ tls, routes }, {}), { message: expected })
  for (const [said, expected] of [
    [{ ...acme, domains: ['*.a.example'] }, /"\*\.a\.example" takes the challenge dns-01, and no extension/],
    [{ ...acme, domains: false }, /has no names to order certificates for: say "domains"/]
  ] as const)
    await t.rejects(buildGateway(await loadConfig({ tls: { acme: said }, routes }, {})), {
      message: expected
    })
})
