import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ConfigError, loadConfig } from '../../../src/index.ts'
import { audit, codesOf } from '../../audit.ts'

const PUBLIC = 'SP_WARN_PUBLIC_BESIDE_PROTECTED'
const AUDIENCE = 'SP_WARN_AUTH_AUDIENCE'
const UNUSED = 'SP_WARN_ACCEPTANCE_UNUSED'
const REASON = 'on purpose'

const jwt = { issuer: 'https://id.example.com', jwks: 'https://id.example.com/jwks' }
const proxy = { upstream: 'http://127.0.0.1:9' }
const ok = (code: string): object => ({ 'x-ok': { [code]: REASON } })

t.test('accepts a warning at its place and outside of it, and nowhere else', async (t) => {
  const open = { path: '/open/*', proxy }
  const closed = { path: '/closed/*', auth: true, proxy }
  const auth = { global: false, jwt: { ...jwt, audience: 'us' } }
  const cases: [name: string, config: object, left: string[]][] = [
    ['nowhere', { auth, routes: [closed, open] }, [PUBLIC]],
    ['on the route', { auth, routes: [closed, { ...open, ...ok(PUBLIC) }] }, []],
    ['at the root', { ...ok(PUBLIC), auth, routes: [closed, open] }, []],
    ['on its group', { auth, routes: [closed, { ...ok(PUBLIC), routes: [open] }] }, []],
    ['on another group', { auth, routes: [{ ...ok(PUBLIC), routes: [closed] }, open] }, [UNUSED, PUBLIC]],
    ['under another code', { auth, routes: [closed, { ...open, ...ok(AUDIENCE) }] }, [UNUSED, PUBLIC]]
  ]
  for (const [name, config, left] of cases) {
    const found = await audit(config)
    t.strictSame(codesOf(found), left, name)
    t.match(found.accepted, left.includes(PUBLIC) ? [] : [{ code: PUBLIC, reason: REASON }], name)
  }
})

t.test(
  'accepts a warning about an option where the option is, and on each route that inherits it',
  async (t) => {
    const routes = (inA: object, inB: object): object[] => [
      { path: '/a', respond: {}, ...inA },
      { path: '/b', respond: {}, ...inB }
    ]
    const at = async (auth: object, ...[inA = {}, inB = {}]: object[]): Promise<string[]> =>
      (await audit({ auth, routes: routes(inA, inB) })).warnings.map(({ message }) => message)
    t.match(await at({ jwt }), [/^Each of the routes \/a, \/b accepts tokens/])
    t.strictSame(await at({ jwt: { ...jwt, ...ok(AUDIENCE) } }), [], 'beside the option')
    t.strictSame(await at({ jwt, ...ok(AUDIENCE) }), [], 'on the options of the concern')
    t.match(await at({ jwt }, ok(AUDIENCE)), [/^The route \/b accepts tokens/], 'on one route')
    t.strictSame(await at({ jwt }, ok(AUDIENCE), ok(AUDIENCE)), [], 'on all routes')
  }
)

t.test('tells a warning once, with all its places', async (t) => {
  const folder = t.testdir({
    'gateway.json': `{ "auth": { "global": false, "jwt": ${JSON.stringify({ ...jwt, audience: 'us' })} },
  "routes": [
    { "path": "/closed", "auth": true, "respond": {} },
    { "path": "/a", "proxy": { "upstream": "http://127.0.0.1:9" } },
    { "path": "/b", "proxy": { "upstream": "http://127.0.0.1:9" } }
  ] }`
  })
  const { warnings } = await audit(join(folder, 'gateway.json'))
  t.match(warnings, [
    { code: PUBLIC, severity: 'medium', line: 4, column: 5, places: [{ line: 4 }, { line: 5 }] }
  ])
})

t.test('accepts warnings of an included file in the file, and where it is included', async (t) => {
  const inner = (more: object): string =>
    JSON.stringify({ ...more, auth: false, routes: [{ path: '/a', respond: {} }] })
  const outer = (more: object): string =>
    JSON.stringify({ auth: { jwt: { ...jwt, audience: 'us' } }, routes: [{ include: 'team.json', ...more }] })
  const off = 'SP_WARN_INCLUDE_GATE_OFF'
  const cases: [name: string, inFile: object, onEntry: object, left: string[]][] = [
    ['nowhere', {}, {}, [off]],
    ['in the file', ok(off), {}, []],
    ['on the entry', {}, ok(off), []]
  ]
  for (const [name, inFile, onEntry, left] of cases) {
    const folder = t.testdir({ 'gateway.json': outer(onEntry), 'team.json': inner(inFile) })
    t.strictSame(codesOf(await audit(join(folder, 'gateway.json'))), left, name)
  }
  const twice = t.testdir({ 'team.json': inner(ok(off)) })
  writeFileSync(
    join(twice, 'gateway.json'),
    JSON.stringify({
      auth: { jwt: { ...jwt, audience: 'us' } },
      routes: [
        { path: '/one', include: 'team.json' },
        { path: '/two', include: 'team.json' }
      ]
    })
  )
  t.strictSame(codesOf(await audit(join(twice, 'gateway.json'))), [], 'in a file that is included twice')
})

