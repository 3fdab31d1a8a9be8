// biome-ignore-all lint/suspicious/noTemplateCurlyInString: what stands in ${…} here is the config's
import { writeFileSync } from 'node:fs'
import { relative, sep } from 'node:path'
import t, { type Test } from 'tap'
import { ConfigError, type GatewayConfig, loadConfig } from '../../src/index.ts'
import { ask, gateway, listening, SECRET, type Seen, upstream } from '../helpers.ts'

type Env = Record<string, string>
type Files = Record<string, string>

/** A config with faults: a text is gateway.json, else the first of the files is the config. */
interface Wrong {
  readonly name: string
  readonly config: string | Files
  readonly env?: Env
  /** Every line of the message; file names as seen from the folder of the config. */
  readonly faults: readonly (string | RegExp)[]
  /** What no line may show. */
  readonly hidden?: string
}

/** Puts files with folders in their names into the shape that testdir wants. */
function nested(files: Files): Files {
  const made: Record<string, unknown> = {}
  for (const [name, text] of Object.entries(files)) {
    const parts = name.split('/')
    let here = made
    for (const part of parts.slice(0, -1)) {
      here[part] ??= {}
      here = here[part] as Record<string, unknown>
    }
    here[parts.at(-1) ?? ''] = text
  }
  return made as Files
}

/** Loads a config from files and tells the lines of what is wrong with it; none where it is sound. */
async function faultsOf(t: Test, config: string | Files, env: Env = {}): Promise<string[]> {
  const files = typeof config === 'string' ? { 'gateway.json': config } : config
  const folder = t.testdir(nested(files))
  try {
    await loadConfig(`${folder}/${Object.keys(files)[0]}`, env)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.replaceAll(`${relative(process.cwd(), folder)}${sep}`, '').split('\n')
  }
}

/** Loads a wrong config and holds every line of the message against what it should be. */
function judged(t: Test, { name, config, env, faults, hidden }: Wrong): void {
  t.test(name, async (t) => {
    const found = await faultsOf(t, config, env)
    t.equal(found.length, faults.length, `one line a fault: ${found.join(' | ')}`)
    for (const [i, fault] of faults.entries())
      if (typeof fault === 'string') t.equal(found[i], fault)
      else t.match(found[i], fault)
    if (hidden !== undefined) t.notMatch(found.join('\n'), hidden, 'the secret is not shown')
  })
}

function refused(title: string, cases: readonly Wrong[]): void {
  t.test(title, async (t) => {
    for (const each of cases) judged(t, each)
  })
}

const hello = '{ "path": "/hello", "respond": { "body": "hello" } }'

refused(
  'an unknown option is refused also where its value is false',
  (
    [
      ['"limits": { "bodyRat": false }', 'limits.bodyRat'],
      ['"session": { "cookie": { "nam": false } }', 'session.cookie.nam'],
      ['"cors": { "origins": ["*"], "maxAg": false }', 'cors.maxAg'],
      [
        '"rateLimit": { "max": 1, "window": "1m", "also": { "day": { "mx": false } } }',
        'rateLimit.also.day.mx'
      ],
      ['"upstreams": { "a": { "url": "http://h", "tmeouts": false } }', 'upstreams.a.tmeouts'],
      ['"upstreams": { "a": { "url": "http://h", "tls": { "verfy": false } } }', 'upstreams.a.tls.verfy'],
      ['"proxy": { "preserveHos": false }', 'proxy.preserveHos'],
      [
        '"auth": { "users": { "list": [{ "name": "a", "secret": "bbbbbbbb", "role": false }] } }',
        'auth.users.list[0].role'
      ],
      ['"proxi": false', 'proxi']
    ] as const
  ).map(
    ([option, path]): Wrong => ({
      name: path,
      config: `{ ${option}, "routes": [] }`,
      faults: [new RegExp(`^gateway\\.json:1:\\d+ ${path.replaceAll(/[.[\]]/g, '\\$&')}: Unknown `)]
    })
  )
)

refused('an unknown option of a route is refused also where its value is false', [
  {
    name: 'on a route',
    config: '{ "routes": [ { "path": "/a", "rateLimt": false, "respond": {} } ] }',
    faults: [/routes\[0\]\.rateLimt: Unknown /]
  },
  {
    name: 'in a concern, in a group and a target',
    config:
      '{ "routes": [ { "path": "/a", "cors": { "origins": ["*"], "maxAg": false }, "routes": [ { "path": "/b", "respond": { "statu": false } } ] } ] }',
    faults: [/routes\[0\]\.cors\.maxAg: Unknown /, /routes\[0\]\.routes\[0\]\.respond\.statu: Unknown /]
  },
  {
    name: 'that is for the root',
    config: '{ "routes": [ { "path": "/a", "limits": { "headerTime": false }, "respond": {} } ] }',
    faults: [/routes\[0\]\.limits\.headerTime: /]
  },
  {
    name: 'in an included file',
    config: {
      'gateway.json': '{ "routes": [ { "path": "/a", "include": "team.json" } ] }',
      'team.json': '{ "limits": { "bodyRat": false }, "routes": [] }'
    },
    faults: [/^team\.json:1:15 limits\.bodyRat: Unknown /]
  }
])

refused('an unknown word is refused where it stands, with the one that was meant', [
  {
    name: 'at the root',
    config: '{\n  "rateLimt": { "max": 1 },\n  "routes": []\n}',
    faults: ['gateway.json:2:3 rateLimt: Unknown option "rateLimt"; did you mean "rateLimit"?']
  },
  {
    name: 'at the root, near nothing',
    config: '{ "quux-quux-quux": 1, "routes": [] }',
    faults: [/^gateway\.json:1:3 \S+: Unknown option "quux-quux-quux"; known here: .*publicUrl.*rateLimit/]
  },
  {
    name: 'on a route',
    config: `{ "routes": [\n    { "path": "/a", "respond": {},\n      "ratelimit": true }\n] }`,
    faults: ['gateway.json:3:7 routes[0].ratelimit: Unknown option "ratelimit"; did you mean "rateLimit"?']
  },
  {
    name: 'in the place of the target',
    config: '{ "routes": [\n  { "path": "/a", "respnd": {} } ] }',
    faults: [
      /^gateway\.json:2:3 routes\[0\]: The route has no target; .* did you mean "respond"\?$/,
      'gateway.json:2:19 routes[0].respnd: Unknown option "respnd"; did you mean "respond"?'
    ]
  },
  {
    name: 'inside a word at the root',
    config: '{ "routes": [],\n  "rateLimit": { "max": 3, "widow": "1s" } }',
    faults: ['gateway.json:2:28 rateLimit.widow: Unknown option "widow"; did you mean "window"?']
  },
  {
    name: 'deep inside a target',
    config:
      '{ "routes": [ { "path": "/a", "proxy": {\n "upstream": "http://h", "timeouts": { "header": "1s" } } } ] }',
    faults: [
      'gateway.json:2:40 routes[0].proxy.timeouts.header: Unknown option "header"; did you mean "headers"?'
    ]
  },
  {
    name: 'in a group within a group',
    config: `{ "routes": [ { "path": "/a", "routes": [ { "path": "/b", "routes": [\n{ "pth": "/c", "respond": {} } ] } ] } ] }`,
    faults: ['gateway.json:2:3 routes[0].routes[0].routes[0].pth: Unknown option "pth"; did you mean "path"?']
  },
  {
    name: 'a word of the root on a route',
    config: '{ "routes": [ { "path": "/a", "respond": {}, "upstreams": {} } ] }',
    faults: ['gateway.json:1:46 routes[0].upstreams: Unknown option "upstreams"; it belongs at the root']
  },
  {
    name: 'a word of a route at the root',
    config: '{ "respond": {}, "routes": [] }',
    faults: ['gateway.json:1:3 respond: Unknown option "respond"; it belongs on a route']
  },
  {
    name: 'an option that only the root may say',
    config: '{ "routes": [ { "path": "/a", "respond": {}, "limits": { "headerTime": "1s" } } ] }',
    faults: [/^gateway\.json:1:58 routes\[0\]\.limits\.headerTime: Unknown option "headerTime"/]
  }
])

const to = (name: string): string => `{ "path": "/a", "proxy": { "upstream": "${name}" } }`

refused('an upstream that nothing is known of is refused', [
  {
    name: 'near one there is',
    config: `{ "upstreams": { "users": { "url": "http://h" } },\n  "routes": [ ${to('usrs')} ] }`,
    faults: ['gateway.json:2:42 routes[0].proxy.upstream: No upstream "usrs"; did you mean "users"?']
  },
  {
    name: 'near none there is',
    config: `{ "upstreams": { "users": { "url": "http://h" }, "shop": { "url": "http://h" } }, "routes": [ ${to('0123456789')} ] }`,
    faults: [/routes\[0\]\.proxy\.upstream: No upstream "0123456789"; expected one of users, shop, or a URL$/]
  },
  {
    name: 'where there is none at all',
    config: `{ "routes": [ ${to('users')} ] }`,
    faults: [
      /No upstream "users"; the config has none: add it to "upstreams", or use a URL such as "http:\/\/localhost:4001"$/
    ]
  },
  {
    name: 'a URL of no kind that we speak',
    config: `{ "routes": [ ${to('ftp://h')} ] }`,
    faults: [/No upstream "ftp:\/\/h"/]
  },
  {
    name: 'as the default of all proxies',
    config: `{ "proxy": { "upstream": "usrs" }, "upstreams": { "users": { "url": "http://h" } }, "routes": [ { "path": "/a", "proxy": true } ] }`,
    faults: ['gateway.json:1:14 proxy.upstream: No upstream "usrs"; did you mean "users"?']
  },
  {
    name: 'one with no place to go to',
    config: '{ "upstreams": { "users": {} }, "routes": [] }',
    faults: [
      'gateway.json:1:18 upstreams.users: The upstream "users" needs exactly one of "url", "targets" and "discover"'
    ]
  }
])

