import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import t from 'tap'
import type { TSchema } from 'typebox'
import { catalog } from '../../../src/gateway/catalog.ts'
import type { Concern, Target } from '../../../src/kit/concern.ts'
import { isObject, schemaOf } from '../../../src/lib/schema.ts'
import { authority } from '../../certificates.ts'
import { type Config, diff } from './diffs.ts'

// Each option of each concern and target is compared, or its module says why a change of it changes no request.
// OPTIONS_TABLE=1 prints what diff says of each.

const UPSTREAM = 'http://127.0.0.1:4001'
const OTHER = 'http://127.0.0.1:4002'
const key = (digit: string): string => `sha256:${digit.repeat(64)}`
const list = [{ id: 'partner', key: key('0') }]
const users = { list: [{ name: 'ada', secret: 'correct horse battery staple' }] }
const jwt = {
  issuer: 'https://login.example.com',
  audience: 'api',
  secret: 'a'.repeat(32),
  algorithms: ['HS256']
}
const oidc = {
  issuer: 'https://login.example.com',
  clientId: 'shop',
  clientSecret: 'the secret of the shop',
  scopes: ['openid']
}
const endpoints = {
  authorization: 'https://login.example.com/authorize',
  token: 'https://login.example.com/token',
  jwks: 'https://login.example.com/keys'
}

const folder = t.testdir({
  'one.txt': '192.0.2.1',
  'two.txt': '192.0.2.2',
  a: { 'index.html': '' },
  b: { x: '' }
})
const file = (name: string): string => `${folder}/${name}`
const written = (name: string, content: unknown): string => {
  writeFileSync(file(name), JSON.stringify(content))
  return file(name)
}
const [ours, theirs] = [authority(t), authority(t)].map((each) => {
  const { certFile: cert, keyFile } = each.issue('/CN=localhost', 'DNS:localhost')
  return { ca: each.certFile, cert, key: keyFile }
}) as [Record<'ca' | 'cert' | 'key', string>, Record<'ca' | 'cert' | 'key', string>]
const { ca: _ca, ...ourCertificate } = ours
const { ca: _otherCa, ...theirCertificate } = theirs

/** Options before and after, and what else the route and the root have. */
type Pair = readonly [before: unknown, after: unknown, route?: Config, root?: Config]

const quota = (max: number, window: string, by: string): Config => ({ max, window, by })
const tls = { certificates: [ourCertificate], clientCertificates: { ca: ours.ca, required: false } }
const publicKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' })
const publicKeys = { ...jwt, secret: undefined, algorithms: ['RS256'] }
const shape = (name: string): Config => ({
  omit: [name],
  rename: { [name]: 'x' },
  set: { y: name },
  remove: [name]
})
const requirement = (role: string): Config => ({
  roles: [role],
  scopes: [role],
  claims: { org: role }
})