t.test(
  'warns of an acceptance that no longer applies, unless its entry is off or the warning depends on the machine',
  async (t) => {
    const route = { path: '/a', respond: {} }
    const cases: [name: string, config: object, left: string[]][] = [
      ['a warning that is gone', { routes: [{ ...route, ...ok(PUBLIC) }] }, [UNUSED]],
      ['a code that never was', { routes: [{ ...route, ...ok('SP_WARN_TYPO') }] }, [UNUSED]],
      [
        'an entry that is off',
        { routes: [route, { path: '/b', respond: {}, enabled: false, ...ok(PUBLIC) }] },
        []
      ],
      ['in a group that is off', { routes: [{ enabled: false, routes: [{ ...route, ...ok(PUBLIC) }] }] }, []],
      ['a warning about workers', { ...ok('SP_WARN_STORE_WORKERS'), routes: [route] }, []],
      ['an accepted acceptance', { ...ok(UNUSED), routes: [{ ...route, ...ok(PUBLIC) }] }, []]
    ]
    for (const [name, config, left] of cases) {
      const found = await audit(config)
      t.strictSame(codesOf(found), left, name)
      if (left.length > 0) t.match(found.warnings[0]?.message, /no SP_WARN_\w+ here any more/, name)
    }
  }
)

t.test('refuses acceptances without a reason, with the form that works', async (t) => {
  const cases: [name: string, value: unknown, path: string, message: RegExp][] = [
    ['a list of codes', [PUBLIC], 'routes[0].x-ok', /expected an object with codes and reasons, .*got \[/],
    ['true', true, 'routes[0].x-ok', /expected an object with codes and reasons/],
    ['an empty reason', { [PUBLIC]: ' ' }, `routes[0].x-ok.${PUBLIC}`, /expected the reason/],
    ['true as a reason', { [PUBLIC]: true }, `routes[0].x-ok.${PUBLIC}`, /expected the reason/],
    [
      'what is no code',
      { publicRoute: REASON },
      'routes[0].x-ok.publicRoute',
      /expected the code of a warning/
    ]
  ]
  for (const [name, value, path, message] of cases) {
    const error = await loadConfig({ routes: [{ path: '/a', respond: {}, 'x-ok': value }] }, {}).catch(
      (error: unknown) => error
    )
    t.ok(error instanceof ConfigError, name)
    t.match((error as ConfigError).faults, [{ path, message }], name)
  }
})

t.test('reads no acceptance in data of the user', async (t) => {
  const config = {
    'x-team': { 'x-ok': ['no acceptance'] },
    upstreams: { 'x-ok': { url: 'http://127.0.0.1:9' } },
    routes: [
      {
        path: '/a',
        proxy: { upstream: 'x-ok' },
        validate: { body: { type: 'object', properties: { 'x-ok': { type: 'array' } } } }
      }
    ]
  }
  t.strictSame(codesOf(await audit(config)), [])
})

t.test(
  'takes a text of an extension as a warning with the code of its key, and defined ones by theirs',
  async (t) => {
    const folder = t.testdir({
      'tea-pot.js': `
export const key = 'teaPot'
export const options = { type: 'object', properties: { size: { type: 'number', default: 1, description: 'x' } }, additionalProperties: false, description: 'x' }
export const override = options
export const warnings = ({ size }) => [
  'is a teapot',
  ...(size > 1 ? [{ code: 'SP_WARN_TEA_POT_LARGE', severity: 'low', title: 'A large one', message: 'has a large one', path: ['size'] }] : [])
]
export default async () => {}`,
      'gateway.json': `{
  "extensions": [{ "module": "./tea-pot.js" }],
  "routes": [
    { "path": "/a", "teaPot": { "size": 2 }, "respond": {} },
    { "path": "/b", "teaPot": true, "respond": {}, "x-ok": { "SP_WARN_TEA_POT": "on purpose" } }
  ]
}`
    })
    const { warnings, accepted } = await audit(join(folder, 'gateway.json'))
    t.match(warnings, [
      { code: 'SP_WARN_TEA_POT', severity: 'medium', message: 'The route /a is a teapot', line: 4 },
      {
        code: 'SP_WARN_TEA_POT_LARGE',
        severity: 'low',
        message: 'The route /a has a large one',
        path: 'routes[0].teaPot.size'
      }
    ])
    t.match(accepted, [
      { code: 'SP_WARN_TEA_POT', message: 'The route /b is a teapot', reason: 'on purpose' }
    ])
  }
)