/** Two routes that no request can tell apart, by what each says of itself. */
const twins = (one: string, two: string, root = ''): string =>
  `{ ${root}"routes": [ { ${one}, "respond": {} },\n{ ${two}, "respond": {} } ] }`

t.test('two routes that can never be told apart are refused', async (t) => {
  const cases: [name: string, config: string][] = [
    ['the same path', twins('"path": "/a"', '"path": "/a"')],
    ['one of several paths', twins('"path": ["/a", "/b"]', '"path": ["/c", "/b"]')],
    ['parameters of other names', twins('"path": "/a/:id/b"', '"path": "/a/:name/b"')],
    ['the same pattern of a parameter', twins('"path": "/:a(\\\\d+)"', '"path": "/:b(\\\\d+)"')],
    ['wildcards', twins('"path": "/a/*"', '"path": "/a/*"')],
    ['encoded otherwise', twins('"path": "/%61"', '"path": "/a"')],
    ['a host in common', twins('"path": "/a", "host": ["x.b", "y.b"]', '"path": "/a", "host": "y.b"')],
    ['a method in common', twins('"path": "/a", "methods": ["GET"]', '"path": "/a"')],
    [
      'HEAD, which comes with GET',
      twins('"path": "/a", "methods": ["GET"]', '"path": "/a", "methods": ["HEAD"]')
    ],
    ['case that does not count', twins('"path": "/a"', '"path": "/A"', '"paths": { "ignoreCase": true }, ')]
  ]
  for (const [name, config] of cases)
    t.test(name, async (t) => {
      const found = await faultsOf(t, config)
      t.equal(found.length, 1)
      t.match(
        found[0],
        /^gateway\.json:2:1 The route \S+.* matches the same requests as the one at gateway\.json:1:\d+; give them/
      )
    })

  const apart: [name: string, config: string][] = [
    ['by another path', twins('"path": "/a"', '"path": "/b"')],
    ['by a final slash', twins('"path": "/a"', '"path": "/a/"')],
    ['by all below', twins('"path": "/a"', '"path": "/a/*"')],
    ['by a pattern', twins('"path": "/:a"', '"path": "/:a(\\\\d+)"')],
    ['by host', twins('"path": "/a"', '"path": "/a", "host": "x.b"')],
    ['by method', twins('"path": "/a", "methods": ["GET"]', '"path": "/a", "methods": ["POST"]')],
    ['by case', twins('"path": "/a"', '"path": "/A"')]
  ]
  for (const [name, config] of apart)
    t.test(`but not ${name}`, async (t) => {
      t.same(await faultsOf(t, config), [])
      await t.resolves(gateway(t, `${t.testdirName}/gateway.json`))
    })
})

const tenant = `export const key = 'tenant'
export const options = {
  type: 'object', additionalProperties: false,
  properties: { known: { type: 'integer', description: 'How many.' } }
}
export default async function tenant () {}`
const extended = (entry: string, module: string, words = ''): Files => ({
  'gateway.json': `{ "extensions": [ { "module": "./tenant.js"${entry} } ],\n  ${words}"routes": [ ${hello} ] }`,
  'tenant.js': module
})

