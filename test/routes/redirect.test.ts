import t from 'tap'
import { ConfigError, loadConfig } from '../../src/index.ts'
import { gateway } from '../helpers.ts'

const body = (text: string): object => ({ respond: { body: text } })
const to = (address: string): object => ({ redirect: { to: address } })

t.test('does not match the path with a slash if the redirect adds it', async (t) => {
  const cases: { name: string; routes: object[]; host?: string; from: string; at: string; asks: string }[] = [
    {
      name: 'a path',
      routes: [
        { path: '/app', ...to('/app/') },
        { path: '/app/*', ...body('in') }
      ],
      from: '/app?x=1',
      at: '/app/?x=1',
      asks: '/app/'
    },
    {
      name: 'the wildcard first, and a catch-all',
      routes: [
        { path: '/*', ...body('all') },
        { path: '/app/*', ...body('in') },
        { path: '/app', ...to('/app/#top') }
      ],
      from: '/app',
      at: '/app/#top',
      asks: '/app/'
    },
    {
      name: 'no more than a catch-all',
      routes: [
        { path: '/*', ...body('in') },
        { path: '/app', ...to('/app/') }
      ],
      from: '/app',
      at: '/app/',
      asks: '/app/'
    },
    {
      name: 'in a group',
      routes: [
        {
          path: '/g',
          routes: [
            { path: '/app', ...to('/g/app/') },
            { path: '/app/*', ...body('in') }
          ]
        }
      ],
      from: '/g/app',
      at: '/g/app/',
      asks: '/g/app/'
    },
    {
      name: 'a parameter',
      routes: [
        { path: '/u/:id', ...to('/u/{params.id}/') },
        { path: '/u/:id/*', ...body('in') }
      ],
      from: '/u/7',
      at: '/u/7/',
      asks: '/u/7/'
    },
    {
      name: 'several paths',
      routes: [
        { path: ['/app', '/old'], ...to('/app/') },
        { path: '/app/*', ...body('in') }
      ],
      from: '/old/',
      at: '/app/',
      asks: '/app/'
    },
    {
      name: 'one method alone',
      routes: [
        { path: '/app', methods: ['GET'], ...to('/app/') },
        { path: '/app/*', ...body('in') }
      ],
      from: '/app',
      at: '/app/',
      asks: '/app/'
    },
    {
      name: "the route's own host",
      routes: [
        { host: 'a.test', path: '/app', ...to('https://a.test/app/') },
        { host: 'a.test', path: '/app/*', ...body('in') }
      ],
      host: 'a.test',
      from: '/app',
      at: 'https://a.test/app/',
      asks: '/app/'
    },
    {
      name: 'the host of the request',
      routes: [
        { path: '/app', ...to('https://{host}/app/') },
        { path: '/app/*', ...body('in') }
      ],
      host: 'b.test',
      from: '/app',
      at: 'https://b.test/app/',
      asks: '/app/'
    }
  ]
  for (const { name, routes, host = 'c.test', from, at, asks } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, { routes })
      const headers = { host }
      const sent = await app.inject({ url: from, headers })
      t.equal(sent.statusCode, 308)
      t.equal(sent.headers.location, at)
      const got = await app.inject({ url: asks, headers })
      t.equal(got.statusCode, 200)
      t.equal(got.body, 'in')
    })

  t.test('is a 404 if no other route matches', async (t) => {
    const app = await gateway(t, { routes: [{ path: '/app', ...to('/app/') }] })
    t.equal((await app.inject('/app/')).statusCode, 404)
  })

  t.test('matches with a slash for any other redirect', async (t) => {
    const app = await gateway(t, {
      routes: [
        { path: '/a', ...to('/b/') },
        { path: '/c', ...to('https://elsewhere.test/c/') },
        { path: '/d/', ...to('/d') },
        { path: '/d', ...body('d') }
      ]
    })
    t.equal((await app.inject('/a/')).headers.location, '/b/')
    t.equal((await app.inject('/c/')).headers.location, 'https://elsewhere.test/c/')
    t.equal((await app.inject('/d/')).headers.location, '/d')
    t.equal((await app.inject('/d')).body, 'd')
  })
})

t.test('rejects a redirect to itself', async (t) => {
  const loops: { route: object; itself: string; root?: object }[] = [
    { route: { path: '/a', ...to('/a') }, itself: '/a' },
    { route: { path: '/a', ...to('/a?x=1') }, itself: '/a' },
    { route: { path: '/a/', ...to('/a/') }, itself: '/a/' },
    { route: { path: '/a/*', ...to('/a') }, itself: '/a/*' },
    { route: { path: '/a/*', ...to('/a/#x') }, itself: '/a/*' },
    { route: { path: '/*', ...to('/') }, itself: '/*' },
    { route: { path: '/%7Ea', ...to('/~a') }, itself: '/%7Ea' },
    { route: { path: ['/b', '/a'], ...to('/a') }, itself: '/a' },
    { route: { path: '/u/:id(\\d+)', ...to('/u/{params.id}') }, itself: '/u/:id(\\d+)' },
    { route: { path: '/*', ...to('http://{host}/') }, itself: '/*' },
    { route: { host: 'a.test', path: '/*', ...to('http://A.test') }, itself: '/*' },
    { route: { path: '/a', ...to('https://a.test/a') }, itself: '/a', root: { publicUrl: 'https://a.test' } },
    { route: { path: '/A', ...to('/a') }, itself: '/A', root: { paths: { ignoreCase: true } } }
  ]
  for (const { route, itself, root } of loops)
    try {
      await loadConfig({ ...root, routes: [route] }, {})
      t.fail(`${itself} passes`)
    } catch (error) {
      t.ok(error instanceof ConfigError)
      t.match(String(error), `routes[0].redirect.to: expected another address than the route's own, got "`)
      t.match(String(error), `"${itself}" would redirect to itself`)
    }
  const sound: object[] = [
    { path: '/*', ...to('https://{host}/') },
    { path: '/*', ...to('https://a.test/') },
    { host: 'www.a.test', path: '/*', ...to('https://a.test/') },
    { host: 'a.test', path: '/*', ...to('https://a.test/') },
    { host: 'a.test', path: '/*', ...to('http://a.test:8080/') },
    { path: '/a/*', ...to('/b/') },
    { path: '/a', ...to('/a/') },
    { path: '/u/:id', ...to('/u/{query.id}') }
  ]
  for (const route of sound) await t.resolves(loadConfig({ routes: [route] }, {}), JSON.stringify(route))
})
