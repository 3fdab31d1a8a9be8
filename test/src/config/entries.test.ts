// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import { relative } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../../src/index.ts'
import { ask, listening, type Seen, upstream } from '../../helpers.ts'
import { checkFaults, type Files, type InvalidConfig, nestedFiles } from './helpers.ts'

const withInclude = (json: string, entry = ''): Files => ({
  'gateway.json': `{ "upstreams": { "users": { "url": "http://h" } }, "routes": [\n  { "path": "/shop", ${entry}"include": "teams/shop.json" } ] }`,
  'teams/shop.json': json
})

t.test('an included file', async (t) => {
  const cases: InvalidConfig[] = [
    {
      name: 'is missing',
      config: '{ "routes": [\n  { "path": "/s", "include": "nope.json" } ] }',
      faults: [
        /^gateway\.json:2:19 routes\[0\]\.include: There is no file nope\.json, which gateway\.json includes$/
      ]
    },
    {
      name: 'is empty',
      config: withInclude(''),
      faults: [/^gateway\.json:2:22 routes\[0\]\.include: "teams\/shop\.json": The file is empty/]
    },
    {
      name: 'is broken',
      config: withInclude('{\n  "routes": [ } ] }'),
      faults: [/^teams\/shop\.json:2:15 This is not JSON/]
    },
    {
      name: 'is not a group',
      config: withInclude('[]'),
      faults: ['teams/shop.json:1:1 expected a group: an object with "routes", got []']
    },
    {
      name: 'has an unknown option',
      config: withInclude('{\n  "rateLimt": {}, "routes": [] }'),
      faults: ['teams/shop.json:2:3 rateLimt: Unknown option "rateLimt"; did you mean "rateLimit"?']
    },
    {
      name: 'includes itself',
      config: withInclude('{ "routes": [ { "path": "/x", "include": "shop.json" } ] }'),
      faults: [
        /^teams\/shop\.json:1:31 routes\[0\]\.include: "shop\.json" includes itself by way of 2 files$/
      ]
    },
    {
      name: 'includes the one that includes it',
      config: withInclude('{ "routes": [ { "path": "/x", "include": "../gateway.json" } ] }'),
      faults: [
        /^teams\/shop\.json:1:31 routes\[0\]\.include: "\.\.\/gateway\.json" includes itself by way of 2 files$/
      ]
    },
    {
      name: 'has options that only the root may have',
      config: withInclude(
        `{ ${['extensions', 'publicUrl', 'trustedProxies', 'store', 'tls', 'session', 'metrics', 'tracing'].map((key) => `\n"${key}": {}`).join()}, "routes": [] }`
      ),
      faults: [
        'extensions',
        'publicUrl',
        'trustedProxies',
        'store',
        'tls',
        'session',
        'metrics',
        'tracing'
      ].map(
        (key, i) =>
          `teams/shop.json:${i + 2}:1 ${key}: "${key}" belongs at the root of the main file; an included file is a group`
      )
    },
    {
      name: 'has hosts outside of its group',
      config: withInclude(
        '{ "host": "b.c",\n "routes": [ { "path": "/x", "host": "c.d", "respond": {} } ] }',
        '"host": "a.b", '
      ),
      faults: [
        'teams/shop.json:1:3 host: expected a host within the group\'s a.b, got "b.c"',
        /^teams\/shop\.json:2:30 routes\[0\]\.host: expected a host within the group's b\.c, got "c\.d"/
      ]
    },
    {
      name: 'has a host with more labels than the wildcard of its group',
      config: withInclude(
        '{ "routes": [ { "path": "/x", "host": ["x.b", "x.y.b"], "respond": {} } ] }',
        '"host": "*.b", '
      ),
      faults: [
        /^teams\/shop\.json:1:31 routes\[0\]\.host: expected a host within the group's \*\.b, got "x\.y\.b"/
      ]
    },
    {
      name: 'uses the name of another upstream',
      config: withInclude('{ "upstreams": { "users": { "url": "http://x" } }, "routes": [] }'),
      faults: [
        /^teams\/shop\.json:1:18 upstreams\.users: expected a name that is unique in the gateway, got "users" again/
      ]
    },
    {
      name: 'stands beside routes',
      config: {
        ...withInclude('{ "routes": [] }'),
        'gateway.json': '{ "routes": [ { "path": "/s", "include": "teams/shop.json", "routes": [] } ] }'
      },
      faults: ['gateway.json:1:31 routes[0].include: expected either "routes" or "include", got both']
    }
  ]
  for (const each of cases) checkFaults(t, { ...each, name: `is refused when it ${each.name}` })

  t.test('is a group with a path, options and upstreams, with file paths relative to itself', async (t) => {
    const url = await upstream(t)
    const folder = t.testdir(
      nestedFiles({
        'gateway.json': `{
          "rateLimit": { "max": 9, "window": "1h" },
          "routes": [ { "path": "/shop", "rateLimit": { "max": 7 }, "include": "teams/shop.yaml" }, { "path": "/too", "include": "teams/shop.yaml" } ]
        }`,
        'teams/shop.yaml': `
path: /v1
upstreams: { stock: { url: "${url}" } }
rateLimit: { window: 10s }
routes:
  - { path: /stock/*, proxy: { upstream: stock } }
  - { path: /deep, include: deeper/deep.json }`,
        'teams/deeper/deep.json':
          '{ "routes": [ { "path": "/hi", "respond": { "body": "${file:hi.txt}" } } ] }',
        'teams/deeper/hi.txt': 'from afar\n'
      })
    )
    const { url: own } = await listening(t, `${folder}/gateway.json`)
    const stock = await ask(`${own}/shop/v1/stock/1`)
    t.equal((JSON.parse(stock.text) as Seen).url, '/shop/v1/stock/1')
    t.equal(stock.headers.get('ratelimit-policy'), '"default";q=7;w=10')
    t.equal((await ask(`${own}/too/v1/stock/1`)).headers.get('ratelimit-policy'), '"default";q=9;w=10')
    t.equal((await ask(`${own}/shop/v1/deep/hi`)).text, 'from afar')
    t.equal((await ask(`${own}/stock/1`)).status, 404, 'a file cannot serve paths outside of its group')
    const { files } = await loadConfig(`${folder}/gateway.json`)
    t.strictSame(
      [...new Set(files)].map((file) => relative(folder, file)).toSorted(),
      ['gateway.json', 'teams/deeper/deep.json', 'teams/deeper/hi.txt', 'teams/shop.yaml'],
      'watches all of them'
    )
  })
})