const PAIRS: Readonly<Record<string, readonly Pair[]>> = {
  errors: [
    [
      {},
      { format: 'text', pages: { '404': written('page.html', '<h1>') }, bodies: { '404': { text: 'gone' } } }
    ]
  ],
  requestId: [[{}, { header: 'x-id', trust: true }]],
  tracing: [
    [
      {},
      {
        endpoint: 'http://otel:4318',
        headers: { a: 'b' },
        service: 'shop',
        sample: '1%',
        errors: true,
        restart: true,
        propagate: ['b3']
      }
    ]
  ],
  accessLog: [[{}, { headers: ['referer'], redact: ['cookie'], sample: '1%' }]],
  metrics: [[{}, { buckets: ['1ms'] }]],
  responseTime: [[{}, { serverTiming: false }]],
  paths: [
    [
      {},
      { mode: 'report', encodedSlash: 'reject', doubleSlash: 'merge', ignoreCase: true, ambiguous: 'keep' }
    ]
  ],
  overload: [
    [
      {},
      { eventLoopDelay: '1s', maxInFlight: 1, maxConnections: 1, buffers: '1mb', priority: 'critical' },
      {},
      {}
    ]
  ],
  securityHeaders: [
    [
      {},
      {
        preset: 'strict',
        hsts: { maxAge: '1d', subdomains: true, preload: true },
        csp: "default-src 'self'",
        frame: 'deny',
        referrer: 'no-referrer',
        permissions: false,
        remove: []
      }
    ]
  ],
  cors: [
    [
      { origins: ['https://a.example'], methods: ['GET'], headers: ['a'] },
      {
        origins: ['https://b.example'],
        credentials: true,
        methods: ['PUT'],
        headers: ['b'],
        expose: ['c'],
        maxAge: '1s'
      }
    ]
  ],
  store: [
    [{ redis: 'redis://a' }, { redis: 'redis://b', prefix: 'shop:', timeout: '1s' }],
    [{ cluster: ['redis://a', 'redis://b'] }, { cluster: ['redis://c'] }],
    [
      { redis: 'rediss://a', tls: {} },
      { redis: 'rediss://a', tls: { ...ours, serverName: 'b', verify: false } }
    ],
    [
      { sentinel: { name: 'a', nodes: ['redis://a'] } },
      { sentinel: { name: 'b', nodes: ['redis://b'], username: 'u', password: 'p', db: 1 } }
    ]
  ],
  tls: [
    [
      { certificates: [ourCertificate], clientCertificates: { ca: ours.ca } },
      {
        certificates: [theirCertificate],
        redirectFrom: 8080,
        minVersion: 'TLSv1.3',
        http2: false,
        clientCertificates: { ca: theirs.ca, required: false }
      }
    ]
  ],
  upstreams: [
    [{ url: UPSTREAM }, { url: OTHER }],
    [
      { targets: [UPSTREAM, OTHER] },
      {
        targets: [UPSTREAM, { url: OTHER, weight: 2 }],
        balance: 'leastRequests',
        hashOn: 'caller',
        sticky: { cookie: 'c', maxAge: '1h', secret: 'a'.repeat(32) },
        slowStart: '30s',
        health: {
          path: '/up',
          port: 81,
          every: '1s',
          timeout: '1s',
          status: [200],
          host: 'h',
          healthyAfter: 1,
          unhealthyAfter: 1
        },
        eject: { failures: 1, for: '1s', max: '1%', panic: '1%' },
        breaker: { failures: '1%', of: 1, within: '1s', openFor: '1s' },
        timeout: '1s',
        timeouts: { connect: '1s', headers: '500ms', body: '1s', keepAlive: '1s' },
        connections: { max: 1, pending: 1 },
        maxHeaders: '1kb',
        exactPaths: true,
        http2: true
      }
    ],
    [
      { url: 'https://a.example' },
      { url: 'https://a.example', tls: { ...ours, serverName: 'b', verify: false } }
    ],
    [{ url: UPSTREAM }, { url: UPSTREAM, host: 'minio' }],
    [
      { discover: { dns: 'a.internal', port: 80 } },
      { discover: { dns: 'b.internal', port: 81, scheme: 'https', every: '1s', server: '127.0.0.1:53' } }
    ],
    [{ discover: { dns: 'a.internal', port: 80 } }, { discover: { srv: '_http._tcp.a.internal' } }]
  ],
  openapi: [
    [
      {},
      {
        info: { title: 'Shop', version: '2', description: 'd' },
        summary: 's',
        description: 'd',
        tags: ['a'],
        deprecated: true
      }
    ]
  ],
  session: [
    [
      { secrets: ['a'.repeat(32)] },
      {
        secrets: ['b'.repeat(32)],
        cookie: { name: 'shop', sameSite: 'strict' },
        idle: '1h',
        absolute: '1h',
        routes: { login: '/a', logout: '/b', who: '/c', callback: '/d' }
      },
      { auth: { session: true, users } }
    ]
  ],
  slash: [[{ form: 'strip' }, { form: 'add' }]],
  maintenance: [
    [{ on: true }, { on: true, allow: ['192.0.2.1'], retryAfter: '1s' }],
    [{ on: true }, { on: false }]
  ],
  limits: [
    [
      {},
      {
        body: '1kb',
        headers: '1kb',
        headerCount: 10,
        url: '1kb',
        time: '1s',
        headerTime: '1s',
        bodyRate: '1b/s',
        responseRate: '1b/s',
        idle: '1s'
      },
      {}
    ]
  ],
  ipAccess: [
    [{ allow: ['10.0.0.0/8'] }, { allow: ['10.0.0.0/9'] }],
    [{ deny: ['10.0.0.0/8'] }, { deny: ['10.0.0.0/9'] }],
    [{ file: file('one.txt') }, { file: file('two.txt') }]
  ],
  rateLimit: [
    [{ max: 10 }, { max: 20, window: '1s', by: 'route', algorithm: 'tokenBucket', burst: 5 }],
    [{ max: 10 }, { max: 20 }],
    [
      { max: 10 },
      {
        max: 10,
        maxInFlight: 1,
        cost: 2,
        count: [401],
        tiers: { gold: { max: 100 } },
        also: { day: quota(50, '1d', 'ip') },
        exempt: ['203.0.113.0/24'],
        onStoreFailure: 'deny'
      }
    ]
  ],
  ask: [
    [
      { upstream: UPSTREAM },
      { upstream: OTHER, path: '/a', timeout: '2s', headers: { a: 'b' }, onFailure: 'allow' }
    ]
  ],
  auth: [
    [{ apiKeys: { list } }, { apiKeys: { list: [{ id: 'a', key: key('1') }], from: ['query:key'] } }],
    [{ apiKeys: { file: written('one.json', list) } }, { apiKeys: { file: written('two.json', []) } }],
    [
      { session: true, users },
      { basic: true, users }
    ],
    [
      { session: true, users },
      { session: true, users: { list: [{ name: 'eve', secret: 'another long password' }] } }
    ],
    [
      { session: true, users: { file: written('users.json', users.list) } },
      { session: true, users: { file: written('none.json', []) } }
    ],
    [
      { session: true, oidc: { ...oidc, endpoints } },
      {
        session: true,
        oidc: {
          issuer: 'https://b.example',
          upstream: UPSTREAM,
          clientId: 'b',
          clientSecret: 'another secret',
          clientAuth: 'client_secret_post',
          scopes: ['openid', 'email'],
          rolesClaim: 'a',
          scopesClaim: 'b',
          params: { prompt: 'login' },
          endpoints: Object.fromEntries(
            ['authorization', 'token', 'userinfo', 'jwks', 'endSession'].map((name) => [
              name,
              'https://b.example/'
            ])
          )
        }
      }
    ],
    [
      { jwt },
      {
        jwt: {
          issuer: 'https://b.example',
          audience: 'b',
          resource: true,
          secret: 'b'.repeat(64),
          algorithms: ['HS384'],
          rolesClaim: 'a',
          scopesClaim: 'b',
          from: ['header:x-token'],
          leeway: '5m'
        }
      }
    ],
    [
      { jwt: { ...publicKeys, jwks: 'https://a.example/keys' } },
      { jwt: { ...publicKeys, jwks: 'https://b.example/keys' } }
    ],
    [
      { jwt: { ...publicKeys, jwks: { upstream: UPSTREAM, path: '/a' } } },
      { jwt: { ...publicKeys, jwks: { upstream: OTHER, path: '/b' } } }
    ],
    [
      { jwt: { ...publicKeys, keys: written('one.jwks', { keys: [publicKey] }) } },
      { jwt: { ...publicKeys, keys: written('two.jwks', { keys: [publicKey, publicKey] }) } }
    ],
    [
      { forward: { upstream: UPSTREAM } },
      {
        forward: {
          upstream: OTHER,
          path: '/a',
          timeout: '2s',
          headers: { a: 'b' },
          signIn: '/b?rd=',
          copy: ['x-a'],
          copyBack: ['x-b'],
          caller: { id: 'x-user', name: 'x-n', email: 'x-m', roles: 'x-r', scopes: 'x-s' }
        }
      }
    ],
    [
      { apiKeys: { list }, jwt, by: ['jwt'] },
      {
        apiKeys: { list },
        jwt,
        by: ['jwt', 'apiKeys'],
        challenge: 'status',
        passOn: ['jwt'],
        assertion: { header: 'x-a', key: ours.key, ttl: '1s', audience: 'b' },
        identity: { 'x-user-id': 'id' }
      }
    ],
    [{ apiKeys: { list } }, { apiKeys: { list }, optional: true }],
    [{ apiKeys: { list } }, { apiKeys: { list }, exempt: ['192.0.2.1'] }],
    [
      { apiKeys: { list }, require: requirement('a') },
      { apiKeys: { list }, require: requirement('b') }
    ],
    ...(
      [
        ['apiKeys', 'jwt', { apiKeys: { list }, jwt }],
        ['session', 'forward', { session: true, users, forward: { upstream: UPSTREAM } }],
        ['basic', 'clientCertificate', { basic: true, users, clientCertificate: true }]
      ] as const
    ).map(([one, other, strategies]): Pair => {
      const options = (role: string): Config => ({
        ...strategies,
        by: [`${one}+${other}`],
        require: { [one]: requirement(role), [other]: requirement(role) }
      })
      return [options('a'), options('b'), {}, { tls }]
    }),
    [{ basic: true, users }, { clientCertificate: true }, {}, { tls }]
  ],
  csrf: [[{}, { origins: ['https://a.example'] }, { auth: { session: true, users } }]],
  format: [
    [{ from: 'xml' }, { from: 'csv' }],
    [
      { from: 'xml' },
      {
        from: 'xml',
        to: ['json', 'xml'],
        lists: ['a.b'],
        schema: { properties: { a: { type: 'integer' } } },
        namespaces: 'keep',
        root: 'shop',
        maxBody: '1kb'
      }
    ]
  ],
  transform: [
    [
      { request: shape('a'), response: shape('a') },
      { request: shape('b'), response: shape('b'), otherwise: 'reject', maxBody: '1kb' }
    ],
    [
      { request: { query: 'a' }, response: { query: 'a' } },
      {
        request: { query: 'b', otherwise: 'reject', maxBody: '1kb' },
        response: { query: 'b', otherwise: 'reject', maxBody: '1kb' }
      }
    ],
    [
      { request: { pick: ['a'] }, response: { pick: ['a'] } },
      { request: { pick: ['b'] }, response: { pick: ['b'] } }
    ]
  ],
  validate: [
    [
      Object.fromEntries(['params', 'query', 'headers', 'body'].map((name) => [name, { type: 'object' }])),
      Object.fromEntries(
        ['params', 'query', 'headers', 'body'].map((name) => [name, { type: 'object', required: ['a'] }])
      )
    ],
    [{ query: {} }, { query: {}, unknown: { query: 'reject' }, maxBody: '1kb' }],
    [
      {
        openapi: written('one.openapi.json', {
          openapi: '3.1.0',
          info: { title: 'a', version: '1' },
          paths: { '/a': { get: {} } }
        })
      },
      {
        openapi: written('two.openapi.json', {
          openapi: '3.1.0',
          info: { title: 'b', version: '1' },
          servers: [{ url: '/v1' }],
          paths: { '/a': { get: {} } }
        }),
        servers: true,
        base: '/v2',
        response: { sample: '10%' },
        undeclared: 'reject'
      }
    ]
  ],
  headers: [[{}, { request: { a: 'b' }, underscores: 'keep', response: { c: 'd' }, only: ['accept'] }]],
  query: [[{ a: 'b' }, { a: 'c' }]],
  cache: [
    [
      { ttl: '1m' },
      {
        ttl: '2m',
        override: '1m',
        maxTtl: '5m',
        notFound: '1s',
        vary: ['accept'],
        ignoreQuery: ['a'],
        callers: 'shared',
        setCookie: 'strip',
        coalesce: false,
        staleWhileRevalidate: '1s',
        staleIfError: '1s',
        tags: ['a'],
        requestDirectives: true,
        maxEntry: '1kb'
      }
    ]
  ],
  fault: [[{ status: 503 }, { status: 500, delay: '1s', share: '50%' }]],
  compress: [
    [
      {},
      {
        encodings: ['gzip'],
        levels: { zstd: 1, br: 1, gzip: 1 },
        minSize: '2kb',
        types: ['text/html'],
        streams: true
      }
    ]
  ],
  proxy: [
    [{ upstream: UPSTREAM }, { upstream: OTHER }],
    [
      {
        split: [
          { upstream: UPSTREAM, share: '50%' },
          { upstream: OTHER, share: '50%' }
        ]
      },
      {
        split: [
          { upstream: UPSTREAM, share: '60%' },
          { upstream: OTHER, share: '40%' }
        ]
      }
    ],
    [{ upstream: UPSTREAM }, { upstream: UPSTREAM, rewrite: '/a' }],
    [{ upstream: UPSTREAM }, { upstream: UPSTREAM, preserveHost: true }],
    [
      { upstream: UPSTREAM, mirror: { upstream: OTHER } },
      { upstream: UPSTREAM, mirror: { upstream: UPSTREAM } }
    ],
    [
      { upstream: UPSTREAM, mirror: { upstream: OTHER } },
      {
        upstream: UPSTREAM,
        mirror: { upstream: OTHER, share: '10%', max: 1, maxBody: '1kb' },
        rewriteBack: false,
        websocket: { origins: ['https://a.example'], idle: '1h', lifetime: '1h', closeTimeout: '1s' },
        timeout: '5s',
        timeouts: { headers: '1s', body: '1s' },
        retry: {
          attempts: 3,
          on: [503],
          methods: ['POST'],
          wait: '1s',
          budget: '1%',
          backoff: '1ms',
          maxBody: '1kb'
        },
        hedge: { after: '1s' },
        fallback: { on: ['404'], status: 500, headers: { a: 'b' }, body: 'c' }
      }
    ],
    [
      {
        split: [
          { upstream: UPSTREAM, share: '50%' },
          { upstream: OTHER, share: '50%' }
        ]
      },
      {
        split: [
          { upstream: UPSTREAM, share: '50%' },
          { upstream: OTHER, share: '50%' }
        ],
        sticky: { cookie: 'c', maxAge: '1h' }
      }
    ],
    [
      { upstream: UPSTREAM, files: { root: file('a') } },
      { upstream: UPSTREAM, files: { root: file('b') } }
    ],
    [
      { upstream: UPSTREAM, files: { root: file('a') } },
      { upstream: UPSTREAM, files: { root: file('a'), maxAge: '1h' } }
    ],
    [
      { upstream: UPSTREAM, files: { root: file('a') } },
      { upstream: UPSTREAM, files: { root: file('a'), cleanUrls: true } }
    ]
  ],
  aggregate: [
    [
      { legs: { a: { upstream: UPSTREAM, path: '/a' } } },
      {
        legs: { a: { upstream: UPSTREAM, path: '/a', omit: ['b'] } },
        body: { a: '{legs.a}' },
        partial: 'body',
        format: { to: ['json', 'xml'], root: 'answer' },
        maxTotal: '1mb'
      }
    ],
    [
      { legs: { a: { upstream: UPSTREAM, path: '/a' }, b: { upstream: UPSTREAM, path: '/b' } } },
      {
        legs: { a: { upstream: UPSTREAM, path: '/a' }, b: { upstream: UPSTREAM, path: '/b' } },
        merge: ['a', 'b']
      }
    ]
  ],
  redirect: [[{ to: '/a' }, { to: '/b', status: 302, rest: false, query: false }]],
  respond: [[{}, { status: 201, headers: { a: 'b' }, body: 'c' }]],
  files: [
    [{ root: file('a') }, { root: file('b') }],
    [{ root: file('a') }, { root: file('a'), fallback: '/index.html' }],
    [{ root: file('a') }, { root: file('a'), maxAge: '1h' }],
    [{ root: file('a') }, { root: file('a'), cleanUrls: true }],
    [{ file: file('one.txt') }, { file: file('two.txt') }, { path: '/orders' }]
  ],
  apiDocs: [[{}, { ui: false }]]
}