refused('an extension that is none is refused', [
  {
    name: 'no file',
    config: '{ "extensions": [ { "module": "./nope.js" } ], "routes": [] }',
    faults: [
      'gateway.json:1:21 extensions[0].module: There is no file ./nope.js beside the config; files are relative to the config that names them'
    ]
  },
  {
    name: 'no package',
    config: '{ "extensions": [ { "module": "no-package-of-this-name" } ], "routes": [] }',
    faults: [/extensions\[0\]\.module: no-package-of-this-name does not load: Cannot find module/]
  },
  {
    name: 'no module',
    config: extended('', 'export const = 1'),
    faults: [/^gateway\.json:1:21 extensions\[0\]\.module: \.\/tenant\.js does not load: \S+/]
  },
  {
    name: 'one that throws',
    config: extended('', 'throw new Error("out of order")'),
    faults: [/extensions\[0\]\.module: \.\/tenant\.js does not load: out of order$/]
  },
  {
    name: 'one of another shape',
    config: extended('', 'export const tenant = 1'),
    faults: [
      /\.\/tenant\.js is not an extension: it does not export key \(a name in camelCase\), options \(a schema\), default \(a Fastify plugin\)$/
    ]
  },
  {
    name: 'one whose word is none',
    config: extended('', tenant.replace("'tenant'", "'te-nant'")),
    faults: [/is not an extension: it does not export key \(a name in camelCase\)$/]
  },
  {
    name: 'one whose schema is none',
    config: extended('', tenant.replace("'integer'", "'whole'")),
    faults: [/\.\/tenant\.js is not an extension: its options are not a valid JSON Schema \(/]
  },
  {
    name: 'one with the word of a concern',
    config: extended('', tenant.replace("'tenant'", "'rateLimit'")),
    faults: [
      /expected a key of its own from \.\/tenant\.js, got "rateLimit", which is taken; export another "key"$/
    ]
  },
  {
    name: 'one with a word of the routes',
    config: extended('', tenant.replace("'tenant'", "'path'")),
    faults: [/expected a key of its own from \.\/tenant\.js, got "path"/]
  },
  {
    name: 'the same one twice',
    config: {
      'gateway.json': `{ "extensions": [ { "module": "./tenant.js" }, { "module": "./tenant.js" } ], "routes": [] }`,
      'tenant.js': tenant
    },
    faults: [/extensions\[1\]\.module: expected a key of its own from \.\/tenant\.js, got "tenant"/]
  },
  {
    name: 'before an unknown word',
    config: extended(', "before": "rateLimt"', tenant, '"tenant": { "known": 2 }, '),
    faults: [
      'gateway.json:1:46 extensions[0].before: expected a concern, got "rateLimt"; did you mean "rateLimit"?'
    ]
  },
  {
    name: 'after an unknown word',
    config: extended(', "after": "0123456789"', tenant),
    faults: [/extensions\[0\]\.after: expected a concern, got "0123456789"; known here: errors, .*, auth, /]
  },
  {
    name: 'wrong options of one that is sound',
    config: extended(', "after": "auth"', tenant, '"tenant": { "knwn": 2 }, '),
    faults: ['gateway.json:2:15 tenant.knwn: Unknown option "knwn"; did you mean "known"?']
  },
  {
    name: 'an entry without a module',
    config: '{ "extensions": [ { "modul": "./tenant.js" } ], "routes": [] }',
    faults: [
      /^gateway\.json:1:19 extensions\[0\]: "module" is missing: /,
      'gateway.json:1:21 extensions[0].modul: Unknown option "modul"; did you mean "module"?'
    ]
  }
])

refused('a file that is no config is refused', [
  { name: 'empty', config: '', faults: [/^gateway\.json The file is empty; \{"routes": \[\]\}/] },
  { name: 'blank', config: ' \n\n', faults: [/^gateway\.json The file is empty/] },
  { name: 'comments alone', config: '// soon', faults: [/^gateway\.json:1:8 This is not JSON/] },
  {
    name: 'no JSON',
    config: '{\n  "routes": [ } ]\n}',
    faults: ['gateway.json:2:15 This is not JSON: value expected near "}"']
  },
  {
    name: 'more than JSON',
    config: '{ "routes": [] } also',
    faults: [/^gateway\.json:1:18 This is not JSON: .* near "a"$/]
  },
  { name: 'a list', config: '[]', faults: [/^gateway\.json:1:1 A config is an object/] },
  { name: 'null', config: 'null', faults: [/^gateway\.json:1:1 A config is an object/] },
  { name: 'a text', config: '"routes"', faults: [/^gateway\.json:1:1 A config is an object/] },
  { name: 'without routes', config: '{}', faults: [/^gateway\.json:1:1 The config has no "routes"/] },
  {
    name: 'routes that are no list',
    config: '{ "routes": {} }',
    faults: ['gateway.json:1:3 routes: expected a list of routes, got {}']
  },
  {
    name: 'a route that is no object',
    config: '{ "routes": [ "/a" ] }',
    faults: [/^gateway\.json:1:15 routes\[0\]: expected an object with a "path" and a target, got "\/a"$/]
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
    faults: [/^gateway\.yml:1:1 A config is an object/]
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
    faults: [/^gateway\.ts The module has no default export that is a config; `export default defineConfig/]
  },
  {
    name: 'a module that throws',
    config: { 'gateway.js': 'throw new Error("no luck")' },
    faults: ['gateway.js:1:7 The module does not load: no luck']
  },
  {
    name: 'a module that is none',
    config: { 'gateway.ts': 'export default {' },
    faults: [/^gateway\.ts(:\d+:\d+)? The module does not load: \S+/]
  },
  {
    name: 'a module with code in its config',
    config: { 'gateway.mjs': 'export default { routes: [{ path: "/a", respond: { body: () => 1 } }] }' },
    faults: [/^gateway\.mjs A config is data, without functions: /]
  }
])

t.test('a file that is missing is refused, and what would do is said', async (t) => {
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

const word = (text: string): string => `{ ${text}, "routes": [ ${hello} ] }`

refused('a file that is no text of the kind its name says is refused', [
  {
    name: 'a comment of YAML in JSON',
    config: '{\n  # a comment\n  "routes": [] }',
    faults: ['gateway.json:2:3 This is not JSON: expected "//" in front of a comment, got "#"']
  },
  {
    name: 'single quotes',
    config: "{ 'routes': [] }",
    faults: [
      /^gateway\.json:1:3 This is not JSON: expected a text in double quotes \("\), got a single quote/
    ]
  },
  {
    name: 'an ending that is not read',
    config: { 'gateway.cjs': 'module.exports = {}' },
    faults: [/^gateway\.cjs expected a file that ends in \.json, .* got "\.cjs"$/]
  },
  {
    name: 'an included file with an ending that is not read',
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
    name: 'a module whose function throws in a file of its own',
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
    name: 'a module that exports no config',
    config: { 'gateway.mjs': 'export default () => undefined' },
    faults: [/^gateway\.mjs The module has no default export that is a config; /]
  }
])

t.test('a file in UTF-16 is refused by its encoding', async (t) => {
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

t.test('a module may export a function, or a promise', async (t) => {
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

refused('an error in what the environment says names the variable', [
  {
    name: 'SESSION_SECRET',
    config: '{ "auth": { "session": true, "users": { "list": [] } }, "routes": [] }',
    env: { SESSION_SECRET: 'short-one' },
    faults: [
      /^gateway\.json SESSION_SECRET in the environment: expected a session secret of 32 characters or more/
    ],
    hidden: 'short-one'
  },
  {
    name: 'SESSION_SECRET beside other options of the session',
    config: '{ "session": { "idle": "5m" }, "routes": [] }',
    env: { SESSION_SECRET: 'short-one' },
    faults: [/^gateway\.json SESSION_SECRET in the environment: /]
  },
  {
    name: 'REDIS_URL',
    config: '{ "routes": [] }',
    env: { REDIS_URL: 'no-url' },
    faults: [/^gateway\.json REDIS_URL in the environment: expected /]
  }
])

/** One fault of a config that is on one line, without its place. */
const told = (cases: readonly (readonly [config: string, ...faults: string[]])[]): Wrong[] =>
  cases.map(([config, ...faults]) => ({
    name: config,
    config,
    faults: faults.map((fault) => new RegExp(`^gateway\\.json:1:\\d+ ${escaped(fault)}$`))
  }))

const route = (rest: string): string => `{ "routes": [ { "path": "/a", ${rest} } ] }`

refused(
  'what would work is said',
  told([
    [
      word('"responseTime": "true"'),
      'responseTime: expected true, false or an object such as { "serverTiming": true }, got "true"; true without quotes would work'
    ],
    [word('"cors": "*"'), 'cors: expected true, false or an object such as { "origins": ["*"] }, got "*"'],
    [word('"cors": { "origins": "*" }'), 'cors.origins: expected a list or false, got "*"; ["*"] would work'],
    [
      word('"store": "redis://u:pw@h"'),
      'store: expected true, false or an object such as { "redis": "redis://***@h" }, got "redis://***@h"'
    ],
    [
      word('"upstreams": { "a": "http://h" }'),
      'upstreams.a: expected an object such as { "url": "http://h" }, got "http://h"'
    ],
    [
      word('"upstreams": "http://h"'),
      'upstreams: expected an object such as { "name": { "url": "http://h" } }, got "http://h"'
    ],
    [
      word('"tls": { "certificates": { "cert": "a", "key": "b" } }'),
      'tls.certificates: expected a list of one or more or false, got {"cert":"a","key":"b"}; "[" and "]" around it would work'
    ],
    [
      word('"rateLimit": { "max": "5" }'),
      'rateLimit.max: expected a whole number from 1 on or false, got "5"; 5 without quotes would work'
    ],
    [
      word('"headers": { "response": { "set": { "x-a": "1" } } }'),
      'headers.response.set: expected a text (with values such as "{client.ip}"), or false to remove it, got {"x-a":"1"}'
    ],
    [
      word('"publicUrl": "example.com"'),
      'publicUrl: expected an origin such as "https://api.example.com", got "example.com"'
    ],
    [
      word('"publicUrl": "https://example.com:99999"'),
      'publicUrl: expected an origin such as "https://api.example.com", got "https://example.com:99999"'
    ],
    ['{ "routes": { "path": "/a" } }', 'routes: expected a list of routes, got {"path":"/a"}'],
    [
      route('"proxy": "http://h"'),
      'routes[0].proxy: expected an object such as { "upstream": "http://h" }, got "http://h"'
    ],
    [
      route('"respond": "hello"'),
      'routes[0].respond: expected an object such as { "body": "hello" }, got "hello"'
    ],
    [route('"redirect": "/b"'), 'routes[0].redirect: expected an object such as { "to": "/b" }, got "/b"'],
    [route('"files": "dist"'), 'routes[0].files: expected an object such as { "root": "dist" }, got "dist"'],
    [
      route('"methods": "GET", "respond": {}'),
      'routes[0].methods: expected a list, got "GET"; ["GET"] would work'
    ],
    [
      route('"methods": ["ALL"], "respond": {}'),
      'routes[0].methods[0]: expected a method such as "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" or "OPTIONS" (leave "methods" out for all), got "ALL"'
    ]
  ])
)

refused(
  'an option that belongs elsewhere is refused with its place',
  told([
    [word('"port": 80'), 'port: Unknown option "port"; set PORT in the environment'],
    [word('"adminPort": 80'), 'adminPort: Unknown option "adminPort"; set ADMIN_PORT in the environment'],
    [word('"log_level": "debug"'), 'log_level: Unknown option "log_level"; set LOG_LEVEL in the environment'],
    [
      word('"host": "0.0.0.0"'),
      'host: Unknown option "host"; it belongs on a route, or set HOST in the environment'
    ],
    [word('"jwt": {}'), 'jwt: Unknown option "jwt"; it belongs in "auth"'],
    [word('"auth": { "roles": ["a"] }'), 'auth.roles: Unknown option "roles"; it belongs in "auth.require"'],
    [
      route('"paths": {}, "respond": {}'),
      'routes[0].paths: Unknown option "paths"; it belongs at the root; did you mean "path"?'
    ],
    [
      route('"proxy": { "upstream": "http://h", "rateLimit": {} }'),
      'routes[0].proxy.rateLimit: Unknown option "rateLimit"; it belongs beside "proxy"'
    ],
    [route('"respond": {}, "tls": {}'), 'routes[0].tls: Unknown option "tls"; it belongs at the root'],
    [
      route('"limits": { "idle": "5s" }, "respond": {}'),
      'routes[0].limits.idle: Unknown option "idle"; it belongs at the root, in "limits"'
    ]
  ])
)

refused('no name is guessed that is far from what was typed', [
  {
    name: 'version and servers',
    config: word('"version": 1, "servers": []'),
    faults: [
      /^\S+ version: Unknown option "version"; known here: /,
      /^\S+ servers: Unknown option "servers"; known here: /
    ]
  },
  {
    name: 'letters that are swapped, missing or too many',
    config: word('"crsf": {}, "cor": {}, "upstraems": {}, "acessLogs": {}'),
    faults: [
      /did you mean "csrf"/,
      /did you mean "cors"/,
      /did you mean "upstreams"/,
      /did you mean "accessLog"/
    ]
  }
])

refused('errors are told all together, in the order of their places', [
  {
    name: 'a missing option beside an unknown one, and files that are not there',
    config: {
      'gateway.json': `{
  "errors": { "pages": { "404": "pages/nope.html" } },
  "auth": { "apiKeys": { "form": [] }, "jwt": { "issuer": "https://a" } },
  "routes": [
    { "path": "/b", "include": "teams/b.json" },
    { "path": "/a", "respond": { "status": 99 } }
  ],
  "rateLimit": { "max": 0 }
}`,
      'other.json': '{}'
    },
    faults: [
      'gateway.json:2:26 errors.pages.404: There is no file pages/nope.html',
      /^gateway\.json:3:26 auth\.apiKeys\.form: Unknown option "form"; did you mean "from"\?$/,
      /^gateway\.json:3:40 auth\.jwt: expected one of "jwks", "keys" and "secret", got none$/,
      'gateway.json:5:21 routes[0].include: There is no file teams/b.json, which gateway.json includes',
      /^gateway\.json:6:34 routes\[1\]\.respond\.status: expected a whole number from 200 to 599.*, got 99$/,
      /^gateway\.json:8:18 rateLimit\.max: /
    ]
  }
])

refused('a value of the wrong kind is refused with what it takes', [
  {
    name: 'a duration without a unit',
    config: word('"rateLimit": { "max": 1, "window": 5 }'),
    faults: [
      'gateway.json:1:28 rateLimit.window: expected a duration such as "800ms", "30s", "5m", "12h" or "7d", above zero or false, got 5'
    ]
  },
  {
    name: 'a duration with a space',
    config: word('"session": { "idle": "5 m" }'),
    faults: [/session\.idle: expected a duration such as "800ms".*, got "5 m"/]
  },
  {
    name: 'a duration with two units',
    config: word('"limits": { "time": "1m30s" }'),
    faults: [/limits\.time: expected a duration .*, or false for none, got "1m30s"$/]
  },
  {
    name: 'a size without a unit',
    config: word('"limits": { "body": 1024 }'),
    faults: [
      'gateway.json:1:15 limits.body: expected a size such as "64kb" or "1mb", or false for none, got 1024'
    ]
  },
  {
    name: 'a size with a unit of others',
    config: word('"limits": { "body": "1MiB" }'),
    faults: [/limits\.body: expected a size such as "64kb" or "1mb".*, got "1MiB"/]
  },
  {
    name: 'a text for a number',
    config: word('"rateLimit": { "max": "many" }'),
    faults: ['gateway.json:1:18 rateLimit.max: expected a whole number from 1 on or false, got "many"']
  },
  {
    name: 'a broken number',
    config: word('"rateLimit": { "max": 1.5 }'),
    faults: [/rateLimit\.max: expected a whole number from 1 on.*, got 1\.5/]
  },
  {
    name: 'too small a number',
    config: word('"rateLimit": { "max": 0 }'),
    faults: [/rateLimit\.max: expected a whole number from 1 on.*, got 0/]
  },
  {
    name: 'a text for true or false',
    config: word('"cors": { "origins": [], "credentials": "yes" }'),
    faults: ['gateway.json:1:28 cors.credentials: expected true or false, got "yes"']
  },
  {
    name: 'a number for a word',
    config: word('"rateLimit": 100'),
    faults: ['gateway.json:1:3 rateLimit: expected true, false or an object such as { "max": 100 }, got 100']
  },
  {
    name: 'null for a word',
    config: word('"rateLimit": null'),
    faults: [/^gateway\.json:1:3 rateLimit: expected true, false or an object such as \{ .*\}, got null$/]
  },
  {
    name: 'a list for a word',
    config: word('"cors": ["*"]'),
    faults: [
      'gateway.json:1:3 cors: expected true, false or an object such as { "origins": ["*"] }, got ["*"]'
    ]
  },
  {
    name: 'none of the words of a choice',
    config: word('"paths": { "doubleSlash": "fold" }'),
    faults: ['gateway.json:1:14 paths.doubleSlash: expected "keep", "reject", "merge" or false, got "fold"']
  },
  {
    name: 'near a word of a choice',
    config: '{ "routes": [ { "path": "/a", "methods": ["GETT"], "respond": {} } ] }',
    faults: [
      /^gateway\.json:1:43 routes\[0\]\.methods\[0\]: expected a method such as "GET", .*, got "GETT"; did you mean "GET"\?$/
    ]
  },
  {
    name: 'a method that is never forwarded',
    config: '{ "routes": [ { "path": "/a", "methods": ["TRACE"], "respond": {} } ] }',
    faults: [/^gateway\.json:1:43 routes\[0\]\.methods\[0\]: expected .*, got "TRACE"$/]
  },
  {
    name: 'a missing option',
    config: word('"rateLimit": {}'),
    faults: [/^gateway\.json:1:3 rateLimit: expected "max" or "maxInFlight", got neither/]
  },
  {
    name: 'a missing option of a word that is only switched on',
    config: word('"rateLimit": true'),
    faults: [/^gateway\.json:1:3 rateLimit: expected "max" or "maxInFlight", got neither/]
  },
  {
    name: 'a missing option that no route gets by itself, but one asks for',
    config:
      '{ "rateLimit": { "global": false }, "routes": [ { "path": "/a", "rateLimit": true, "respond": {} } ] }',
    faults: [/rateLimit: expected "max" or "maxInFlight", got neither/]
  },
  {
    name: 'an address that is none in trustedProxies',
    config:
      '{ "trustedProxies": ["private", "10.0.0.0/33", "everybody", "::1", "1.2.3", "::/129", "loopback"], "routes": [] }',
    faults: [
      'gateway.json:1:33 trustedProxies[1]: expected an address, got "10.0.0.0/33"; an IP address, a CIDR range such as "10.0.0.0/8", "loopback" or "private" would work',
      /trustedProxies\[2\]: expected an address, got "everybody"/,
      /trustedProxies\[4\]: expected an address, got "1\.2\.3"/,
      /trustedProxies\[5\]: expected an address, got "::\/129"/
    ]
  },
  {
    name: 'true for trustedProxies',
    config: '{ "trustedProxies": true, "routes": [] }',
    faults: ['gateway.json:1:3 trustedProxies: expected a list, got true']
  },
  {
    name: 'a publicUrl with a path',
    config: '{ "publicUrl": "https://a.b/c", "routes": [] }',
    faults: [/publicUrl: expected an origin such as .*, got "https:\/\/a\.b\/c"/]
  },
  {
    name: 'a host with a port',
    config: '{ "routes": [ { "path": "/a", "host": "a.b:80", "respond": {} } ] }',
    faults: [/routes\[0\]\.host: expected a host name in lower case without a port.*, got "a\.b:80"/]
  },
  {
    name: 'hosts in upper case and with a star inside',
    config: '{ "routes": [ { "path": "/a", "host": ["A.b", "a.*.b"], "respond": {} } ] }',
    faults: [
      /routes\[0\]\.host\[0\]: expected .*, got "A\.b"/,
      /routes\[0\]\.host\[1\]: expected .*, got "a\.\*\.b"/
    ]
  },
  {
    name: 'cors with credentials for everybody',
    config: word('"cors": { "origins": ["*"], "credentials": true }'),
    faults: [/^gateway\.json:1:31 cors\.credentials: expected named origins beside "credentials", got "\*"/]
  },
  {
    name: 'cors with credentials for everybody, put together from two places',
    config: `{ "cors": { "origins": ["*"] }, "routes": [\n{ "path": "/a", "respond": {}, "cors": { "credentials": true } } ] }`,
    faults: [
      /^gateway\.json:2:42 routes\[0\]\.cors\.credentials: expected named origins beside "credentials", got "\*"/
    ]
  }
])

refused('a route that can not be is refused', [
  {
    name: 'a group with a target',
    config: '{ "routes": [ { "path": "/g", "respond": {}, "routes": [] } ] }',
    faults: [
      'gateway.json:1:31 routes[0].respond: A group has no target of its own; move "respond" to a route'
    ]
  },
  {
    name: 'without a target',
    config: '{ "routes": [ { "path": "/g" } ] }',
    faults: [
      'gateway.json:1:15 routes[0]: The route has no target; expected one of proxy, redirect, respond, files, or "routes" for a group'
    ]
  },
  {
    name: 'with two targets',
    config: '{ "routes": [ { "path": "/g", "redirect": { "to": "/x" }, "respond": {} } ] }',
    faults: ['gateway.json:1:59 routes[0].respond: expected one target, got redirect and respond']
  },
  ...['true', 'false'].map((said) => ({
    name: `with a target that is only ${said}`,
    config: `{ "routes": [ { "path": "/g", "respond": ${said} } ] }`,
    faults: [
      `gateway.json:1:31 routes[0].respond: expected an object with the options of "respond", got ${said}`
    ]
  })),
  {
    name: 'without a path',
    config: '{ "routes": [ { "host": "a.b", "respond": {} } ] }',
    faults: ['gateway.json:1:15 routes[0]: The route has no "path"; "/*" matches every path']
  },
  {
    name: 'with a path that is none',
    config: '{ "routes": [ { "path": "a", "respond": {} } ] }',
    faults: [
      'gateway.json:1:17 routes[0].path: expected a path that begins with "/" or a list of one or more, got "a"'
    ]
  },
  {
    name: 'with no path in its list',
    config: '{ "routes": [ { "path": [], "respond": {} } ] }',
    faults: [/routes\[0\]\.path: expected .* or a list of one or more, got \[\]$/]
  },
  {
    name: 'with one path in its list that is none',
    config: '{ "routes": [ { "path": ["/a", "b"], "respond": {} } ] }',
    faults: ['gateway.json:1:32 routes[0].path[1]: expected a path that begins with "/", got "b"']
  },
  ...(
    [
      ['/a/*/b', 'a "*" that is not at its end; "/*" matches everything below, ":name" one segment'],
      ['/a*', 'a "*" that is not at its end'],
      ['/a//b', 'an empty segment; one "/" would work'],
      ['/a/../b', 'a dot segment, which no request can have'],
      ['/a/:', '":", which is not a parameter; ":id" or ":id(\\\\d+)" would work'],
      ['/a/:id-x', '":id-x", which is not a parameter'],
      ['/:a(', '":a(", which is not a parameter'],
      ['/:a/:a', 'the parameter ":a" twice; give one another name'],
      ['/:a([)', '"([)", which is not a valid regular expression'],
      ['/a?b=c', "a character that a path can't have; percent-encode it, and leave the query out"],
      ['/a#b', "a character that a path can't have"],
      ['/a%', 'a "%" that is not percent-encoding'],
      ['/a%2Ax/*', '"%2A", which no route can match; use a parameter'],
      ['/users/{id}', '"{id}", which is not a parameter; ":id" would work'],
      ['/users/<int:id>', '"<int:id>", which is not a parameter; ":id" would work'],
      ['/users/<id>', '"<id>", which is not a parameter; ":id" would work'],
      ['/users/{user-id}/x', '"{user-id}", which is not a parameter; ":user_id" would work'],
      ['/users/{id:int}/*', '"{id:int}", which is not a parameter; ":id" would work'],
      ['/files/{name}.json', '"{name}.json", which is not a parameter; ":name" would work'],
      ['/files/{path...}', '"{path...}", which is not a parameter; ":path" would work'],
      ['/users/[id]/x', '"[id]", which is not a parameter; ":id" would work'],
      ['/users/[...slug]', '"[...slug]", which is not a parameter; ":slug" would work'],
      ['/users/[[...slug]]', '"[[...slug]]", which is not a parameter; ":slug" would work'],
      ['/:a((x+)+)', '"((x+)+)", which the router refuses as unsafe'],
      ['/:a(x)(y)', '"(x)(y)", which is not one pair of parentheses']
    ] as const
  ).map(([path, what]) => ({
    name: `with the path ${path}`,
    config: `{ "routes": [ { "path": "${path}", "respond": {} } ] }`,
    faults: [
      new RegExp(
        `^gateway\\.json:1:17 routes\\[0\\]\\.path: The path "${escaped(path)}" has ${escaped(what)}`
      )
    ]
  })),
  {
    name: 'with a parameter that its path has not',
    config:
      '{ "routes": [ { "path": "/a/:id", "proxy": { "upstream": "http://h", "rewrite": "/b/{params.ix}" } } ] }',
    faults: ['gateway.json:1:70 routes[0].proxy.rewrite: The path has no parameter ":ix"; it has :id']
  },
  ...(
    [
      ['/b/:id', '":id" is no value of the request; "{params.id}" would do'],
      ['/b/:other', '":other" is no value of the request; "{params.other}" would do'],
      ['/b/$1', '"$1" is no value of the request; "{params.id}" is the value of ":id"'],
      ['/b/$id', '"$id" is no value of the request; "{params.id}" would do'],
      ['/b/{id}', 'No value "{id}" here; "{params.id}" would do'],
      ['/b/*', '"*" is no value of the request; what follows "/*" in the path of the route goes on by itself']
    ] as const
  ).flatMap(([to, what]) => [
    {
      name: `with the rewrite ${to}`,
      config: `{ "routes": [ { "path": "/a/:id", "proxy": { "upstream": "http://h", "rewrite": "${to}" } } ] }`,
      faults: [new RegExp(`^gateway\\.json:1:70 routes\\[0\\]\\.proxy\\.rewrite: ${escaped(what)}`)]
    },
    {
      name: `with a redirect to ${to}`,
      config: `{ "routes": [ { "path": "/a/:id", "redirect": { "to": "http://h:80${to}?x=:id" } } ] }`,
      faults: [new RegExp(`routes\\[0\\]\\.redirect\\.to: ${escaped(what)}`)]
    }
  ]),
  {
    name: 'with a parameter that not all of its paths have',
    config: '{ "routes": [ { "path": ["/a/:id", "/b"], "redirect": { "to": "/{params.id}" } } ] }',
    faults: [/routes\[0\]\.redirect\.to: The path has no parameter ":id"; it has :id$/]
  },
  {
    name: 'with a value that there is nowhere',
    config: '{ "routes": [ { "path": "/a", "respond": { "body": "{nonsense.x}" } } ] }',
    faults: [
      /^gateway\.json:1:44 routes\[0\]\.respond\.body: No value "\{nonsense\.x\}" here; known here: \{client\.ip\}, /
    ]
  },
  {
    name: 'with a value near one there is, at the root',
    config: word('"headers": { "request": { "x-ip": "{clint.ip}" } }'),
    faults: ['gateway.json:1:29 headers.request.x-ip: No value "{clint.ip}" here; did you mean {client.ip}?']
  },
  {
    name: 'with a value that this place does not know',
    config: '{ "routes": [ { "path": "/a", "proxy": { "upstream": "http://h", "rewrite": "/{path}" } } ] }',
    faults: [/routes\[0\]\.proxy\.rewrite: No value "\{path\}" here/]
  },
  {
    name: 'with a brace that is never closed',
    config: '{ "routes": [ { "path": "/a", "respond": { "body": "{host" } } ] }',
    faults: [
      /routes\[0\]\.respond\.body: "\{host" has a "\{" that is never closed; "\{\{" stands for the brace itself$/
    ]
  }
])

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

const shop = (json: string, entry = ''): Files => ({
  'gateway.json': `{ "upstreams": { "users": { "url": "http://h" } }, "routes": [\n  { "path": "/shop", ${entry}"include": "teams/shop.json" } ] }`,
  'teams/shop.json': json
})

t.test('an included file', async (t) => {
  const cases: Wrong[] = [
    {
      name: 'is missing',
      config: '{ "routes": [\n  { "path": "/s", "include": "nope.json" } ] }',
      faults: [
        /^gateway\.json:2:19 routes\[0\]\.include: There is no file nope\.json, which gateway\.json includes$/
      ]
    },
    {
      name: 'is empty',
      config: shop(''),
      faults: [/^gateway\.json:2:22 routes\[0\]\.include: "teams\/shop\.json": The file is empty/]
    },
    {
      name: 'is broken',
      config: shop('{\n  "routes": [ } ] }'),
      faults: [/^teams\/shop\.json:2:15 This is not JSON/]
    },
    {
      name: 'is no group',
      config: shop('[]'),
      faults: ['teams/shop.json:1:1 expected a group: an object with "routes", got []']
    },
    {
      name: 'has an unknown word',
      config: shop('{\n  "rateLimt": {}, "routes": [] }'),
      faults: ['teams/shop.json:2:3 rateLimt: Unknown option "rateLimt"; did you mean "rateLimit"?']
    },
    {
      name: 'includes itself',
      config: shop('{ "routes": [ { "path": "/x", "include": "shop.json" } ] }'),
      faults: [
        /^teams\/shop\.json:1:31 routes\[0\]\.include: "shop\.json" includes itself by way of 2 files$/
      ]
    },
    {
      name: 'includes the one that includes it',
      config: shop('{ "routes": [ { "path": "/x", "include": "../gateway.json" } ] }'),
      faults: [
        /^teams\/shop\.json:1:31 routes\[0\]\.include: "\.\.\/gateway\.json" includes itself by way of 2 files$/
      ]
    },
    {
      name: 'says what only the root may say',
      config: shop(
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
      name: 'leaves its host',
      config: shop(
        '{ "host": "b.c",\n "routes": [ { "path": "/x", "host": "c.d", "respond": {} } ] }',
        '"host": "a.b", '
      ),
      faults: [
        'teams/shop.json:1:3 host: expected a host within the group\'s a.b, got "b.c"',
        /^teams\/shop\.json:2:30 routes\[0\]\.host: expected a host within the group's b\.c, got "c\.d"/
      ]
    },
    {
      name: 'leaves its wildcard host by a label too many',
      config: shop(
        '{ "routes": [ { "path": "/x", "host": ["x.b", "x.y.b"], "respond": {} } ] }',
        '"host": "*.b", '
      ),
      faults: [
        /^teams\/shop\.json:1:31 routes\[0\]\.host: expected a host within the group's \*\.b, got "x\.y\.b"/
      ]
    },
    {
      name: 'takes the name of an upstream',
      config: shop('{ "upstreams": { "users": { "url": "http://x" } }, "routes": [] }'),
      faults: [
        /^teams\/shop\.json:1:18 upstreams\.users: expected a name that is unique in the gateway, got "users" again/
      ]
    },
    {
      name: 'stands beside routes',
      config: {
        ...shop('{ "routes": [] }'),
        'gateway.json': '{ "routes": [ { "path": "/s", "include": "teams/shop.json", "routes": [] } ] }'
      },
      faults: ['gateway.json:1:31 routes[0].include: expected either "routes" or "include", got both']
    }
  ]
  for (const each of cases) judged(t, { ...each, name: `is refused when it ${each.name}` })

  t.test('is a group with its path, words and upstreams, its files relative to itself', async (t) => {
    const url = await upstream(t)
    const folder = t.testdir(
      nested({
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
    t.equal((await ask(`${own}/stock/1`)).status, 404, 'a file can not leave its path')
    const { files } = await loadConfig(`${folder}/gateway.json`)
    t.strictSame(
      [...new Set(files)].map((file) => relative(folder, file)).toSorted(),
      ['gateway.json', 'teams/deeper/deep.json', 'teams/shop.yaml'],
      'all of them are watched'
    )
  })
})

const users = '"users": { "list": [ { "name": "ada", "secret": "a-word-of-ada" } ] }'
const SHORT = 'rather-short'

t.test('who may call', async (t) => {
  const cases: Wrong[] = [
    {
      name: 'auth without a way in',
      config: word('"auth": true'),
      faults: [
        /^gateway\.json:1:3 auth: expected an authentication strategy, got none; define one, such as "session" with "users", "jwt" or "apiKeys"$/
      ]
    },
    {
      name: 'auth with nothing but a requirement',
      config: '{ "routes": [ { "path": "/a", "respond": {}, "auth": { "require": { "roles": ["x"] } } } ] }',
      faults: [/^gateway\.json:1:46 routes\[0\]\.auth: expected an authentication strategy, got none/]
    },
    {
      name: 'auth without a way in where there is no route to use it',
      config: '{ "auth": true, "routes": [] }',
      faults: [/^gateway\.json:1:3 auth: expected an authentication strategy, got none/]
    },
    {
      name: 'a session without users',
      config: word('"auth": { "session": true }'),
      env: { SESSION_SECRET: SECRET },
      faults: [
        /^gateway\.json:1:13 auth\.session: expected "users" or "oidc" beside "session", got neither; a session needs users who log in$/
      ]
    },
    {
      name: 'a session without a secret',
      config: word(`"auth": { "session": true, ${users} }`),
      faults: [
        /^gateway\.json:1:13 auth\.session: expected a session secret of 32 characters or more, got none; set SESSION_SECRET/
      ],
      hidden: 'a-word-of-ada'
    },
    {
      name: 'a secret that is short',
      config: word(`"session": { "secrets": ["${SHORT}"] }, "auth": { "session": true, ${users} }`),
      faults: [
        /^gateway\.json:1:28 session\.secrets\[0\]: expected a session secret of 32 characters or more, got 12;/
      ],
      hidden: SHORT
    },
    {
      name: 'a secret of the environment that is short',
      config: word(`"auth": { "session": true, ${users} }`),
      env: { SESSION_SECRET: SHORT },
      faults: [
        /^gateway\.json SESSION_SECRET in the environment: expected a session secret of 32 characters or more, got 12;/
      ],
      hidden: SHORT
    },
    {
      name: 'a secret in the place of a list',
      config: word(`"session": { "secrets": "${SHORT}" }`),
      faults: [/^gateway\.json:1:16 session\.secrets: expected a list.*, got a value that is not shown/],
      hidden: SHORT
    },
    {
      name: 'a secret from a variable in the wrong place',
      config: word('"rateLimit": { "max": "${LEAK}" }'),
      env: { LEAK: SHORT },
      faults: [/^gateway\.json:1:18 rateLimit\.max: expected a whole number.*, got "\$\{LEAK\}"/],
      hidden: SHORT
    },
    {
      name: 'a secret beside a comma that is missing',
      config: `{ "session": { "secrets": ["a" "${SHORT}"] }, "routes": [] }`,
      faults: [/^gateway\.json:1:32 This is not JSON: comma expected/],
      hidden: SHORT
    },
    {
      name: 'a password that was not hashed',
      config: word(
        `"auth": { "session": true, "users": { "list": [ { "name": "ada", "password": "${SHORT}" } ] } }`
      ),
      env: { SESSION_SECRET: SECRET },
      faults: [
        /auth\.users\.list\[0\]: expected an argon2id or scrypt hash as the password of "ada"; "sallyport hash" makes one$/
      ],
      hidden: SHORT
    },
    {
      name: 'a key that was not hashed',
      config: word(`"auth": { "apiKeys": { "list": [ { "id": "ada", "key": "${SHORT}" } ] } }`),
      faults: [
        /auth\.apiKeys\.list\[0\]: expected "sha256:" and 64 hex digits as the key of "ada"; "sallyport hash --key" prints them$/
      ],
      hidden: SHORT
    },
    {
      name: 'a way that is not defined',
      config: word(
        `"auth": { "apiKeys": { "list": [ { "id": "ada", "secret": "${SHORT}" } ] }, "by": ["session"] }`
      ),
      faults: [/auth\.by\[0\]: expected a strategy that is defined here \(apiKeys\), got "session"$/],
      hidden: SHORT
    }
  ]
  for (const each of cases) judged(t, { ...each, name: `${each.name} is refused` })
})

refused('several faults are told at once', [
  {
    name: 'all over a config and the files of it',
    config: {
      'gateway.json': `{
  "publicUrl": "ftp://x",
  "rateLimit": { "max": "\${MAX}", "window": 3 },
  "cros": true,
  "routes": [
    { "path": "b", "respond": { "bdy": 1 } },
    { "path": "/a", "proxy": { "upstream": "users", "rewrite": "x" } },
    { "path": "/c", "include": "c.json" },
    {}
  ]
}`,
      'c.json': '{ "routes": [\n  { "path": "/d", "respond": { "status": 99 } } ] }'
    },
    faults: [
      /^gateway\.json:2:3 publicUrl: expected .*, got "ftp:\/\/x"/,
      /^gateway\.json:3:18 rateLimit\.max: The environment variable MAX is not set/,
      /^gateway\.json:3:35 rateLimit\.window: expected .*, got 3/,
      /^gateway\.json:4:3 cros: Unknown option "cros"; did you mean "cors"\?$/,
      /^gateway\.json:6:7 routes\[0\]\.path: expected .*, got "b"/,
      /^gateway\.json:6:33 routes\[0\]\.respond\.bdy: Unknown option "bdy"; did you mean "body"\?$/,
      /^gateway\.json:7:32 routes\[1\]\.proxy\.upstream: No upstream "users"/,
      /^gateway\.json:7:53 routes\[1\]\.proxy\.rewrite: expected a path that begins with "\/".*, got "x"/,
      /^gateway\.json:9:5 routes\[3\]: The route has no target/,
      /^c\.json:2:32 routes\[0\]\.respond\.status: expected a whole number from 200 to 599.*, got 99/
    ]
  }
])

t.test('JSON may have comments, trailing commas and a byte order mark', async (t) => {
  const folder = t.testdir({
    'gateway.json': `\uFEFF// the smallest gateway
{
  /* all of
     it */
  "routes": [
    { "path": "/a", "respond": { "body": "// no comment", }, }, // the only one
  ],
}
`
  })
  const app = await gateway(t, `${folder}/gateway.json`)
  t.equal((await app.inject('/a')).body, '// no comment')
})

t.test('YAML says the same as JSON, and its faults have their places', async (t) => {
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

t.test('a module may be the config', async (t) => {
  const define = new URL('../../src/index.ts', import.meta.url).href
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

t.test('fills in values from outside', async (t) => {
  const cases: { name: string; body: string; env?: Env; is: string }[] = [
    { name: 'a variable', body: 'Hello, ${NAME}!', env: { NAME: 'ada' }, is: 'Hello, ada!' },
    { name: 'several variables', body: '${A}${B}-${A}', env: { A: '1', B: '2' }, is: '12-1' },
    { name: 'a fallback for a missing variable', body: '${NAME:-nobody}', is: 'nobody' },
    { name: 'a fallback for an empty variable', body: '${NAME:-nobody}', env: { NAME: '' }, is: 'nobody' },
    { name: 'an empty variable without a fallback', body: '<${NAME}>', env: { NAME: '' }, is: '<>' },
    { name: 'an empty fallback', body: '<${NAME:-}>', is: '<>' },
    { name: 'a fallback with the sign of a fallback', body: '${NAME:-a:-b}', is: 'a:-b' },
    { name: 'a variable over its fallback', body: '${NAME:-nobody}', env: { NAME: 'ada' }, is: 'ada' },
    { name: 'a file without its final newline', body: '<${file:secret.txt}>', is: '<two\nlines>' },
    { name: 'a file without its byte order mark', body: '<${file:marked.txt}>', is: '<one>' },
    { name: 'a literal sign', body: '$${{NAME}} and $5', env: { NAME: 'ada' }, is: '${NAME} and $5' },
    { name: 'no variable twice', body: '${NAME}', env: { NAME: '${OTHER}', OTHER: 'x' }, is: '${OTHER}' },
    { name: 'a number where a text is wanted', body: '${N}', env: { N: '007' }, is: '007' }
  ]
  for (const { name, body, env = {}, is } of cases)
    t.test(name, async (t) => {
      const folder = t.testdir({
        'gateway.json': JSON.stringify({ routes: [{ path: '/a', respond: { body } }] }),
        'secret.txt': 'two\nlines\n',
        'marked.txt': '\uFEFFone\r\n'
      })
      const app = await gateway(t, `${folder}/gateway.json`, { env })
      t.equal((await app.inject('/a')).body, is)
    })

  t.test(
    'what comes from outside is no template, wherever values of the request are filled in',
    async (t) => {
      const url = await upstream(t)
      const X = '{client.ip} {{x}} }{ {'
      const folder = t.testdir({
        'page.html': '<style>a{color:red}</style>{query.x}{{y}}',
        'gateway.json': JSON.stringify({
          upstreams: { own: { url } },
          routes: [
            { path: '/body', respond: { body: '${X}' } },
            { path: '/mixed', respond: { body: '${X}{query.q}${X}' } },
            { path: '/fallback', respond: { body: '${NONE:-x}{query.q}' } },
            { path: '/page', respond: { body: '${file:page.html}' } },
            { path: '/to', redirect: { to: '/at/${TO}' } },
            { path: '/old/*', redirect: { to: '/new-${TO}' } },
            {
              path: '/proxy/*',
              headers: { request: { 'x-set': '${X}{query.q}' }, response: { 'x-back': '${X}' } },
              query: { set: '${X}' },
              proxy: { upstream: 'own', rewrite: '/in/${TO}' }
            },
            { path: '/json', respond: { body: { a: '${X}', b: '{client.ip}' } } }
          ]
        })
      })
      const app = await gateway(t, `${folder}/gateway.json`, { env: { X, TO: '{client.ip}' } })
      const bodies: [path: string, body: string][] = [
        ['/body', X],
        ['/mixed?q=1', `${X}1${X}`],
        ['/fallback?q=1', 'x1'],
        ['/page?x=1', '<style>a{color:red}</style>{query.x}{{y}}'],
        ['/json', JSON.stringify({ a: X, b: '{client.ip}' })]
      ]
      for (const [path, body] of bodies) t.equal((await app.inject(path)).body, body, path)
      t.equal((await app.inject('/to')).headers.location, '/at/{client.ip}')
      t.equal((await app.inject('/old/a')).headers.location, '/new-{client.ip}/a')
      const { url: own } = await listening(t, `${folder}/gateway.json`, { env: { X, TO: '{client.ip}' } })
      const { text, headers } = await ask(`${own}/proxy/a?q=1`)
      const seen = JSON.parse(text) as Seen
      t.equal(seen.headers['x-set'], `${X}1`)
      t.equal(headers.get('x-back'), X)
      t.equal(new URL(seen.url, url).searchParams.get('set'), X)
      t.match(decodeURI(seen.url), /^\/in\/\{client\.ip\}\/a\?/)
    }
  )

  t.test('a text that is only a variable takes the type that its place wants', async (t) => {
    const config = {
      limits: { body: '${NONE}' },
      upstreams: { own: { url: '${URL}', connections: { max: '${MAX}' } } },
      routes: [
        {
          path: '/g',
          routes: [
            { path: '/*', rateLimit: { max: '${MAX}' }, proxy: { upstream: 'own', preserveHost: '${YES}' } }
          ]
        },
        { path: '/status', cors: '${NO}', respond: { status: '${STATUS}' } }
      ]
    }
    const url = await upstream(t)
    const env = { NONE: 'false', MAX: '7', YES: 'true', NO: 'false', STATUS: '202', URL: url }
    const { url: own } = await listening(t, config, { env })
    const { text, headers } = await ask(`${own}/g/x`, { method: 'POST', body: 'x'.repeat(2_000_000) })
    t.equal(headers.get('ratelimit-policy'), '"default";q=7;w=60')
    t.equal((JSON.parse(text) as Seen).headers['host'], new URL(own).host)
    t.equal((await ask(`${own}/status`)).status, 202)
  })

  const missing: Wrong[] = [
    {
      name: 'a missing variable',
      config: '{\n  "routes": [ { "path": "/a", "respond": { "body": "${NOPE}" } } ] }',
      faults: [
        'gateway.json:2:44 routes[0].respond.body: The environment variable NOPE is not set; set it, or write ${NOPE:-fallback}'
      ]
    },
    {
      name: 'a missing variable where its emptiness would not do either',
      config:
        '{ "upstreams": { "a": { "url": "${NOPE}" } }, "routes": [ { "path": "/a", "proxy": { "upstream": "${NOPE}" } } ] }',
      faults: [
        /upstreams\.a\.url: The environment variable NOPE is not set/,
        /routes\[0\]\.proxy\.upstream: The environment variable NOPE is not set/
      ]
    },
    {
      name: 'a missing file',
      config: '{ "routes": [ { "path": "/a", "respond": { "body": "${file:nope.txt}" } } ] }',
      faults: [/routes\[0\]\.respond\.body: There is no file nope\.txt$/]
    },
    {
      name: 'a name that is none',
      config: '{ "routes": [ { "path": "/a", "respond": { "body": "${my-name}" } } ] }',
      faults: [/routes\[0\]\.respond\.body: expected \$\{NAME\}, .*, got "\$\{my-name\}"$/]
    },
    {
      name: 'a brace that is never closed',
      config: '{ "routes": [ { "path": "/a", "respond": { "body": "${NAME" } } ] }',
      env: { NAME: 'ada' },
      faults: [/has an unclosed "\$\{"; "\$\$\{" is a literal "\$\{"$/]
    },
    {
      name: 'a variable of the wrong type',
      config: '{ "routes": [ { "path": "/a", "respond": { "status": "${S}" } } ] }',
      env: { S: 'ok' },
      faults: [/routes\[0\]\.respond\.status: expected a whole number.*, got "\$\{S\}"/]
    },
    {
      name: 'a number in parts',
      config: '{ "routes": [ { "path": "/a", "respond": { "status": "2${S}" } } ] }',
      env: { S: '00' },
      faults: [/routes\[0\]\.respond\.status: expected a whole number.*, got "2\$\{S\}"/]
    },
    {
      name: 'a variable as a key',
      config: '{ "${WORD}": {}, "routes": [] }',
      env: { WORD: 'limits' },
      faults: [/^gateway\.json:1:3 \["\$\{WORD\}"\]: Unknown option "\$\{WORD\}"/]
    }
  ]
  for (const each of missing) judged(t, { ...each, name: `but not ${each.name}` })
})

t.test("a user's own keys may stand wherever our words stand", async (t) => {
  const own = { 'x-note': { anything: ['${NOPE:-goes}'] } }
  const folder = t.testdir({
    'gateway.json': JSON.stringify({
      ...own,
      extensions: [{ module: './tenant.js', ...own }],
      upstreams: { shop: { ...own, targets: [{ url: 'http://127.0.0.1:9', ...own }], timeouts: { ...own } } },
      session: { ...own, cookie: { ...own } },
      auth: {
        ...own,
        session: true,
        users: { ...own, list: [{ name: 'ada', secret: 'a-word-of-ada', ...own }] }
      },
      rateLimit: { max: 1, ...own },
      proxy: { ...own },
      tenant: { ...own },
      routes: [
        { path: '/p', proxy: { upstream: 'shop', timeouts: { ...own }, ...own }, limits: { ...own }, ...own },
        { path: '/r', auth: false, respond: { body: 'hello', ...own } },
        { path: '/g', ...own, routes: [{ path: '/x', redirect: { to: '/', ...own } }] },
        { path: '/i', include: 'more.json', ...own }
      ]
    }),
    'more.json': JSON.stringify({ ...own, routes: [{ ...own, path: '/y', respond: {} }] }),
    'tenant.js': tenant
  })
  const app = await gateway(t, `${folder}/gateway.json`)
  t.equal((await app.inject('/r')).body, 'hello')
  t.same(
    await faultsOf(t, '{ "xnote": 1, "routes": [] }').then((found) => found.length),
    1,
    'the dash counts'
  )
})

/** What a limit says of itself on a path: how many requests in how many seconds. */
async function policy(t: Test, config: object, path: string): Promise<unknown> {
  const app = await gateway(t, config)
  return (await app.inject(path)).headers['ratelimit-policy']
}

t.test('words are merged from the root through groups to the route', async (t) => {
  const limit = (words: object, ...groups: object[]): GatewayConfig => {
    let route: object = { ...words, path: '/x', respond: { body: 'x' } }
    for (const group of groups.toReversed()) route = { ...group, routes: [route] }
    return { routes: [route] } as GatewayConfig
  }
  const root = { max: 9, window: '1h' }
  const cases: { name: string; config: object; is: string | undefined }[] = [
    { name: 'a silent route has what the root says', config: limit({}), is: 'q=9;w=3600' },
    { name: 'an object changes what it says', config: limit({ rateLimit: { max: 3 } }), is: 'q=3;w=3600' },
    {
      name: 'each group changes what it says',
      config: limit(
        { rateLimit: { max: 3 } },
        { rateLimit: { max: 4, window: '9m' } },
        { rateLimit: { window: '1s' } }
      ),
      is: 'q=3;w=1'
    },
    {
      name: 'a group without path or host is a policy',
      config: limit({}, { rateLimit: { max: 4 } }),
      is: 'q=4;w=3600'
    },
    { name: 'true is what is outside', config: limit({ rateLimit: true }), is: 'q=9;w=3600' },
    { name: 'false is off', config: limit({ rateLimit: false }), is: undefined },
    { name: 'false of a group is off', config: limit({}, { rateLimit: false }), is: undefined },
    {
      name: 'false forgets nothing: true',
      config: limit({ rateLimit: true }, { rateLimit: false }),
      is: 'q=9;w=3600'
    },
    {
      name: 'false forgets nothing: an object',
      config: limit({ rateLimit: { window: '2s' } }, { rateLimit: { max: 4 } }, { rateLimit: false }),
      is: 'q=4;w=2'
    },
    { name: 'false on an option unsets it', config: limit({ rateLimit: { window: false } }), is: 'q=9;w=60' },
    {
      name: 'an option may be unset in a group and said again',
      config: limit({ rateLimit: { max: 2 } }, { rateLimit: { max: false, window: false } }),
      is: 'q=2;w=60'
    },
    {
      name: 'global: false in a group leaves silent routes alone',
      config: limit({}, { rateLimit: { max: 4, global: false } }),
      is: undefined
    },
    {
      name: 'global: false in a group: true takes what the group says',
      config: limit({ rateLimit: true }, { rateLimit: { max: 4, global: false } }),
      is: 'q=4;w=3600'
    }
  ]
  for (const { name, config, is } of cases)
    t.test(name, async (t) => {
      t.equal(
        await policy(t, { ...config, rateLimit: root }, '/x'),
        is === undefined ? undefined : `"default";${is}`
      )
    })

  t.test('an option that was unset and is needed is missing', async (t) => {
    const [fault] = await faultsOf(
      t,
      JSON.stringify({ ...limit({ rateLimit: { max: false } }), rateLimit: root })
    )
    t.match(
      fault,
      /^gateway\.json:1:\d+ routes\[0\]\.rateLimit: expected "max" or "maxInFlight", got neither/
    )
  })

  t.test('global: false at the root leaves it to those that mention it', async (t) => {
    const app = await gateway(t, {
      rateLimit: { ...root, global: false },
      routes: [
        { path: '/silent', respond: {} },
        { path: '/asks', rateLimit: true, respond: {} },
        { path: '/changes', rateLimit: { max: 2 }, respond: {} }
      ]
    })
    const said = async (path: string): Promise<unknown> =>
      (await app.inject(path)).headers['ratelimit-policy']
    t.equal(await said('/silent'), undefined)
    t.equal(await said('/nowhere'), undefined)
    t.equal(await said('/asks'), '"default";q=9;w=3600')
    t.equal(await said('/changes'), '"default";q=2;w=3600')
  })

  t.test(
    "a word that only one route mentions is there for it alone, the root's for what is not found, too",
    async (t) => {
      const one = {
        routes: [
          { path: '/a', rateLimit: { max: 2 }, respond: {} },
          { path: '/b', respond: {} }
        ]
      }
      t.equal(await policy(t, one, '/a'), '"default";q=2;w=60')
      t.equal(await policy(t, one, '/b'), undefined)
      t.equal(await policy(t, one, '/c'), undefined)
      t.equal(await policy(t, { ...one, rateLimit: root }, '/c'), '"default";q=9;w=3600')
    }
  )

  t.test('objects merge by key, lists and scalars replace', async (t) => {
    const app = await gateway(t, {
      cors: { origins: ['https://a.b'], expose: ['x-one', 'x-two'] },
      headers: { response: { 'x-root': 'root', 'x-both': 'root', 'x-gone': 'root' } },
      routes: [
        {
          path: '/a',
          cors: { expose: ['x-three'] },
          headers: { response: { 'x-both': 'route', 'x-own': 'route', 'x-gone': false } },
          respond: {}
        }
      ]
    })
    const { headers } = await app.inject({ url: '/a', headers: { origin: 'https://a.b' } })
    t.match(headers, { 'x-root': 'root', 'x-both': 'route', 'x-own': 'route' })
    t.notHas(headers, 'x-gone')
    t.match(headers, {
      'access-control-allow-origin': 'https://a.b',
      'access-control-expose-headers': 'x-three'
    })
  })

  t.test('a group gives its path and host to all inside', async (t) => {
    const app = await gateway(t, {
      routes: [
        {
          path: ['/v1', '/v2'],
          host: 'api.b',
          routes: [
            { path: '/', respond: { body: 'top' } },
            { host: 'api.b', routes: [{ path: ['/x', '/y/*'], respond: { body: '{path}' } }] },
            { path: '/sub', routes: [{ respond: { body: 'sub' } }] }
          ]
        }
      ]
    })
    const get = async (url: string, host = 'api.b'): Promise<string> =>
      (await app.inject({ url, headers: { host, accept: 'text/plain' } })).body.split('\n', 1)[0] ?? ''
    for (const [path, body] of [
      ['/v1', 'top'],
      ['/v2/', 'top'],
      ['/v1/x', '/v1/x'],
      ['/v2/y/z', '/v2/y/z'],
      ['/v2/sub', 'sub'],
      ['/x', '404 Not Found']
    ] as const)
      t.equal(await get(path), body, path)
    t.equal(await get('/v1/x', 'web.b'), '404 Not Found')
  })

  t.test('the config is frozen', async (t) => {
    const plan = await loadConfig({ ...limit({ rateLimit: root }), rateLimit: root })
    const deep = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      (Object.isFrozen(value) && Object.values(value).every(deep))
    t.ok(deep(plan.options))
    t.ok(plan.routes.every(({ options, targetOptions }) => deep(options) && deep(targetOptions)))
  })
})

t.test('a limit counts where it is written', async (t) => {
  const limit = { max: 9, window: '1h' }
  const open = { respond: { body: 'x' } }
  const cases: {
    name: string
    config: object
    asks: readonly string[]
    left: readonly (number | undefined)[]
  }[] = [
    {
      name: "the root's is one count for all that inherit it, what is not found included",
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          { path: '/b', ...open },
          { path: '/c', rateLimit: true, ...open }
        ]
      },
      asks: ['/a', '/b', '/c', '/nowhere', '/a'],
      left: [8, 7, 6, 5, 4]
    },
    {
      name: "a route's own is its own",
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          { path: '/b', rateLimit: { max: 9 }, ...open }
        ]
      },
      asks: ['/a', '/b', '/b', '/a'],
      left: [8, 8, 7, 7]
    },
    {
      name: "a group's is one count for the group",
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          {
            path: '/g',
            rateLimit: { max: 5 },
            routes: [
              { path: '/x', ...open },
              { path: '/y', rateLimit: true, ...open },
              { path: '/z', rateLimit: { max: 3 }, ...open }
            ]
          },
          { path: '/h', rateLimit: { max: 5 }, routes: [{ path: '/x', ...open }] }
        ]
      },
      asks: ['/g/x', '/g/y', '/g/z', '/h/x', '/a'],
      left: [4, 3, 2, 4, 8]
    },
    {
      name: 'all paths of one entry are one count',
      config: { routes: [{ path: ['/a/*', '/b'], rateLimit: limit, ...open }] },
      asks: ['/a', '/a/', '/a/x', '/b', '/b/'],
      left: [8, 7, 6, 5, 4]
    },
    {
      name: '/a and /a/* of one entry are one count, by every method',
      config: { routes: [{ path: ['/a', '/a/*'], rateLimit: limit, ...open }] },
      asks: ['/a', 'POST /a', '/a/x', 'HEAD /a/y'],
      left: [8, 7, 6, 5]
    },
    {
      name: 'an object that says nothing of its own counts with what is outside',
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          { path: '/b', rateLimit: {}, ...open }
        ]
      },
      asks: ['/a', '/b'],
      left: [8, 7]
    },
    {
      name: 'off does not count',
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          { path: '/b', rateLimit: false, ...open }
        ]
      },
      asks: ['/a', '/b', '/a'],
      left: [8, undefined, 7]
    },
    {
      name: 'and refused requests count',
      config: { rateLimit: { max: 1, window: '1h' }, routes: [{ path: '/a', ...open }] },
      asks: ['/a', '/a', '/a'],
      left: [0, 0, 0]
    }
  ]
  for (const { name, config, asks, left } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, config)
      const found: (number | undefined)[] = []
      for (const each of asks) {
        const [url = '', method = 'GET'] = each.split(' ').toReversed()
        const said = (await app.inject({ url, method: method as 'GET' })).headers['ratelimit']
        found.push(said === undefined ? undefined : Number(/;r=(\d+);/.exec(String(said))?.[1]))
      }
      t.strictSame(found, left)
    })
})

t.test('refuses zero where it would mean nothing, or none', async (t) => {
  const route = (more: object): object => ({ routes: [{ path: '/a', respond: {}, ...more }] })
  const upstream = (more: object): object => ({ upstreams: { a: { url: 'http://a', ...more } }, routes: [] })
  const cases: [name: string, config: object, says: RegExp][] = [
    [
      'a window',
      { rateLimit: { max: 1, window: '0s' }, routes: [] },
      /rateLimit\.window: expected a duration such as .*, above zero.*, got "0s"/
    ],
    ['a window, in other words', { rateLimit: { max: 1, window: '00.0m' }, routes: [] }, /rateLimit\.window/],
    ['a window on a route', route({ rateLimit: { max: 1, window: '0ms' } }), /rateLimit\.window/],
    [
      'the window of a tier',
      { rateLimit: { max: 1, tiers: { a: { window: '0d' } } }, routes: [] },
      /tiers\.a\.window/
    ],
    [
      'the window of another limit',
      { rateLimit: { max: 1, also: { a: { max: 1, window: '0s' } } }, routes: [] },
      /also\.a\.window/
    ],
    [
      'the time of a request',
      route({ limits: { time: '0s' } }),
      /limits\.time: .*, above zero, or false for none/
    ],
    ['the time of headers', { limits: { headerTime: '0s' }, routes: [] }, /limits\.headerTime/],
    [
      'the pace of a body',
      route({ limits: { bodyRate: '0kb' } }),
      /limits\.bodyRate: .*a rate such as .*, above zero/
    ],
    ['the headers of a request', route({ limits: { headers: '0b' } }), /limits\.headers/],
    ['a URL', route({ limits: { url: '0b' } }), /limits\.url/],
    ['an idle connection', { limits: { idle: '0s' }, routes: [] }, /limits\.idle/],
    ['a connection to an upstream', upstream({ timeouts: { connect: '0s' } }), /timeouts\.connect/],
    ['the head of an answer', upstream({ timeouts: { headers: '0s' } }), /timeouts\.headers/],
    ['the time between health checks', upstream({ health: { every: '0s' } }), /health\.every/],
    ['the answer to a health check', upstream({ health: { timeout: '0s' } }), /health\.timeout/],
    ['an ejection', upstream({ eject: { for: '0s' } }), /eject\.for/],
    ['an open breaker', upstream({ breaker: { openFor: '0s' } }), /breaker\.openFor/],
    ['a session', { session: { idle: '0s' }, routes: [] }, /session\.idle/],
    ['the store', { store: { redis: 'redis://a', timeout: '0s' }, routes: [] }, /store\.timeout/],
    [
      'a WebSocket',
      { routes: [{ path: '/a', proxy: { upstream: 'http://a', websocket: { idle: '0s' } } }] },
      /websocket\.idle/
    ],
    [
      'API keys that nobody has',
      route({ auth: { apiKeys: {} } }),
      /auth\.apiKeys: expected "file" or "list" in "apiKeys", got neither/
    ],
    [
      'API keys read from somewhere',
      route({ auth: { apiKeys: { from: ['header:x-key'] } } }),
      /auth\.apiKeys: expected "file" or "list" in "apiKeys"/
    ],
    [
      'users that are none',
      route({ auth: { session: true, users: {} } }),
      /auth\.users: expected "file" or "list" in "users"/
    ]
  ]
  for (const [name, config, says] of cases)
    t.test(name, async (t) => {
      await t.rejects(loadConfig(config, { SESSION_SECRET: SECRET }), { message: says })
    })
  t.test('but takes it where it means something, and amounts below one', async (t) => {
    const taken = [
      { cors: { origins: ['https://a'], maxAge: '0s' }, routes: [] },
      { limits: { body: '0b' }, routes: [] },
      { rateLimit: { max: 1, window: '0.5s' }, routes: [] },
      { rateLimit: { max: 1, window: '10s' }, routes: [] },
      { rateLimit: { max: 1, window: '1.0s' }, routes: [] }
    ]
    for (const config of taken) await t.resolves(loadConfig(config, {}))
  })
})
