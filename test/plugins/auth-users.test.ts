import { writeFileSync } from 'node:fs'
import bcrypt from 'bcryptjs'
import t from 'tap'
import { Keep, loadConfig } from '../../src/index.ts'
import { gateway, SECRET, sallyport } from '../helpers.ts'
import { sha256 } from './callers.ts'

const basic = (name: string, password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
})
const who = { path: '/who', respond: { body: '{caller.id}' } }
const hashOf = (password: string): string => bcrypt.hashSync(password, 4)
const ada = hashOf('lovelace')

t.test('accepts the bcrypt hashes of an htpasswd file', async (t) => {
  const file = `${t.testdir({
    '.htpasswd': [
      '\uFEFF# staff',
      `ada:${ada.replace('$2b$', '$2y$')}`,
      '',
      `bob:${hashOf('café: the man')}\r`,
      `carol:${hashOf('x'.repeat(80)).replace('$2b$', '$2a$')}`
    ].join('\n')
  })}/.htpasswd`
  const keep = new Keep()
  const config = { auth: { users: { file }, basic: true, session: true }, routes: [who] }
  const app = await gateway(t, config, { keep })
  const cases: [string, string, number][] = [
    ['ada', 'lovelace', 200],
    ['ada', 'byron', 401],
    ['ada', '', 401],
    ['bob', 'café: the man', 200],
    ['carol', 'x'.repeat(80), 200],
    ['eve', 'lovelace', 401],
    ['# staff', '', 401]
  ]
  for (const [name, password, expected] of cases) {
    const answer = await app.inject({ url: '/who', headers: basic(name, password) })
    t.equal(answer.statusCode, expected, `${name}:${password}`)
    if (expected === 200) t.equal(answer.body, name)
  }
  const login = await app.inject({
    method: 'POST',
    url: '/login',
    payload: { username: 'ada', password: 'lovelace' }
  })
  t.equal(login.statusCode, 200, 'at the log-in as well')
  const all = await Promise.all(
    ['lovelace', 'byron', 'lovelace', 'noel'].map((password) =>
      app.inject({ method: 'POST', url: '/login', payload: { username: 'ada', password } })
    )
  )
  t.same(
    all.map(({ statusCode }) => statusCode),
    [200, 401, 200, 401],
    'at once'
  )
  t.test('a reload reads it again', async (t) => {
    writeFileSync(file, `ada:${hashOf('byron')}\n`)
    const next = await gateway(t, config, { keep })
    t.equal((await next.inject({ url: '/who', headers: basic('ada', 'lovelace') })).statusCode, 401)
    t.equal((await next.inject({ url: '/who', headers: basic('ada', 'byron') })).statusCode, 200)
    t.equal((await next.inject({ url: '/who', headers: basic('bob', 'café: the man') })).statusCode, 401)
  })
})

t.test('refuses hashes that are guessed quickly, damaged or too costly, without printing them', async (t) => {
  const cases: [string, string, RegExp][] = [
    ['MD5 of Apache', '$apr1$r31LJ9xo$Yd0IlTDXiZ8yJQiMTeXsp0', /got an MD5 hash/],
    ['MD5', '$1$r31LJ9xo$Yd0IlTDXiZ8yJQiMTeXsp0', /got an MD5 hash/],
    ['SHA-1', '{SHA}IcLlr5KcX6V4ZBqEbzVnZc7IWE0=', /got a SHA-1 hash/],
    ['crypt', 'rl0uE6pFTYXYo', /got a crypt hash/],
    ['SHA-512 crypt', '$6$saltsalt$abc', /got a SHA-2 crypt hash/],
    ['too costly', ada.replace('$04$', '$20$'), /got a bcrypt hash that is damaged or has a cost over 14/],
    ['damaged', ada.slice(0, -1), /got a bcrypt hash that is damaged/],
    ['plain text', 'lovelace', /password of "ada"; "sallyport hash" makes one/],
    ['nothing', '', /password of "ada"; "sallyport hash" makes one/]
  ]
  for (const [name, hash, message] of cases) {
    const file = `${t.testdir({ htpasswd: `bob:${ada}\nada:${hash}\n` })}/htpasswd`
    const error = (await loadConfig(
      { auth: { users: { file }, basic: true }, routes: [who] } as never,
      {}
    ).then(
      () => undefined,
      (error: Error) => error
    )) as Error | undefined
    t.match(error?.message, message, name)
    t.match(error?.message, /htpasswd: entry 2: expected an argon2id, scrypt or bcrypt hash/, name)
    if (hash !== '') t.notOk(error?.message.includes(hash), `${name}: the hash is not in the message`)
  }
  const file = `${t.testdir({ users: '[{ "name": "ada" ' })}/users`
  await t.rejects(loadConfig({ auth: { users: { file }, basic: true }, routes: [who] } as never, {}), {
    message: /expected JSON in the file/
  })
})

t.test('check advises better hashes', async (t) => {
  const cwd = t.testdir({
    htpasswd: `ada:${ada}\n`,
    'gateway.json': JSON.stringify({ auth: { users: { file: 'htpasswd' }, session: true }, routes: [who] })
  })
  const { stdout, stderr } = await sallyport(['check', '-c', 'gateway.json'], {
    cwd,
    env: { SESSION_SECRET: SECRET }
  })
  t.match(stdout + stderr, /accepts users with bcrypt hashes.*"sallyport hash" makes argon2id hashes/)
})

t.test('callers with an API key may have claims', async (t) => {
  const key = { id: 'shop', key: sha256('key of shop'), claims: { tenant: 'acme', plan: { name: 'gold' } } }
  const other = { id: 'blog', key: sha256('key of blog') }
  const file = `${t.testdir({ keys: JSON.stringify([key, other]) })}/keys`
  const app = await gateway(t, {
    auth: { apiKeys: { file } },
    routes: [
      { path: '/who', respond: { body: '{caller.claims.tenant} {caller.claims.plan.name}' } },
      { path: '/acme', auth: { require: { claims: { tenant: 'acme' } } }, respond: { body: 'ok' } }
    ]
  })
  const get = (url: string, id: string) => app.inject({ url, headers: { 'x-api-key': `key of ${id}` } })
  t.equal((await get('/who', 'shop')).body, 'acme gold')
  t.equal((await get('/acme', 'shop')).statusCode, 200)
  t.equal((await get('/acme', 'blog')).statusCode, 403)
  const wrong = `${t.testdir({ keys: JSON.stringify([{ ...key, claims: ['acme'] }]) })}/keys`
  await t.rejects(loadConfig({ auth: { apiKeys: { file: wrong } }, routes: [who] } as never, {}), {
    message: /keys: entry 1: expected an object as the claims of "shop"/
  })
})