// Options whose changes are told at another one.
const TOLD_AT: Readonly<Record<string, string>> = {
  'cors.credentials': 'cors.origins',
  'auth.session': 'auth.by',
  'auth.basic': 'auth.by',
  'auth.clientCertificate': 'auth.by',
  'validate.servers': 'validate.openapi',
  'validate.base': 'validate.openapi',
  'auth.jwt.jwks.upstream': 'auth.jwt.jwks',
  'auth.jwt.jwks.path': 'auth.jwt.jwks',
  ...Object.fromEntries(
    ['url', 'host', ...['dns', 'srv', 'port', 'scheme', 'server'].map((name) => `discover.${name}`)].map(
      (name) => [`upstreams.${name}`, 'proxy']
    )
  )
}

const modules: readonly (Concern | Target)[] = [...catalog.concerns, ...catalog.targets]

/** Puts options of a module where a config has them. */
function configWith(module: Concern | Target, options: unknown, [, , route = {}, root = {}]: Pair): Config {
  const { key: name } = module
  const at = { path: '/orders/*', ...route }
  if ('target' in module) return { ...root, routes: [{ ...at, [name]: options }] }
  const proxied = { ...at, proxy: { upstream: module.named === true ? 'orders' : UPSTREAM } }
  if (module.named === true) return { ...root, upstreams: { orders: options }, routes: [proxied] }
  return { ...root, [name]: options, routes: [proxied] }
}

