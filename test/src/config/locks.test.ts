import t from 'tap'
import { loadConfig } from '../../../src/index.ts'

const respond = { body: 'a' }
const keys = { apiKeys: { list: [{ id: 'ada', secret: 'a secret key' }] } }

type Options = Record<string, unknown>

/** A group that has locked some concerns, with one route. */
const group = (route: Options, locked = ['auth', 'ipAccess']): Options => ({
  routes: [
    {
      path: '/team',
      auth: {
        ...keys,
        require: { roles: ['staff', 'admin'], scopes: ['read'], claims: { plan: ['gold', 'silver'] } }
      },
      ipAccess: { allow: ['private'] },
      locked,
      routes: [{ path: '/a', respond, ...route }]
    }
  ]
})

t.test('rejects what weakens a locked concern, and only that', async (t) => {
  const cases: [name: string, route: Options, isFine: boolean][] = [
    ['nothing of it', {}, true],
    ['another concern', { cors: { origins: ['https://a.test'] } }, true],
    ['switched off', { auth: false }, false],
    ['switched on again', { auth: true }, false],
    ['another option', { auth: { optional: true } }, false],
    ['report mode', { ipAccess: { mode: 'report' } }, false],
    ['an empty object', { ipAccess: {} }, false],
    ['fewer roles', { auth: { require: { roles: ['admin'] } } }, true],
    ['another role', { auth: { require: { roles: ['staff', 'guest'] } } }, false],
    ['more scopes', { auth: { require: { scopes: ['read', 'write'] } } }, true],
    ['other scopes', { auth: { require: { scopes: ['write'] } } }, false],
    ['no scopes', { auth: { require: { scopes: [] } } }, false],
    ['a claim', { auth: { require: { claims: { tenant: 'a' } } } }, true],
    ['fewer values of a claim', { auth: { require: { claims: { plan: 'gold' } } } }, true],
    ['another value of a claim', { auth: { require: { claims: { plan: ['gold', 'free'] } } } }, false],
    ['require unset', { auth: { require: false } }, false],
    ['require and more', { auth: { require: { roles: ['admin'] }, optional: true } }, false],
    ['in a group inside', { routes: [{ path: '/b', auth: false, respond }], respond: undefined }, false]
  ]
  for (const [name, route, isFine] of cases) {
    const loaded = loadConfig(JSON.parse(JSON.stringify(group(route))), {})
    if (isFine) await t.resolves(loaded, name)
    else await t.rejects(loaded, { message: /"(auth|ipAccess)" is locked by the group at/ }, name)
  }
})

t.test('holds for included files, with both places', async (t) => {
  const folder = t.testdir({
    'gateway.json':
      '{ "routes": [\n{ "path": "/team", "auth": true, "locked": ["auth"],\n"include": "team.json" }],\n"auth": { "global": false, "apiKeys": { "list": [] } } }',
    'team.json':
      '{ "auth": false,\n"routes": [{ "path": "/a",\n"auth": { "optional": true }, "respond": {} }] }'
  })
  const message = await loadConfig(`${folder}/gateway.json`, {}).then(
    () => 'valid',
    (error: Error) => error.message
  )
  t.match(message, /team\.json:1:\d+.*"auth" is locked by the group at \S*gateway\.json:2/)
  t.match(message, /team\.json:3:\d+.*"auth" is locked/)
})

t.test('names a concern that it does not know', async (t) => {
  await t.rejects(loadConfig(group({}, ['auht']) as never, {}), {
    message: /locked.*expected the key of a concern, got "auht"; did you mean "auth"\?/
  })
})

t.test('leaves out entries that are not enabled, and checks them all the same', async (t) => {
  const config = (enabled: unknown): never =>
    ({
      routes: [
        { path: '/a', enabled, respond },
        { path: '/b', enabled: true, respond },
        { path: '/c', enabled, routes: [{ path: '/d', enabled: true, respond }] },
        { path: '/a', enabled: `\${ELSE:-false}`, respond }
      ]
    }) as never
  const pathsOf = async (enabled: unknown, env: Record<string, string> = {}): Promise<string[]> =>
    (await loadConfig(config(enabled), env)).routes.map(({ name }) => name)
  t.strictSame(await pathsOf(false), ['/b'])
  t.strictSame(await pathsOf(`\${X:-true}`), ['/a', '/b', '/c/d'])
  t.strictSame(await pathsOf(`\${X:-true}`, { X: 'false', ELSE: 'true' }), ['/b', '/a'])
  await t.rejects(pathsOf(`\${X}`, { X: 'maybe' }), { message: /enabled/ })
  await t.rejects(
    loadConfig({ routes: [{ path: '/a', enabled: false, rateLimt: {}, respond }] } as never, {}),
    { message: /did you mean "rateLimit"/ }
  )
})
