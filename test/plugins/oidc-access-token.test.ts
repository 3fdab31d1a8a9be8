import t from 'tap'
import { Keep, loadConfig } from '../../src/index.ts'
import {
  ask,
  clock,
  echo,
  type Listening,
  listening,
  readableLog,
  type Scope,
  SECRET,
  type Seen,
  upstream,
  workersTogether
} from '../helpers.ts'
import { provider, type RealProvider, Visitor } from '../provider.ts'

t.setTimeout(180_000)

const routes = (url: string): object[] => [
  { path: '/app/*', proxy: { upstream: url } },
  { path: '/plain/*', auth: { passOn: [] }, proxy: { upstream: url } },
  { path: '/optional/*', auth: { optional: true }, proxy: { upstream: url } }
]

interface Stage {
  readonly real: RealProvider
  readonly auth: object
  readonly echoing: string
}

/** A real provider, and the options of a gateway that passes its access tokens on. */
async function stage(t: Scope, { refreshes = true } = {}): Promise<Stage> {
  const real = await provider(t, {
    configuration: refreshes ? {} : { issueRefreshToken: async () => false }
  })
  const auth = {
    session: true,
    oidc: {
      issuer: real.issuer,
      clientId: 'gateway',
      clientSecret: 'a secret of the client',
      scopes: ['openid', 'email', 'profile', 'offline_access'],
      params: { prompt: 'consent' }
    },
    passOn: ['oidc']
  }
  return { real, auth, echoing: await upstream(t, echo) }
}

/** Asks with the cookies of a visitor and returns the Authorization that the upstream got. */
async function authorizationAt(
  visitor: Visitor,
  url: string,
  headers: Record<string, string> = {}
): Promise<string | undefined> {
  const { status, text } = await ask(url, { headers: { cookie: visitor.cookiesFor(url), ...headers } })
  if (status !== 200) return `status ${status}`
  return (JSON.parse(text) as Seen).headers['authorization']
}

t.test('sends the access token of a session to the upstream, in place of what a client sends', async (t) => {
  const { real, auth, echoing } = await stage(t)
  const { log, lines } = readableLog('trace')
  const { url } = await listening(
    t,
    {
      auth: { ...auth, users: { list: [{ name: 'bob', secret: 'builder' }] } },
      routes: routes(echoing)
    } as never,
    { log }
  )
  real.know(url)
  const ada = new Visitor()
  await ada.logInAs('ada', `${url}/login?with=provider&return_to=/app/`)
  const sent = await authorizationAt(ada, `${url}/app/a`)
  t.match(sent, /^Bearer [\w-]{20,}$/)
  const { status, text } = await ask(`${real.issuer}/me`, { headers: { authorization: String(sent) } })
  t.equal(status, 200)
  t.equal((JSON.parse(text) as { sub: string }).sub, 'ada', 'the provider knows it as that of the user')
  const forged = { authorization: 'Bearer forged' }
  t.equal(await authorizationAt(ada, `${url}/app/a`, forged), sent)
  t.equal(await authorizationAt(ada, `${url}/plain/a`), undefined, 'not on other routes')
  const anonymous = await authorizationAt(new Visitor(), `${url}/optional/a`)
  t.equal(anonymous, undefined, 'nobody has one')
  const local = new Visitor()
  await local.open(`${url}/login`, { form: { username: 'bob', password: 'builder' }, stop: () => true })
  t.equal(await authorizationAt(local, `${url}/app/a`, forged), undefined, 'a local user has none')
  const token = String(sent).slice('Bearer '.length)
  t.notOk(JSON.stringify(lines).includes(token), 'it is in no log')
  const who = await ask(`${url}/session`, { headers: { cookie: ada.cookiesFor(url) } })
  t.notOk(who.text.includes(token), 'nor told to the browser')
})

t.test('renews it in time, once for all requests and workers', async (t) => {
  const { real, auth, echoing } = await stage(t)
  const advance = clock(t)
  const gateways: Listening[] = []
  for (const peers of workersTogether(2))
    gateways.push(await listening(t, { auth, routes: routes(echoing) } as never, { keep: new Keep(peers) }))
  const [one, two] = gateways as [Listening, Listening]
  real.know(one.url, two.url)
  const ada = new Visitor()
  await ada.logInAs('ada', `${one.url}/app/`)
  const cookie = ada.cookiesFor(one.url)
  const get = (url: string) => authorizationAt(new Visitor(), `${url}/app/a`, { cookie })
  const first = await get(one.url)
  t.equal(await get(two.url), first, 'the other worker has it as well')
  advance(46)
  const before = real.asked.filter((each) => each === 'POST /token').length
  const renewed = await Promise.all([one, two, one, two, one, two].map(({ url }) => get(url)))
  t.match(renewed[0], /^Bearer /)
  t.not(renewed[0], first, 'before the old one has expired')
  t.equal(new Set(renewed).size, 1, 'one for all')
  t.equal(real.asked.filter((each) => each === 'POST /token').length - before, 1)
})

t.test('no expired token is sent', async (t) => {
  t.test('503 while the provider does not renew it', async (t) => {
    const { real, auth, echoing } = await stage(t)
    const advance = clock(t)
    const { url } = await listening(t, { auth, routes: routes(echoing) } as never)
    real.know(url)
    const ada = new Visitor()
    await ada.logInAs('ada', `${url}/app/`)
    real.answerFirst((request, response) => {
      if (request.url !== '/token') return false
      response.writeHead(503).end()
      return true
    })
    advance(46)
    t.match(await authorizationAt(ada, `${url}/app/a`), /^Bearer /, 'it is still valid')
    advance(20)
    t.equal(await authorizationAt(ada, `${url}/app/a`), 'status 503')
    t.equal(await authorizationAt(ada, `${url}/plain/a`), undefined, 'the session goes on')
  })
  t.test('a new log-in where it can not be renewed', async (t) => {
    const { real, auth, echoing } = await stage(t, { refreshes: false })
    const advance = clock(t)
    const { url } = await listening(t, { auth, routes: routes(echoing) } as never)
    real.know(url)
    const ada = new Visitor()
    await ada.logInAs('ada', `${url}/app/`)
    t.match(await authorizationAt(ada, `${url}/app/a`), /^Bearer /)
    advance(61)
    t.equal(await authorizationAt(ada, `${url}/app/a`), 'status 401')
    t.equal(await authorizationAt(ada, `${url}/plain/a`), undefined)
  })
})

t.test('a session of before the reload that passes tokens on gets one', async (t) => {
  const { real, auth, echoing } = await stage(t)
  const keep = new Keep()
  const before = await listening(
    t,
    { auth: { ...auth, passOn: [] }, routes: routes(echoing).slice(0, 1) } as never,
    { keep }
  )
  const after = await listening(t, { auth, routes: routes(echoing) } as never, { keep })
  real.know(before.url, after.url)
  const ada = new Visitor()
  await ada.logInAs('ada', `${before.url}/app/`)
  const cookie = ada.cookiesFor(before.url)
  t.match(await authorizationAt(new Visitor(), `${after.url}/app/a`, { cookie }), /^Bearer /)
})

t.test('"oidc" needs a provider', async (t) => {
  const auth = { session: true, users: { list: [{ name: 'bob', secret: 'builder' }] }, passOn: ['oidc'] }
  await t.rejects(
    loadConfig({ auth, routes: [{ path: '/a', respond: {} }] } as never, { SESSION_SECRET: SECRET }),
    { message: /auth\.passOn\[0\]: expected "oidc" beside "passOn": \["oidc"\], got none/ }
  )
})
