// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import { writeFileSync } from 'node:fs'
import t from 'tap'
import { loadConfig } from '../../../src/index.ts'
import { gateway } from '../../helpers.ts'
import { faultsOf, rejects } from './helpers.ts'

rejects('rejects a file that is not a config', [
  { name: 'empty', config: '', faults: [/^gateway\.json The file is empty; \{"routes": \[\]\}/] },
  { name: 'blank', config: ' \n\n', faults: [/^gateway\.json The file is empty/] },
  { name: 'comments alone', config: '// soon', faults: [/^gateway\.json:1:8 This is not JSON/] },
  {
    name: 'invalid JSON',
    config: '{\n  "routes": [ } ]\n}',
    faults: ['gateway.json:2:15 This is not JSON: value expected near "}"']
  },
  {
    name: 'text after the JSON',
    config: '{ "routes": [] } also',
    faults: [/^gateway\.json:1:18 This is not JSON: .* near "a"$/]
  },
  { name: 'a list', config: '[]', faults: [/^gateway\.json:1:1 expected an object; /] },
  { name: 'null', config: 'null', faults: [/^gateway\.json:1:1 expected an object; /] },
  { name: 'a string', config: '"routes"', faults: [/^gateway\.json:1:1 expected an object; /] },
  { name: 'without routes', config: '{}', faults: [/^gateway\.json:1:1 The config has no "routes"/] },
  {
    name: 'routes that are not a list',
    config: '{ "routes": {} }',
    faults: ['gateway.json:1:3 routes: expected a list of routes, got {}']
  },
  {
    name: 'a route that is not an object',
    config: '{ "routes": [ "/a" ] }',
    faults: [/^gateway\.json:1:15 routes\[0\]: expected an object with a "path" and a target, got "\/a"$/]
  },
  ...['{ "routes": [ , ] }', '{ "routes": [], , }', '{ "routes": [] }\n/* for', '{ "routes": [ "/a ] }'].map(
    (config) => ({
      name: `nearly JSON: ${config}`,
      config,
      faults: [/^gateway\.json:\d+:\d+ This is not JSON: /]
    })
  ),
  {
    name: 'a key twice, in two spellings and beside comments',
    config: '{ "routes": [], // one\n  "r\\u006futes": [], }',
    faults: ['gateway.json:2:3 routes: expected each key once, got "routes" again; remove one of the two']
  },
  {
    name: 'a key twice',
    config: '{ "routes": [],\n  "routes": [] }',
    faults: ['gateway.json:2:3 routes: expected each key once, got "routes" again; remove one of the two']
  },
  {
    name: 'keys twice, deep inside',
    config: '{ "routes": [ { "path": "/a", "path": "/b", "respond": { "body": 1, "body": 2 } } ] }',
    faults: [
      'gateway.json:1:31 routes[0].path: expected each key once, got "path" again; remove one of the two',
      'gateway.json:1:69 routes[0].respond.body: expected each key once, got "body" again; remove one of the two'
    ]
  },
  {
    name: 'YAML: a key twice',
    config: { 'gateway.yaml': 'routes: []\nroutes: []\n' },
    faults: [/^gateway\.yaml:2:1 This is not YAML: Map keys must be unique$/]
  },
  {
    name: 'YAML: broken',
    config: { 'gateway.yml': 'routes: [\n' },
    faults: [/^gateway\.yml:2:1 This is not YAML: /]
  },
  {
    name: 'YAML: comments alone',
    config: { 'gateway.yml': '# soon\n' },
    faults: [/^gateway\.yml:1:1 expected an object; /]
  },
  {
    name: 'YAML: two documents',
    config: { 'gateway.yml': 'routes: []\n---\nroutes: []\n' },
    faults: [/^gateway\.yml:2:1 This is not YAML: /]
  },
  {
    name: 'YAML: a bomb of aliases',
    config: {
      'gateway.yml': `x-a: &a [${'0,'.repeat(20)}]\nx-b: &b [${'*a,'.repeat(20)}]\nx-c: [${'*b,'.repeat(20)}]\nroutes: []\n`
    },
    faults: [/^gateway\.yml Excessive alias count/]
  },
  {
    name: 'a module without a default export',
    config: { 'gateway.ts': 'export const config = 1' },
    faults: [/^gateway\.ts expected a config as the default export; `export default defineConfig/]
  },
  {
    name: 'a module that throws',
    config: { 'gateway.js': 'throw new Error("no luck")' },
    faults: ['gateway.js:1:7 The module does not load: no luck']
  },
  {
    name: 'a module with an unclosed brace',
    config: { 'gateway.ts': 'export default {' },
    faults: [/^gateway\.ts(:\d+:\d+)? The module does not load: \S+/]
  },
  {
    name: 'a function in the config of a module',
    config: { 'gateway.mjs': 'export default { routes: [{ path: "/a", respond: { body: () => 1 } }] }' },
    faults: [/^gateway\.mjs A config can.t contain functions: /]
  }
])

t.test('rejects a missing file and suggests how to name one', async (t) => {
  const folder = t.testdir({})
  for (const name of ['gateway.json', 'gateway.yaml', 'gateway.ts'])
    await t.rejects(loadConfig(`${folder}/${name}`), {
      name: 'ConfigError',
      message: new RegExp(
        `${name} There is no such file; "sallyport init" writes one, and -c or GATEWAY_CONFIG`
      )
    })
  await t.rejects(loadConfig(folder), { name: 'ConfigError', message: /expected a file, got the folder / })
})

rejects('rejects a file whose content does not match its extension', [
  {
    name: 'a YAML comment in JSON',
    config: '{\n  # a comment\n  "routes": [] }',
    faults: ['gateway.json:2:3 This is not JSON: expected "//" in front of a comment, got "#"']
  },
  {
    name: 'single quotes',
    config: "{ 'routes': [] }",
    faults: [
      /^gateway\.json:1:3 This is not JSON: expected a string in double quotes \("\), got a single quote/
    ]
  },
  {
    name: 'an unsupported extension',
    config: { 'gateway.cjs': 'module.exports = {}' },
    faults: [/^gateway\.cjs expected a file that ends in \.json, .* got "\.cjs"$/]
  },
  {
    name: 'an included file with an unsupported extension',
    config: {
      'gateway.json': '{ "routes": [ { "path": "/a", "include": "team.toml" } ] }',
      'team.toml': ''
    },
    faults: [/routes\[0\]\.include: "team\.toml": expected a file that ends in \.json, .* got "\.toml"$/]
  },
  {
    name: 'a module that throws',
    config: { 'gateway.mjs': 'const a = undefined\n\nexport default { routes: a.b }\n' },
    faults: [/^gateway\.mjs:3:28 The module does not load: Cannot read properties of undefined/]
  },
  {
    name: 'a module in TypeScript that throws',
    config: { 'gateway.ts': 'const a: { b: string[] }[] = []\nexport default { routes: a[0]!.b }\n' },
    faults: [/^gateway\.ts:2:\d+ The module does not load: Cannot read properties of undefined/]
  },
  {
    name: 'a module that throws in an imported file',
    config: {
      'gateway.mjs': "import { routes } from './routes.mjs'\nexport default () => ({ routes: routes() })\n",
      'routes.mjs': 'export function routes() {\n  throw new Error("no routes yet")\n}\n'
    },
    faults: ['routes.mjs:2:9 The module does not load: no routes yet']
  },
  {
    name: 'a module with a syntax error',
    config: { 'gateway.mjs': 'export default {\n  routes: [,,\n  }\n' },
    faults: [/^gateway\.mjs:3:3 The module does not load: Unexpected token/]
  },
  {
    name: 'a module in TypeScript with a syntax error',
    config: { 'gateway.ts': 'const x: number = 1\nexport default {\n  routes: [ {]\n}\n' },
    faults: [/^gateway\.ts(:3:\d+)? The module does not load: Unexpected token/]
  },
  {
    name: 'a module that exports a function without a config',
    config: { 'gateway.mjs': 'export default () => undefined' },
    faults: [/^gateway\.mjs expected a config as the default export; /]
  }
])

t.test('rejects a file in UTF-16', async (t) => {
  const folder = t.testdir({ 'gateway.json': '' })
  for (const mark of [
    [0xff, 0xfe],
    [0xfe, 0xff]
  ]) {
    const text = Buffer.from('{ "routes": [] }', 'utf16le')
    writeFileSync(`${folder}/gateway.json`, Buffer.concat([Buffer.from(mark), text]))
    await t.rejects(loadConfig(`${folder}/gateway.json`), {
      message: /expected UTF-8, got UTF-16 .*save the file as UTF-8/
    })
  }
})

t.test('accepts a module that exports a function or a promise', async (t) => {
  const config = '{ routes: [{ path: "/a", respond: { body: "in" } }] }'
  for (const [i, text] of [
    `() => (${config})`,
    `async () => (${config})`,
    `Promise.resolve(${config})`
  ].entries()) {
    const folder = t.testdir({ [`gateway${i}.mjs`]: `export default ${text}` })
    const app = await gateway(t, `${folder}/gateway${i}.mjs`)
    t.equal((await app.inject('/a')).body, 'in', text)
  }
})

t.test('accepts JSON with comments, trailing commas and a byte order mark', async (t) => {
  const folder = t.testdir({
    'gateway.json': `\uFEFF// the smallest gateway
{
  /* all of
     it */
  "routes": [
    { "path": "/a", "respond": { "body": "// no comment", }, }, // the last but one
    { "path": "/b", "respond": { "body": "/* \\",], */", } /* , */ , } // ,
    , ],
}
`
  })
  const app = await gateway(t, `${folder}/gateway.json`)
  t.equal((await app.inject('/a')).body, '// no comment')
  t.equal((await app.inject('/b')).body, '/* ",], */')
})

t.test('reads YAML like JSON, with the position of each error', async (t) => {
  const folder = t.testdir({
    'gateway.yaml': `
x-limits: &limits
  max: 5
  window: 10s
routes:
  - path: /a
    rateLimit: *limits
    respond: { body: "hello" } # the only one
`
  })
  const app = await gateway(t, `${folder}/gateway.yaml`)
  const { body, headers } = await app.inject('/a')
  t.equal(body, 'hello')
  t.equal(headers['ratelimit-policy'], '"default";q=5;w=10')

  const found = await faultsOf(t, {
    'gateway.yml':
      'rateLimt:\n  max: 1\nroutes:\n  - path: /a\n    respond: {}\n    limits:\n      body: 5\n  - path: b\n'
  })
  t.equal(found.length, 4)
  t.equal(found[0], 'gateway.yml:1:1 rateLimt: Unknown option "rateLimt"; did you mean "rateLimit"?')
  t.match(found[1], /^gateway\.yml:7:7 routes\[0\]\.limits\.body: expected a size .*, got 5/)
  t.match(found[2], /^gateway\.yml:8:5 routes\[1\]\.path: expected .*, got "b"/)
  t.match(found[3], /^gateway\.yml:8:5 routes\[1\]: The route has no target/)
})

t.test('a config that has no end, or too many levels, is an error', async (t) => {
  const many = 20_000
  const cases: [name: string, text: string, error: RegExp][] = [
    ['gateway.yaml', 'x-a: &a\n  b: *a\nroutes: []\n', /^gateway\.yaml:2:3 x-a\.b\.b.*500 levels/],
    [
      'gateway.yaml',
      'routes: &a\n  - routes: *a\n',
      /^gateway\.yaml:2:5 routes\[0\]\.routes\[0\].*500 levels/
    ],
    [
      'gateway.json',
      `{ "x-a": ${'['.repeat(many)}${']'.repeat(many)} }`,
      /^gateway\.json.* x-a\[0\].*500 levels/
    ],
    [
      'gateway.mjs',
      'const a = {}\na.routes = [a]\nexport default a\n',
      /^gateway\.mjs routes\[0\].*500 levels/
    ]
  ]
  for (const [name, text, error] of cases) {
    const found = await faultsOf(t, { [name]: text })
    t.equal(found.length, 1)
    t.match(found[0], error)
  }
})

t.test('a text of megabytes is read', async (t) => {
  const folder = t.testdir({
    'gateway.json': JSON.stringify({ 'x-note': 'é"'.repeat(5_000_000), routes: [] })
  })
  t.ok(await gateway(t, `${folder}/gateway.json`))
})

t.test('accepts a module as the config', async (t) => {
  const define = new URL('../../../src/index.ts', import.meta.url).href
  const folder = t.testdir({
    'gateway.ts': `import { defineConfig, type GatewayConfig } from '${define}'
const paths: string[] = ['/a', '/b']
export default defineConfig({ routes: paths.map((path) => ({ path, respond: { body: path } })) } satisfies GatewayConfig)`,
    'gateway.js': `import { defineConfig } from '${define}'
export default defineConfig({ routes: [{ path: '/a', respond: { body: '\${NAME}' } }] })`,
    'wrong.ts': `export default { routes: [{ path: '/a', respond: { bdy: 'x' } }] }`
  })
  const typed = await gateway(t, `${folder}/gateway.ts`)
  t.equal((await typed.inject('/b')).body, '/b')
  const plain = await gateway(t, `${folder}/gateway.js`, { env: { NAME: 'ada' } })
  t.equal((await plain.inject('/a')).body, 'ada')
  await t.rejects(loadConfig(`${folder}/wrong.ts`), {
    message: /wrong\.ts routes\[0\]\.respond\.bdy: Unknown option "bdy"; did you mean "body"\?$/
  })
})
