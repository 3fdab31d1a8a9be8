import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'dotenv'
import t, { type Test } from 'tap'
import {
  ask,
  certificate,
  listening,
  noOpenssl,
  running,
  type Seen,
  sallyport,
  upstream
} from '../helpers.ts'
import { provider } from '../provider.ts'
import { freePort } from '../redis.ts'

// Many processes, one after the other.
t.setTimeout(600_000)

/** Makes a folder of a template as a user does, and lets its gateway listen. */
async function started(
  t: Test,
  template: string,
  env: Record<string, string>
): Promise<{ url: string; folder: string }> {
  const cwd = t.testdir({})
  const made = await sallyport(['init', 'edge', '--template', template], { cwd })
  t.match(made, { code: 0, stderr: '' })
  const folder = join(cwd, 'edge')
  for (const file of made.stdout.match(/edge\/[^,\s]+(?=[,.])/g) ?? [])
    t.ok(statSync(join(cwd, file.replace(/\.$/, ''))).isFile(), file)
  t.match(
    await sallyport(['check', '--strict'], { cwd: folder }),
    { code: 0, stderr: '' },
    'passes check --strict'
  )
  t.equal(statSync(join(folder, '.env')).mode & 0o777, 0o600)
  const example = readFileSync(join(folder, '.env.example'), 'utf8')
  const own = parse(readFileSync(join(folder, '.env')))
  t.strictSame(Object.keys(parse(example)), Object.keys(own), '.env.example has the same names')
  for (const [name, value] of Object.entries(own))
    if (name === 'SESSION_SECRET' || name === 'JWT_SECRET') {
      t.match(value, /^\S{40,}$/)
      t.match(example, new RegExp(`^${name}=$`, 'm'), 'and no secret')
    }
  // What the user adds while the gateway does not run yet.
  if (template === 'microservices')
    writeFileSync(join(folder, 'keys.json'), JSON.stringify([{ id: 'ada', key: hashOf('a key of ada') }]))
  const { url } = await listening(t, join(folder, 'gateway.json'), { env: { ...own, ...env } })
  return { url, folder }
}

const hashOf = (key: string): string => `sha256:${createHash('sha256').update(key).digest('hex')}`

const seenBy = (text: string): Seen => JSON.parse(text) as Seen

t.test('init --template spa serves an app, and its API behind a log-in', async (t) => {
  const { url } = await started(t, 'spa', { API_URL: await upstream(t) })
  const page = await ask(`${url}/some/page`)
  t.match([page.status, page.text], [200, /It works/], 'every path is the page')
  const script = /src="([^"]+)"/.exec(page.text)?.[1] ?? ''
  t.match((await ask(url + script)).headers.get('content-type'), /javascript/)
  t.equal((await ask(`${url}/assets/none.js`)).status, 404, 'a missing script is no page')
  t.equal((await ask(`${url}/api/hello`, { headers: { accept: 'text/html' } })).status, 401)
  t.equal((await ask(`${url}/login`)).status, 200)
})

t.test('init --template jwt takes the tokens of its own script', async (t) => {
  const { url, folder } = await started(t, 'jwt', { API_URL: await upstream(t) })
  const token = (...args: string[]): string =>
    execFileSync(process.execPath, [join(folder, 'token.cjs'), ...args], { encoding: 'utf8' }).trim()
  const get = (path: string, bearer?: string): ReturnType<typeof ask> =>
    ask(url + path, bearer === undefined ? {} : { headers: { authorization: `Bearer ${bearer}` } })
  t.equal((await get('/')).status, 200)
  t.equal((await get('/me')).status, 401)
  t.equal((await get('/me', token('ada'))).text, 'ada\n')
  const { url: path, headers } = seenBy((await get('/api/x', token('ada'))).text)
  t.match([path, headers['x-user'], headers['authorization']], ['/x', 'ada', undefined])
  t.equal((await get('/admin/x', token('ada'))).status, 403)
  t.equal((await get('/admin/x', token('ada', 'admin'))).status, 200)
})

t.test('init --template oidc sends browsers to the provider', async (t) => {
  const { issuer, know } = await provider(t)
  know('http://localhost:3000')
  const { url } = await started(t, 'oidc', {
    OIDC_ISSUER: issuer,
    OIDC_CLIENT_SECRET: 'a secret of the client'
  })
  t.equal((await ask(url)).status, 200)
  t.equal((await ask(`${url}/app`)).status, 401)
  const { headers } = await ask(`${url}/login`, { headers: { accept: 'text/html' } })
  const sent = new URL(headers.get('location') ?? '')
  t.equal(sent.origin, issuer)
  t.equal(sent.searchParams.get('redirect_uri'), 'http://localhost:3000/login/callback')
})

t.test('init --template microservices puts two services behind API keys', async (t) => {
  const users = await upstream(t)
  const orders = await upstream(t)
  const { url } = await started(t, 'microservices', { USERS_URL: users, ORDERS_URL: orders })
  const get = (path: string, init: RequestInit = {}): ReturnType<typeof ask> =>
    ask(url + path, { ...init, headers: { 'x-api-key': 'a key of ada' } })
  t.equal((await ask(`${url}/v1/users/7`)).status, 401)
  t.match(seenBy((await get('/v1/users/7')).text), { url: '/users/7', headers: { 'x-caller': 'ada' } })
  t.match(seenBy((await get('/v1/orders/8')).text), { url: '/orders/8' })
  t.equal((await get('/v1/orders/8', { method: 'DELETE' })).status, 403, 'writing needs a scope')
  t.match(JSON.parse((await get('/v1/overview/7')).text), {
    user: { url: '/users/7' },
    orders: { url: '/orders?user=7' }
  })
})

