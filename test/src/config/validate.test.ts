// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import t from 'tap'
import { loadConfig } from '../../../src/index.ts'
import { gateway, SECRET } from '../../helpers.ts'
import { faultsOf, oneLine, rejects, rootConfig, routeConfig, tenant } from './helpers.ts'

rejects(
  'suggests what would work',
  oneLine([
    [
      rootConfig('"responseTime": "true"'),
      'responseTime: expected true, false or an object such as { "serverTiming": true }, got "true"; true without quotes would work'
    ],
    [
      rootConfig('"cors": "*"'),
      'cors: expected true, false or an object such as { "origins": ["*"] }, got "*"'
    ],
    [
      rootConfig('"cors": { "origins": "*" }'),
      'cors.origins: expected a list or false, got "*"; ["*"] would work'
    ],
    [
      rootConfig('"store": "redis://u:pw@h"'),
      'store: expected true, false or an object such as { "redis": "redis://***@h" }, got "redis://***@h"'
    ],
    [
      rootConfig('"upstreams": { "a": "http://h" }'),
      'upstreams.a: expected an object such as { "url": "http://h" }, got "http://h"'
    ],
    [
      rootConfig('"upstreams": "http://h"'),
      'upstreams: expected an object such as { "name": { "url": "http://h" } }, got "http://h"'
    ],
    [
      rootConfig('"tls": { "certificates": { "cert": "a", "key": "b" } }'),
      'tls.certificates: expected a list of one or more or false, got {"cert":"a","key":"b"}; "[" and "]" around it would work'
    ],
    [
      rootConfig('"rateLimit": { "max": "5" }'),
      'rateLimit.max: expected a whole number from 1 on or false, got "5"; 5 without quotes would work'
    ],
    [
      rootConfig('"headers": { "response": { "set": { "x-a": "1" } } }'),
      'headers.response.set.x-a: Unknown option "x-a"; known here: set, add, default, remove, on'
    ],
    [
      rootConfig('"upstreams": { "my orders": { "url": "http://h" } }'),
      'upstreams["my orders"]: expected a name that matches ^[\\w.-]+$, got "my orders"; "my-orders" would work'
    ],
    [
      rootConfig('"auth": { "forward": { "upstream": "sso" } }'),
      'auth.forward.upstream: No upstream "sso"; the config has none: add it to "upstreams", or use a URL such as "http://localhost:4001"'
    ],
    [
      rootConfig('"publicUrl": "example.com"'),
      'publicUrl: expected an origin such as "https://api.example.com", got "example.com"'
    ],
    [
      rootConfig('"publicUrl": "https://example.com:99999"'),
      'publicUrl: expected an origin such as "https://api.example.com", got "https://example.com:99999"'
    ],
    ['{ "routes": { "path": "/a" } }', 'routes: expected a list of routes, got {"path":"/a"}'],
    [
      routeConfig('"proxy": "http://h"'),
      'routes[0].proxy: expected an object such as { "upstream": "http://h" }, got "http://h"'
    ],
    [
      routeConfig('"respond": "hello"'),
      'routes[0].respond: expected an object such as { "body": "hello" }, got "hello"'
    ],
    [
      routeConfig('"proxy": { "split": { "a": 1 } }'),
      'routes[0].proxy.split: expected a list of one or more or false, got {"a":1}; "[" and "]" around it would work'
    ],
    [
      rootConfig('"rateLimit": { "max": 1, "also": { "Day": "" } }'),
      'rateLimit.also.Day: expected a name that matches ^[a-z][a-zA-Z0-9_-]*$, got "Day"; "day" would work'
    ],
    [
      routeConfig('"redirect": "/b"'),
      'routes[0].redirect: expected an object such as { "to": "/b" }, got "/b"'
    ],
    [
      routeConfig('"files": "dist"'),
      'routes[0].files: expected an object such as { "root": "dist" }, got "dist"'
    ],
    [
      routeConfig('"methods": "GET", "respond": {}'),
      'routes[0].methods: expected a list, got "GET"; ["GET"] would work'
    ],
    [
      routeConfig('"methods": ["ALL"], "respond": {}'),
      'routes[0].methods[0]: expected a method such as "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" or "OPTIONS" (leave "methods" out for all), got "ALL"'
    ]
  ])
)

