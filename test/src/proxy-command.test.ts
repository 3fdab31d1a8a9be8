import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { openLocalAuthority } from '../../src/commands/local-authority/index.ts'
import { trustHint } from '../../src/commands/local-authority/trust.ts'
import { isLocalName } from '../../src/lib/local-authority/names.ts'
import { makeAuthority, signCertificate } from '../../src/lib/local-authority/sign.ts'
import { ask, movableClock, noOpenssl, running, type Seen, sallyport, upstream } from '../helpers.ts'

// Many processes, one after the other.
t.setTimeout(600_000)

const DAY_MS = 86_400_000
const name = 'proxy'

t.test('proxy --to forwards everything to a service, without a config', async (t) => {
  const service = await upstream(t)
  const { port } = new URL(service)
  for (const to of [service, port, `127.0.0.1:${port}`]) {
    const { url, lines } = await running(t, ['--to', to, '--from', '0'], {
      name,
      cwd: t.testdir({ '.env': 'LOG_LEVEL=of the service\n', 'gateway.json': 'not read' })
    })
    const { status, text } = await ask(`${url}/a/b?c=1`, { method: 'POST', body: 'x' })
    t.equal(status, 200, to)
    t.match(JSON.parse(text) as Seen, { method: 'POST', url: '/a/b?c=1', body: 'x' })
    t.match(String(lines[0]?.['msg']), /^listening on http:\/\/127\.0\.0\.1:\d+, forwarding to http:/)
  }
})

t.test('proxy --to may be repeated, and --from names the address', async (t) => {
  const services = await Promise.all(
    ['one', 'two'].map((body) => upstream(t, (_request, response) => response.end(body)))
  )
  const { port, lines } = await running(
    t,
    [...services.flatMap((to) => ['--to', to]), '--from', 'shop.localhost:0'],
    { name, env: { WORKERS: '2' } }
  )
  const seen = new Set<string>()
  while (seen.size < 2) seen.add((await ask(`http://127.0.0.1:${port}/`)).text)
  t.strictSame([...seen].toSorted(), ['one', 'two'])
  t.match(
    lines[0]?.['msg'],
    `listening on http://shop.localhost:${port}, forwarding to ${services.join(', ')}`
  )
})

/** Asks over TLS and trusts a CA; returns the certificate of the gateway, and the headers of its response. */
async function askTls(
  port: number,
  host: string,
  ca: Buffer
): Promise<{ certificate: X509Certificate; headers: object }> {
  const request = get({
    host,
    port,
    ca,
    agent: false,
    lookup: (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }])
  })
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
  const certificate = (response.socket as TLSSocket).getPeerX509Certificate()
  response.resume()
  if (certificate === undefined) throw new Error('no certificate')
  return { certificate, headers: response.headers }
}

t.test('proxy --tls serves a certificate of a local authority, and renews it while it runs', async (t) => {
  const service = await upstream(t)
  const data = t.testdir()
  const args = ['--to', service, '--tls', '--from', 'shop.localhost:0']
  const env = { XDG_DATA_HOME: data }
  const first = await running(t, args, { name, env })
  const folder = join(data, 'sallyport')
  const root = readFileSync(join(folder, 'local-authority/root.crt'))
  for (const host of ['shop.localhost', 'localhost', '127.0.0.1']) {
    const { headers } = await askTls(first.port, host, root)
    t.notOk('strict-transport-security' in headers, `${host}: other services on localhost have no TLS`)
  }
  for (const each of ['', 'local-authority', 'local-certificates'])
    t.equal(statSync(join(folder, each)).mode & 0o777, 0o700, `"${each}" is for its owner alone`)
  for (const file of ['local-authority/root.key', 'local-certificates/shop.localhost.pem'])
    t.equal(statSync(join(folder, file)).mode & 0o777, 0o600, `${file} is for its owner alone`)

  const { certificate: before } = await askTls(first.port, 'localhost', root)
  rmSync(join(folder, 'local-certificates/shop.localhost.pem'))
  await (await openLocalAuthority(folder)).certificateFor(['shop.localhost', 'localhost', '127.0.0.1', '::1'])
  await first.line(({ msg }) => msg === 'reloaded')
  const { certificate: after } = await askTls(first.port, 'localhost', root)
  t.not(after.serialNumber, before.serialNumber)

  const second = await running(t, args, { name, env: { ...env, WORKERS: '2' } })
  const { certificate } = await askTls(second.port, 'localhost', root)
  t.equal(certificate.serialNumber, after.serialNumber, 'a later start uses the same certificate')
})

