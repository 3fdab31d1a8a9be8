import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { gateway } from '../helpers.ts'
import { cli, type RealRedis, redis, until, withoutRedis } from '../redis.ts'

const skip = withoutRedis

const users = {
  list: [
    { name: 'ada', secret: 'lovelace', roles: ['staff'] },
    { name: 'bob', secret: 'builder' }
  ]
}

const config = (store: object | undefined, session: object = {}): object => ({
  ...(store === undefined ? {} : { store }),
  session,
  auth: { session: true, users },
  routes: [{ path: '/private', respond: { body: 'in' } }]
})

const logIn = (
  app: FastifyInstance,
  username = 'ada',
  password = 'lovelace'
): Promise<LightMyRequestResponse> =>
  app.inject({ method: 'POST', url: '/login', payload: { username, password } })

const cookieOf = ({ headers }: LightMyRequestResponse): string =>
  String(headers['set-cookie'] ?? '').split(';')[0] ?? ''

const status = async (app: FastifyInstance, cookie: string): Promise<number> =>
  (await app.inject({ url: '/private', headers: { cookie } })).statusCode

interface ListedSession {
  readonly id: string
  readonly since: string
  readonly current: boolean
}

const listed = async (app: FastifyInstance, cookie: string): Promise<ListedSession[]> =>
  (await app.inject({ url: '/session?sessions', headers: { cookie } })).json<{ sessions: ListedSession[] }>()
    .sessions

const logOut = (
  app: FastifyInstance,
  cookie: string,
  payload: object = {}
): Promise<LightMyRequestResponse> =>
  app.inject({ method: 'POST', url: '/logout', headers: { cookie }, payload })

/** Two gateways with one store between them, or one gateway that is both. */
async function pair(t: Test, server: RealRedis | undefined): Promise<[FastifyInstance, FastifyInstance]> {
  if (server === undefined) {
    const app = await gateway(t, config(undefined))
    return [app, app]
  }
  const store = { redis: server.url, timeout: '10s' }
  return [await gateway(t, config(store)), await gateway(t, config(store))]
}

for (const where of ['in memory', 'in Redis'] as const)
  t.test(`sessions ${where}`, { skip: where === 'in Redis' && skip }, async (t) => {
    const server = where === 'in Redis' ? await redis(t) : undefined
    const [one, other] = await pair(t, server)

    t.test('are shared by all gateways of a store, and end at all of them', async (t) => {
      const cookie = cookieOf(await logIn(one))
      t.equal(await status(other, cookie), 200)
      t.equal((await logOut(other, cookie)).statusCode, 200)
      t.equal(await status(one, cookie), 401)
    })

    t.test('are listed, and end one by one or everywhere', async (t) => {
      const phone = cookieOf(await logIn(one))
      const laptop = cookieOf(await logIn(other))
      const tablet = cookieOf(await logIn(one))
      const bobs = cookieOf(await logIn(one, 'bob', 'builder'))
      const all = await listed(other, phone)
      t.equal(all.length, 3)
      t.equal(all.filter(({ current }) => current).length, 1)
      for (const { since } of all) t.ok(Math.abs(Date.parse(since) - Date.now()) < 60_000)
      t.notMatch(
        JSON.stringify(all),
        cookieOf(await logIn(one)).slice(4, 30),
        'no cookie can be made of what is told'
      )
      const [bobsOwn] = await listed(one, bobs)
      t.equal(
        (await logOut(one, phone, { session: bobsOwn?.id })).statusCode,
        404,
        'nobody ends the session of another'
      )
      t.equal(await status(one, bobs), 200)
      const laptops = (await listed(one, laptop)).find(({ current }) => current)
      t.equal((await logOut(one, phone, { session: laptops?.id })).statusCode, 200)
      t.equal(await status(other, laptop), 401)
      t.equal(await status(other, tablet), 200)
      t.equal((await logOut(one, phone, { everywhere: true })).statusCode, 200)
      for (const cookie of [phone, tablet]) t.equal(await status(other, cookie), 401)
      t.equal(await status(other, bobs), 200)
    })

    t.test('throttle failed log-ins together, by address and by name', async (t) => {
      for (let i = 0; i < 10; i++)
        t.equal((await logIn(i % 2 === 0 ? one : other, 'ada', `guess ${i}`)).statusCode, 401)
      for (const app of [one, other]) {
        const refused = await logIn(app)
        t.equal(refused.statusCode, 429)
        t.ok(Number(refused.headers['retry-after']) > 0)
      }
      const from = (app: FastifyInstance, i: number, name: string): Promise<LightMyRequestResponse> =>
        app.inject({
          method: 'POST',
          url: '/login',
          remoteAddress: `198.51.100.${i}`,
          payload: { username: name, password: 'guess' }
        })
      for (const name of ['bob', 'nobody of that name']) {
        const statuses: number[] = []
        for (let i = 0; i < 52; i++)
          statuses.push((await from(i % 2 === 0 ? one : other, i, name)).statusCode)
        t.same(
          statuses,
          [...Array.from({ length: 50 }, () => 401), 429, 429],
          `fifty for ${name}, from anywhere`
        )
      }
    })
  })