rejects('rejects a value of the wrong type with what is expected', [
  {
    name: 'a duration without a unit',
    config: rootConfig('"rateLimit": { "max": 1, "window": 5 }'),
    faults: [
      'gateway.json:1:28 rateLimit.window: expected a duration such as "800ms", "30s", "5m", "12h" or "7d", above zero or false, got 5'
    ]
  },
  {
    name: 'a duration with a space',
    config: rootConfig('"session": { "idle": "5 m" }'),
    faults: [/session\.idle: expected a duration such as "800ms".*, got "5 m"/]
  },
  {
    name: 'a duration with two units',
    config: rootConfig('"limits": { "time": "1m30s" }'),
    faults: [/limits\.time: expected a duration .*, or false for none, got "1m30s"$/]
  },
  {
    name: 'a size without a unit',
    config: rootConfig('"limits": { "body": 1024 }'),
    faults: [
      'gateway.json:1:15 limits.body: expected a size such as "64kb" or "1mb", or false for none, got 1024'
    ]
  },
  {
    name: 'a size with an unsupported unit',
    config: rootConfig('"limits": { "body": "1MiB" }'),
    faults: [/limits\.body: expected a size such as "64kb" or "1mb".*, got "1MiB"/]
  },
  {
    name: 'a string for a number',
    config: rootConfig('"rateLimit": { "max": "many" }'),
    faults: ['gateway.json:1:18 rateLimit.max: expected a whole number from 1 on or false, got "many"']
  },
  {
    name: 'a fraction for a whole number',
    config: rootConfig('"rateLimit": { "max": 1.5 }'),
    faults: [/rateLimit\.max: expected a whole number from 1 on.*, got 1\.5/]
  },
  {
    name: 'a number below the minimum',
    config: rootConfig('"rateLimit": { "max": 0 }'),
    faults: [/rateLimit\.max: expected a whole number from 1 on.*, got 0/]
  },
  {
    name: 'a string for a boolean',
    config: rootConfig('"cors": { "origins": [], "credentials": "yes" }'),
    faults: ['gateway.json:1:28 cors.credentials: expected true or false, got "yes"']
  },
  {
    name: 'a number for an object',
    config: rootConfig('"rateLimit": 100'),
    faults: ['gateway.json:1:3 rateLimit: expected true, false or an object such as { "max": 100 }, got 100']
  },
  {
    name: 'null for an object',
    config: rootConfig('"rateLimit": null'),
    faults: [/^gateway\.json:1:3 rateLimit: expected true, false or an object such as \{ .*\}, got null$/]
  },
  {
    name: 'a list for an object',
    config: rootConfig('"cors": ["*"]'),
    faults: [
      'gateway.json:1:3 cors: expected true, false or an object such as { "origins": ["*"] }, got ["*"]'
    ]
  },
  {
    name: 'a value that is not in the list of choices',
    config: rootConfig('"paths": { "doubleSlash": "fold" }'),
    faults: ['gateway.json:1:14 paths.doubleSlash: expected "keep", "reject", "merge" or false, got "fold"']
  },
  {
    name: 'a misspelled choice',
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
    config: rootConfig('"rateLimit": {}'),
    faults: [/^gateway\.json:1:3 rateLimit: expected "max" or "maxInFlight", got neither/]
  },
  {
    name: 'a missing option where the value is only true',
    config: rootConfig('"rateLimit": true'),
    faults: [/^gateway\.json:1:3 rateLimit: expected "max" or "maxInFlight", got neither/]
  },
  {
    name: 'a missing option with global: false, where a route has the option',
    config:
      '{ "rateLimit": { "global": false }, "routes": [ { "path": "/a", "rateLimit": true, "respond": {} } ] }',
    faults: [/rateLimit: expected "max" or "maxInFlight", got neither/]
  },
  {
    name: 'invalid addresses in trustedProxies',
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
    name: 'cors with credentials for every origin',
    config: rootConfig('"cors": { "origins": ["*"], "credentials": true }'),
    faults: [/^gateway\.json:1:31 cors\.credentials: expected named origins beside "credentials", got "\*"/]
  },
  {
    name: 'cors with credentials for every origin, merged from root and route',
    config: `{ "cors": { "origins": ["*"] }, "routes": [\n{ "path": "/a", "respond": {}, "cors": { "credentials": true } } ] }`,
    faults: [
      /^gateway\.json:2:42 routes\[0\]\.cors\.credentials: expected named origins beside "credentials", got "\*"/
    ]
  }
])