/** Lists the options of a schema, such as "cookie.name"; those that every gate has are tested with the gates. */
function leavesOf(schema: unknown, known: ReadonlySet<string>, path: readonly string[] = []): string[] {
  const inner =
    isObject(schema) && Array.isArray(schema['anyOf']) ? schema['anyOf'].find(hasProperties) : schema
  if (!hasProperties(inner) || known.has(path.join('.'))) return path.length === 0 ? [] : [path.join('.')]
  return Object.entries(inner.properties).flatMap(([name, each]) =>
    path.length === 0 && (name === 'mode' || name === 'global') && 'global' in inner.properties
      ? []
      : leavesOf(each, known, [...path, name])
  )
}

const hasProperties = (schema: unknown): schema is { readonly properties: Record<string, TSchema> } =>
  isObject(schema) && isObject(schema['properties'])

const valueIn = (options: unknown, path: string): unknown =>
  path.split('.').reduce((value: unknown, name) => (isObject(value) ? value[name] : undefined), options)

const isDifferent = ([before, after]: Pair, path: string): boolean =>
  JSON.stringify(valueIn(before, path)) !== JSON.stringify(valueIn(after, path))

const table: string[] = []

for (const module of modules) {
  const { key: name, comparison } = module
  const schema =
    'named' in module && module.named === true ? schemaOf(module.options, 'orders') : module.options
  const reasonFor = (path: string): string | undefined =>
    Object.entries(comparison?.options ?? {})
      .map(([at, meaning]) => (`${path}.`.startsWith(`${at}.`) ? meaning : undefined))
      .find((meaning) => typeof meaning === 'string')

  t.test(`tells what a change of each option of "${name}" means`, async (t) => {
    const pairs = PAIRS[name] ?? []
    const leaves = leavesOf(schema, new Set(Object.keys(comparison?.options ?? {})))
    const found = await Promise.all(
      pairs.map(async (pair) => {
        const [before, after] = pair
        return diff(configWith(module, before, pair), configWith(module, after, pair))
      })
    )
    const prefix = 'named' in module && module.named === true ? `${name}.orders` : name
    if (leaves.length === 0) t.ok(found.flat().some(({ option }) => option?.startsWith(name)))
    for (const leaf of leaves) {
      const reason = reasonFor(leaf)
      if (reason !== undefined) {
        table.push(`${name}.${leaf}: none, ${reason}`)
        continue
      }
      const changing = pairs.flatMap((pair, i) => (isDifferent(pair, leaf) ? [{ pair, i }] : []))
      t.ok(changing.length > 0, `PAIRS changes ${name}.${leaf}, or its comparison has a reason in "options"`)
      const findings = changing.flatMap(({ pair, i }) => {
        const isOnlyOne = leaves.filter((each) => isDifferent(pair, each)).length === 1
        return (found[i] ?? []).filter(({ option = '' }) => {
          const at = `${prefix}.${leaf}`
          if (option === TOLD_AT[`${name}.${leaf}`]) return true
          return `${at}.`.startsWith(`${option}.`) && option !== '' && (isOnlyOne || option !== prefix)
            ? true
            : option.startsWith(`${at}.`) || option.startsWith(`${at}[`)
        })
      })
      t.ok(findings.length > 0, `diff says what a change of ${name}.${leaf} means`)
      for (const { class: kind, message } of findings) table.push(`${name}.${leaf}: ${kind}, ${message}`)
    }
  })
}

t.test('prints the table', async (t) => {
  if (process.env['OPTIONS_TABLE'] !== undefined) for (const line of new Set(table)) t.comment(line)
  t.ok(table.length > 200)
})