t.test('a local authority makes and renews what is due', async (t) => {
  const { advance } = movableClock(t)
  const folder = t.testdir()
  const names = ['localhost', '::1']
  const [one, other] = await Promise.all([openLocalAuthority(folder), openLocalAuthority(folder)])
  t.ok(one.isNew || other.isNew)
  const rootOf = (): string => readFileSync(one.root, 'utf8')
  const root = rootOf()
  const leafOf = async (): Promise<X509Certificate> => {
    const file = await (await openLocalAuthority(folder)).certificateFor(names)
    return new X509Certificate(readFileSync(file))
  }
  await one.certificateFor(names)
  const leaf = await leafOf()
  t.ok(leaf.verify(new X509Certificate(root).publicKey), 'two that start together use one authority')
  t.equal((await leafOf()).serialNumber, leaf.serialNumber)
  t.match(leaf.checkIP('::1'), '::1')
  names.push('a.test')
  const wider = await leafOf()
  t.equal(wider.checkHost('a.test'), 'a.test', 'another name needs another certificate')
  advance(5 * DAY_MS)
  t.not((await leafOf()).serialNumber, wider.serialNumber, 'renewed before it ends')
  t.equal(rootOf(), root)
  advance(3640 * DAY_MS)
  t.ok((await openLocalAuthority(folder)).isNew, 'an authority that ends soon is replaced')
  t.ok((await leafOf()).verify(new X509Certificate(rootOf()).publicKey))
  t.notOk(
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).some((file) => /tmp$|^new-/.test(file)),
    'nothing is left over'
  )
  writeFileSync(join(folder, 'local-authority/root.key'), 'nonsense')
  await t.rejects(openLocalAuthority(folder), {
    message: /^The local authority in .* is damaged; delete this folder, and the next start makes a new one$/
  })
})

t.test('a local authority is good for local names alone, even for a thief of its key', async (t) => {
  const cases: [name: string, isLocal: boolean][] = [
    ['localhost', true],
    ['a.b.localhost', true],
    ['shop.test', true],
    ['printer.local', true],
    ['127.0.0.1', true],
    ['192.168.7.1', true],
    ['::1', true],
    ['fe80::1', true],
    ['example.com', false],
    ['notlocalhost', false],
    ['8.8.8.8', false],
    ['2001:db8::1', false]
  ]
  for (const [each, isLocal] of cases) t.equal(isLocalName(each), isLocal, each)
  t.test('as openssl verifies', { skip: noOpenssl }, async (t) => {
    const authority = await makeAuthority('ada')
    const folder = t.testdir({ 'root.crt': authority.cert })
    for (const [i, [each, isLocal]] of cases.entries()) {
      writeFileSync(join(folder, `${i}.pem`), (await signCertificate(authority, [each])).cert)
      const verify = (): Buffer =>
        execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', 'root.crt', `${i}.pem`], {
          cwd: folder,
          stdio: 'pipe'
        })
      if (isLocal) t.doesNotThrow(verify, each)
      else t.throws(verify, /permitted subtree violation/, each)
    }
  })
})

t.test('the way to trust the authority is told for each system', async (t: Test) => {
  for (const [platform, command] of [
    ['darwin', 'security add-trusted-cert'],
    ['win32', 'certutil -user -addstore Root "C:\\a b\\root.crt"'],
    ['linux', 'update-ca-certificates'],
    ['freebsd', 'update-ca-certificates']
  ] as const)
    t.ok(trustHint('C:\\a b\\root.crt', platform).includes(command), platform)
})

t.test('proxy says what would work where its options are wrong', async (t) => {
  const to = ['--to', 'http://localhost:4001']
  const cases: [args: string[], code: number, says: RegExp][] = [
    [[], 2, /^expected --to, such as --to http:\/\/localhost:4001; usage: sallyport proxy /],
    [['--to', 'nonsense'], 2, /^--to: expected a URL such as http:\/\/localhost:4001, got "nonsense"$/],
    [['--to', 'ftp://x'], 2, /^--to: expected a URL .*got "ftp:\/\/x"$/],
    [
      ['--to', 'http://ada:secret@localhost'],
      2,
      /^--to: expected a URL without a user, a query and a fragment, got one with them$/
    ],
    [['--to', 'localhost:99999'], 2, /^--to: expected a URL .*got "localhost:99999"$/],
    [[...to, '--from', '80000'], 2, /^--from: expected a port such as 8080, .*got "80000"$/],
    [[...to, '--from', 'http://localhost:80'], 2, /^--from: expected a port .*got "http:\/\/localhost:80"$/],
    [
      [...to, '--tls', '--from', 'example.com:443'],
      2,
      /^--tls: expected localhost, a private address or a name below localhost, .*, got "example\.com"; for a public name use a config with "tls\.acme"$/
    ],
    [[...to, '--port', '1'], 2, /^There is no option --port; set PORT in the environment; usage: /]
  ]
  await Promise.all(
    cases.map(async ([args, code, says]) => {
      const ended = await sallyport(['proxy', ...args])
      t.equal(ended.code, code, args.join(' '))
      t.equal(ended.stdout, '')
      t.match(ended.stderr.trimEnd(), says)
      t.notMatch(ended.stderr, 'secret')
    })
  )
  const cwd = t.testdir({ file: '' })
  t.match(
    await sallyport(['proxy', ...to, '--tls', '--from', '0'], { env: { XDG_DATA_HOME: join(cwd, 'file') } }),
    {
      code: 1,
      stdout: '',
      stderr:
        /^The local authority in .*file\/sallyport can't be used \(ENOTDIR\); XDG_DATA_HOME names another folder\n$/
    }
  )
})