t.test('init leaves files of the user as they are', async (t) => {
  const cwd = t.testdir({ public: { 'index.html': 'mine' }, 'users.json': '[ ]' })
  t.equal((await sallyport(['init', '--template', 'spa'], { cwd })).code, 0)
  t.equal(readFileSync(join(cwd, 'public/index.html'), 'utf8'), 'mine')
  t.equal(readFileSync(join(cwd, 'users.json'), 'utf8'), '[ ]')
  mkdirSync(join(cwd, 'other'))
  writeFileSync(join(cwd, 'other/gateway.ts'), 'export default { routes: [] }')
  t.match(await sallyport(['init', 'other'], { cwd }), {
    code: 1,
    stderr: /^There is a gateway\.ts in other already; nothing was written/
  })
  t.match(await sallyport(['init', 'x', '-t', 'spaa'], { cwd }), {
    code: 2,
    stderr: /^--template: expected one of spa, jwt, oidc, microservices, got "spaa"; usage: /
  })
})

t.test('init without a template', async (t) => {
  t.test('writes a gateway that runs', async (t) => {
    const cwd = t.testdir({})
    const { code, stdout, stderr } = await sallyport(['init', 'edge'], { cwd })
    t.equal(code, 0)
    t.equal(stderr, '')
    t.match(
      stdout,
      /^Wrote edge\/gateway\.json, .*\nNow: cd edge && npx sallyport, then curl http:\/\/localhost:3000\/hello\/you\n$/
    )
    const folder = join(cwd, 'edge')
    t.strictSame(readdirSync(folder).toSorted(), [
      '.dockerignore',
      '.env',
      '.env.example',
      '.gitignore',
      'Dockerfile',
      'gateway.json',
      'gateway.test.json'
    ])
    t.equal(statSync(join(folder, '.env')).mode & 0o777, 0o600, 'what holds a secret is for its owner alone')
    t.match(readFileSync(join(folder, '.gitignore'), 'utf8'), /^\.env$/m)
    t.match(readFileSync(join(folder, '.env'), 'utf8'), /^SESSION_SECRET=\S{32,}$/m)
    t.match(await sallyport(['check', '--strict'], { cwd: folder }), { code: 0, stderr: '' })
    t.match(await sallyport(['test', '--min-coverage', '100'], { cwd: folder }), { code: 0, stderr: '' })
    const { url } = await running(t, [], { cwd: folder })
    const answer = await ask(`${url}/hello/you`)
    t.equal(answer.status, 200)
    t.equal(answer.text, 'Hello, you!\n')
  })

  t.test('writes a Dockerfile that copies the whole folder, and a health check that works', async (t) => {
    const cwd = t.testdir({})
    await sallyport(['init'], { cwd })
    const dockerfile = readFileSync(join(cwd, 'Dockerfile'), 'utf8')
    t.match(dockerfile, /^COPY --chown=node:node \. \.$/m, 'extensions, users.json and certificates included')
    t.match(readFileSync(join(cwd, '.dockerignore'), 'utf8'), /^\.env$/m)
    t.notMatch(
      readFileSync(join(cwd, '.env'), 'utf8'),
      /^HOST=/m,
      '--env-file must not override HOST of the image'
    )
    const command = JSON.parse(/^HEALTHCHECK CMD (.*)$/m.exec(dockerfile)?.[1] ?? '[]') as string[]
    const health = async (port: number): Promise<unknown> => {
      const child = spawn(process.execPath, command.slice(1), {
        env: { ...process.env, PORT: String(port) },
        stdio: 'ignore'
      })
      return (await once(child, 'exit'))[0]
    }
    const routes = [{ path: '/', respond: { body: 'fine' } }]
    t.equal(await health((await listening(t, { routes })).port), 0)
    t.equal(await health(await freePort()), 1, 'without a gateway')
    t.test('also over TLS', { skip: noOpenssl }, async (t) => {
      const { ca } = certificate(t)
      const tls = { certificates: [{ cert: ca, key: ca.replace('up.pem', 'up.key') }] }
      t.equal(await health((await listening(t, { tls, routes })).port), 0)
      const strict = { ...tls, clientCertificates: { ca, required: true } }
      t.equal(await health((await listening(t, { tls: strict, routes })).port), 0, 'with client certificates')
    })
  })

  t.test('makes another secret each time', async (t) => {
    const secret = async (): Promise<string> => {
      const cwd = t.testdir({})
      await sallyport(['init'], { cwd })
      return readFileSync(join(cwd, '.env'), 'utf8')
    }
    t.not(await secret(), await secret())
  })

  for (const name of ['gateway.json', '.env', 'Dockerfile'])
    t.test(`never overwrites a ${name}, and then writes nothing`, async (t) => {
      const cwd = t.testdir({ [name]: 'mine' })
      const { code, stdout, stderr } = await sallyport(['init'], { cwd })
      t.equal(code, 1)
      t.equal(stdout, '')
      t.equal(
        stderr,
        `There is a ${name} in . already; nothing was written. Name another folder: sallyport init gateway\n`
      )
      t.strictSame(
        readdirSync(cwd).filter((each) => each !== '.tap'),
        [name],
        "beside tap's own folder"
      )
      t.equal(readFileSync(join(cwd, name), 'utf8'), 'mine')
    })

  t.test('leaves other existing files as they are', async (t) => {
    const cwd = t.testdir({ '.gitignore': 'mine\n' })
    const { code, stdout } = await sallyport(['init'], { cwd })
    t.equal(code, 0)
    t.notMatch(stdout, /gitignore/)
    t.equal(readFileSync(join(cwd, '.gitignore'), 'utf8'), 'mine\n')
  })
})