t.test('a store holds no cookie and no session id', { skip }, async (t) => {
  const server = await redis(t)
  const app = await gateway(t, config({ redis: server.url, prefix: 'mine:', timeout: '10s' }))
  const cookie = cookieOf(await logIn(app))
  const id = decodeURIComponent(cookie).split('=')[1]?.split('.')[0] ?? ''
  const keys = cli(server.port, 'keys', '*').trim().split('\n')
  const values = keys
    .filter((key) => key.startsWith('mine:session:'))
    .map((key) => cli(server.port, 'get', key))
    .join()
  t.match(values, '"user":"ada"')
  t.ok(keys.every((key) => key.startsWith('mine:')))
  t.notMatch(keys.join() + values, id)
})

t.test('sessions in a store end after their idle and absolute timeouts', { skip }, async (t) => {
  const server = await redis(t)
  const app = await gateway(t, config({ redis: server.url, timeout: '10s' }, { idle: '10m', absolute: '1h' }))
  const cookie = cookieOf(await logIn(app))
  const key = cli(server.port, 'keys', 'sallyport:session:*').trim()
  const left = (): number => Number(cli(server.port, 'pttl', key))
  t.ok(left() > 590_000 && left() <= 600_000, 'the idle time')
  cli(server.port, 'pexpire', key, '570000')
  t.equal(await status(app, cookie), 200)
  t.ok(left() <= 570_000, 'a touch within a tenth of it writes nothing')
  cli(server.port, 'pexpire', key, '500000')
  t.equal(await status(app, cookie), 200)
  t.ok(left() > 590_000, 'a later one does')
  const kept = JSON.parse(cli(server.port, 'get', key)) as { created: number }
  const aged = (ms: number): string =>
    cli(server.port, 'set', key, JSON.stringify({ ...kept, created: Date.now() - ms }), 'PX', '600000')
  aged(3_300_000)
  t.equal(await status(app, cookie), 200)
  t.ok(left() <= 300_000, 'never longer than it may last at most')
  aged(3_600_001)
  t.equal(await status(app, cookie), 401)
  cli(server.port, 'flushall')
  t.equal(await status(app, cookie), 401)
})

t.test(
  'while the store is unavailable no session is accepted, and afterwards all are again',
  { skip },
  async (t) => {
    const server = await redis(t)
    const app = await gateway(t, config({ redis: server.url, timeout: '2s' }))
    const cookie = cookieOf(await logIn(app))
    server.hang()
    const refused = await app.inject({ url: '/private', headers: { cookie } })
    t.equal(refused.statusCode, 401)
    t.equal(refused.headers['www-authenticate'], 'Session')
    const login = await logIn(app)
    t.equal(login.statusCode, 503)
    t.match(login.json(), { code: 'SP_ERR_STORE_UNAVAILABLE' })
    t.notOk(login.headers['set-cookie'])
    t.equal((await app.inject({ url: '/session', headers: { cookie } })).statusCode, 401)
    server.go()
    await until(() => app.store.shared?.up === true)
    t.equal(await status(app, cookie), 200)
  }
)

t.test(
  'a log-out while the store is unavailable is 503, and takes effect when the store is back',
  { skip },
  async (t) => {
    const cases = [
      { name: 'of one session', payload: {}, others: 200 },
      { name: 'everywhere', payload: { everywhere: true }, others: 401 }
    ]
    for (const { name, payload, others } of cases)
      t.test(name, async (t) => {
        const server = await redis(t)
        const app = await gateway(t, config({ redis: server.url, timeout: '2s' }))
        const [own, other, bobs] = [
          cookieOf(await logIn(app)),
          cookieOf(await logIn(app)),
          cookieOf(await logIn(app, 'bob', 'builder'))
        ]
        server.hang()
        const refused = await logOut(app, own, payload)
        t.equal(refused.statusCode, 503)
        t.match(refused.json(), { code: 'SP_ERR_AUTH_LOGOUT_DELAYED' })
        t.match(refused.headers['set-cookie'], /^sid=;/, 'the browser forgets it at once')
        t.equal((await logOut(app, 'sid=forged.forged', payload)).statusCode, 401)
        server.go()
        await until(() => app.store.shared?.up === true)
        t.equal(await status(app, own), 401)
        await until(
          () =>
            cli(server.port, 'keys', 'sallyport:session:*').trim().split('\n').length ===
            (others === 200 ? 2 : 1)
        )
        t.equal(await status(app, other), others)
        t.equal(await status(app, bobs), 200)
        t.equal(await status(app, cookieOf(await logIn(app))), 200, 'a later log-in stays')
      })
  }
)
