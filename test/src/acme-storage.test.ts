import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { buildGateway, Keep, loadConfig } from '../../src/index.ts'
import { at, emptyFolder, failed, issued, routes, serialOf, shown, stage } from '../acme.ts'
import { authority } from '../certificates.ts'
import { bodyOf, upstream } from '../helpers.ts'
import { type Pebble, pebble, withoutPebble } from '../pebble.ts'

const skip = withoutPebble

// One authority for all of them; each has a storage, and so an account, of its own.
const server = (skip === false ? await pebble(t) : undefined) as Pebble

t.test('retries rejected nonces, even half of them', { skip }, async (t) => {
  const server = await pebble(t, { nonceReject: 50 })
  const domains = ['a.example', 'b.example', 'c.example', 'd.example', 'e.example']
  const { line, lines } = await stage(t, server, { acme: { domains } })
  for (const name of domains) await line((each) => issued(each) && String(each['names']) === name)
  t.notOk(lines.some(failed))
})

t.test('keeps certificates over a reload and orders new ones', { skip }, async (t) => {
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
  t.equal(app.tls?.certificates().length, 2)
  const [place = ''] = readdirSync(folder)
  t.equal(readdirSync(join(folder, place)).filter((name) => /^account-\w+\.json$/.test(name)).length, 2)
})

t.test('orders for the hosts of the routes by default, except for those with files', { skip }, async (t) => {
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
    app.tls?.certificates().map(({ from }) => from),
    ['files', 'acme']
  )
})

t.test('issues a wildcard by dns-01 through an extension', { skip }, async (t) => {
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

t.test('orders a new certificate if the stored one is invalid', { skip }, async (t) => {
  const first = await stage(t, server)
  await first.line(issued)
  await first.served.close()
  writeFileSync(first.file('certificates/one.example.pem'), 'no certificate')
  const { port, line, lines } = await stage(t, server, { acme: { storage: first.folder } })
  await line(issued)
  t.match(lines[0], {
    level: 'warn',
    names: ['one.example'],
    msg: 'stored certificate invalid, ordering a new one'
  })
  t.match(await shown(port), { subjectaltname: 'DNS:one.example' })
})

t.test('restores a stored certificate that was corrupted while it is served', { skip }, async (t) => {
  const { file, line } = await stage(t, server)
  await line(issued)
  const stored = file('certificates/one.example.pem')
  const pem = readFileSync(stored, 'utf8')
  writeFileSync(stored, pem.slice(0, 100))
  await line(({ msg }) => msg === 'certificate restored to storage')
  t.equal(readFileSync(stored, 'utf8'), pem)
})

t.test('rejects names that can never be issued at the start', { skip }, async (t) => {
  const acme = { agreeToTerms: true, domains: ['one.example'], storage: emptyFolder(t) }
  const broken = join(t.testdir({ 'x.pem': 'no pem' }), 'x.pem')
  const cases: [object, RegExp][] = [
    [{ acme: 'staging' }, /tls\.acme: expected an account such as .*, got "staging"/],
    [{}, /^(\S+ )?tls: expected "certificates", "acme" or both, got neither$/],
    [
      { acme: { domains: ['a.example'] } },
      /tls\.acme\.agreeToTerms: expected true, which agrees to the terms/
    ],
    [{ acme: [acme, { ...acme, agreeToTerms: false }] }, /tls\.acme\[1\]\.agreeToTerms: expected true/],
    [{ acme: { ...acme, ca: broken } }, /tls\.acme\.ca: The file .* contains no certificate in PEM format/],
    [
      { acme: { ...acme, directory: 'http://plain' } },
      /tls\.acme\.directory: expected "production" or "staging"/
    ],
    [{ acme: { ...acme, domains: ['10.0.0.1'] } }, /tls\.acme\.domains\[0\]: "10\.0\.0\.1" is an IP address/],
    [{ acme: { ...acme, domains: ['a b'] } }, /tls\.acme\.domains\[0\]: expected a host such as/],
    [
      { acme: { ...acme, domain: ['a.example'] } },
      /tls\.acme\.domain: Unknown option "domain"; did you mean "domains"\?/
    ],
    [
      { acme: { ...acme, domains: ['*.a.example'], challenges: ['http-01'] } },
      /tls\.acme\.domains\[0\]: "\*\.a\.example" needs the challenge dns-01, which "challenges" does not list/
    ]
  ]
  for (const [tls, expected] of cases) await t.rejects(loadConfig({ tls, routes }, {}), { message: expected })
  for (const [said, expected] of [
    [{ ...acme, domains: ['*.a.example'] }, /"\*\.a\.example" needs the challenge dns-01, and no extension/],
    [{ ...acme, domains: false }, /has no names to order certificates for: set "domains"/]
  ] as const)
    await t.rejects(buildGateway(await loadConfig({ tls: { acme: said }, routes }, {})), {
      message: expected
    })
})