t.test('rejects zero where it is meaningless, and empty lists of users', async (t) => {
  const route = (more: object): object => ({ routes: [{ path: '/a', respond: {}, ...more }] })
  const upstream = (more: object): object => ({ upstreams: { a: { url: 'http://a', ...more } }, routes: [] })
  const cases: [name: string, config: object, says: RegExp][] = [
    [
      'a window',
      { rateLimit: { max: 1, window: '0s' }, routes: [] },
      /rateLimit\.window: expected a duration such as .*, above zero.*, got "0s"/
    ],
    [
      'a window, written differently',
      { rateLimit: { max: 1, window: '00.0m' }, routes: [] },
      /rateLimit\.window/
    ],
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
      'API keys without entries',
      route({ auth: { apiKeys: {} } }),
      /auth\.apiKeys: expected "file" or "list" in "apiKeys", got neither/
    ],
    [
      'API keys with only a place to read them from',
      route({ auth: { apiKeys: { from: ['header:x-key'] } } }),
      /auth\.apiKeys: expected "file" or "list" in "apiKeys"/
    ],
    [
      'users without entries',
      route({ auth: { session: true, users: {} } }),
      /auth\.users: expected "file" or "list" in "users"/
    ]
  ]
  for (const [name, config, says] of cases)
    t.test(name, async (t) => {
      await t.rejects(loadConfig(config, { SESSION_SECRET: SECRET }), { message: says })
    })
  t.test('accepts zero where it has a meaning, and fractions', async (t) => {
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

rejects('reports all errors in the order of their positions', [
  {
    name: 'a missing option beside an unknown one, and files that are not there',
    config: {
      'gateway.json': `{
  "errors": { "pages": { "404": "pages/nope.html" } },
  "auth": { "apiKeys": { "form": [] }, "jwt": {} },
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
      /^gateway\.json:3:40 auth\.jwt: expected one of "jwks", "keys" and "secret", got none; with an "issuer"/,
      'gateway.json:5:21 routes[0].include: There is no file teams/b.json, which gateway.json includes',
      /^gateway\.json:6:34 routes\[1\]\.respond\.status: expected a whole number from 200 to 599.*, got 99$/,
      /^gateway\.json:8:18 rateLimit\.max: /
    ]
  }
])

rejects('reports errors of several files at once', [
  {
    name: 'in a config and an included file',
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

t.test('accepts keys that begin with "x-" in every object', async (t) => {
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
        users: { ...own, list: [{ name: 'ada', secret: 'the password of ada', ...own }] }
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

t.test('refuses unknown options that are false, too', async (t) => {
  const r = { path: '/', respond: { body: 'x' } }
  const p = (proxy: object) => ({
    routes: [{ path: '/', proxy: { upstream: 'http://localhost:1', ...proxy } }]
  })
  const cases: [string, object][] = [
    ['root', { cros: false, routes: [] }],
    ['route', { routes: [{ ...r, cros: false }] }],
    ['group', { routes: [{ path: '/a', cros: false, routes: [r] }] }],
    ['concern', { rateLimit: { max: 1, windw: false }, routes: [r] }],
    ['route concern', { routes: [{ ...r, rateLimit: { max: 1, windw: false } }] }],
    ['nested', { securityHeaders: { hsts: { foo: false } }, routes: [r] }],
    ['proxy', p({ foo: false })],
    ['proxy nested', p({ retry: { foo: false } })],
    ['root proxy', { proxy: { foo: false }, routes: [r] }],
    ['split part', { routes: [{ path: '/', proxy: { split: [{ upstream: 'http://a', foo: false }] } }] }],
    ['upstream', { upstreams: { a: { url: 'http://a', foo: false } }, routes: [r] }],
    ['upstream nested', { upstreams: { a: { url: 'http://a', health: { foo: false } } }, routes: [r] }],
    ['target', { upstreams: { a: { targets: [{ url: 'http://a', foo: false }] } }, routes: [r] }],
    [
      'leg',
      { routes: [{ path: '/', aggregate: { legs: { a: { upstream: 'http://a', path: '/', foo: false } } } }] }
    ],
    ['auth', { auth: { apiKeys: { list: [], foo: false } }, routes: [r] }],
    ['jwt', { auth: { jwt: { issuer: 'https://a', keys: 'a', foo: false } }, routes: [r] }],
    ['tls', { tls: { foo: false, certificates: [] }, routes: [r] }],
    ['rate also', { rateLimit: { max: 1, also: { d: { max: 1, foo: false } } }, routes: [r] }],
    ['when', { routes: [{ ...r, when: { foo: false } }] }],
    ['extensions', { extensions: [{ module: 'x', foo: false }], routes: [r] }],
    ['respond', { routes: [{ path: '/', respond: { foo: false } }] }],
    ['transform', { transform: { response: { foo: false } }, routes: [r] }],
    ['errors pages', { errors: { pages: { foo: false } }, routes: [r] }],
    ['headers', { headers: { respons: false }, routes: [r] }]
  ]
  for (const [name, config] of cases)
    await t.rejects(
      loadConfig(config, { SESSION_SECRET: SECRET }),
      { message: /foo|cros|windw|respons/ },
      name
    )
})
