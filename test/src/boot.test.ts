import { writeFileSync } from 'node:fs'
import { METHODS } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { gateway } from '../helpers.ts'

/** Counts what Fastify loaded to make a gateway of so many routes. */
async function pluginsOf(t: Test, count: number): Promise<number> {
  const targets = [{ proxy: { upstream: 'http://127.0.0.1:1' } }, { respond: { body: 'x' } }]
  const routes = Array.from({ length: count }, (_, i) => ({ path: `/r${i}/*`, ...targets[i % 2] }))
  const app = await gateway(t, { routes })
  return app.printPlugins().split('\n').length
}

t.test('registers no Fastify plugin per route, since plugins wait for each other', async (t) => {
  t.equal(await pluginsOf(t, 60), await pluginsOf(t, 20))
})

const exact = [
  { path: '/things', methods: ['GET'], respond: { body: 'read' } },
  { path: '/things', methods: ['PUT', 'DELETE'], respond: { body: 'written' } },
  { path: '/*', respond: { body: 'any' } }
]

t.test('stores a route once in the router, even if methods differ on other paths', async (t) => {
  const app = await gateway(t, { routes: exact })
  t.equal(METHODS.filter((method) => app.hasRoute({ method, url: '/*' })).length, 1)
})

t.test('methods that are selected before the router get their own route, or a 405', async (t) => {
  const cors = { origins: ['https://app.example.com'] }
  const [read, ...others] = exact
  const app = await gateway(t, {
    paths: { ignoreCase: true },
    routes: [
      { ...read, cors },
      ...others,
      { path: '/things', host: 'b.example', respond: { body: 'elsewhere' } }
    ]
  })
  const preflight = (about: string): Record<string, string> => ({
    origin: 'https://app.example.com',
    'access-control-request-method': about
  })
  for (const url of ['/things', '/things/', '/things?a=b', '/Things/', '/thin%67s']) {
    const ask = async (method: 'GET', headers: Record<string, string> = {}): Promise<[number, string]> => {
      const { statusCode, body, headers: said } = await app.inject({ method, url, headers })
      return [statusCode, statusCode < 400 ? body : String(said.allow)]
    }
    const as = (method: string): 'GET' => method as 'GET'
    t.strictSame(await ask('GET'), [200, 'read'], url)
    t.strictSame(await ask(as('HEAD')), [200, ''], url)
    t.strictSame(await ask(as('PUT')), [200, 'written'], url)
    t.strictSame(await ask(as('DELETE')), [200, 'written'], url)
    t.strictSame(await ask(as('POST')), [405, 'DELETE, GET, HEAD, PUT'], url)
    t.strictSame(await ask(as('PROPFIND')), [405, 'DELETE, GET, HEAD, PUT'], url)
    t.strictSame(await ask(as('OPTIONS'), preflight('GET')), [204, ''], url)
    t.strictSame(await ask(as('OPTIONS'), preflight('PUT')), [405, 'DELETE, GET, HEAD, PUT'], url)
    t.strictSame(await ask('GET', { host: 'b.example' }), [200, 'elsewhere'], url)
  }
})

t.test('reports what cannot be set up with its place in the config', async (t) => {
  const skip = 'Symbol.for("skip-override")'
  const folder = t.testdir({
    'concern.js': `export const key = 'boom'; export const options = { type: 'object' }
export default async function boom() { throw new Error('out of order') }`,
    'route.js': `export const key = 'boom'; export const options = { type: 'object' }
export default async function boom(app) {
  app.addHook('onRoute', function visit({ url }) { if (url.startsWith('/b')) throw new Error('out of order') })
}
boom[${skip}] = true`,
    'target.js': `export const key = 'boom'; export const target = true; export const options = { type: 'object' }
export default async function boom() { throw new Error('out of order') }`,
    'ready.js': `export const key = 'boom'; export const options = { type: 'object' }
export default async function boom(app) { app.addHook('onReady', async () => { throw new Error('out of order') }) }
boom[${skip}] = true`
  })
  const text = (module: string, route: string): string => `{
  "extensions": [{ "module": "./${module}.js" }],
  ${module === 'target' ? '' : '"boom": {},'}
  "routes": [
    { "path": "/a", "respond": {} },
    ${route}
  ]
}`
  const plain = '{ "path": "/b", "respond": {} }'
  for (const [module, route, told] of [
    ['concern', plain, /gateway\.json:3:3 "boom" can't be set up: out of order$/],
    ['route', plain, /gateway\.json:6:5 The route \/b can't be set up: out of order$/],
    ['target', '{ "path": "/b", "boom": {} }', /gateway\.json:6:21 "boom" can't be set up: out of order$/],
    ['ready', plain, /gateway\.json:1:1 The gateway can't be built: out of order$/]
  ] as const) {
    writeFileSync(join(folder, 'gateway.json'), text(module, route))
    await t.rejects(
      gateway(t, join(folder, 'gateway.json')),
      { message: told, code: 'SP_ERR_CONFIG' },
      module
    )
  }
})
