import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { type Logger, pino } from 'pino'
import t from 'tap'
import { planOf } from '../../src/config/load.ts'
import { objectSource } from '../../src/config/source.ts'
import { buildGateway } from '../../src/gateway/build.ts'
import { catalog } from '../../src/gateway/catalog.ts'
import { type GatewayConfig, type GatewayOptions, Keep } from '../../src/index.ts'
import {
  type Concern,
  createError,
  eachRoute,
  fp,
  type Hooks,
  perOptions,
  perRoute,
  Type
} from '../../src/kit/index.ts'
import type { Verdict } from '../../src/kit/observe.ts'
import { captureHooks } from '../../src/lib/capture-hooks.ts'
import { MAX_TIMER_MS } from '../../src/lib/clock.ts'
import { escapeHtml } from '../../src/lib/html.ts'
import { cleanHeader } from '../../src/lib/http/headers.ts'
import {
  offResponseClosed,
  onResponseClosed,
  type ResponseListener
} from '../../src/lib/http/response-end.ts'
import { queryOf, queryValue } from '../../src/lib/http/url-parts.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import {
  allowsFalse,
  deepFreeze,
  define,
  gate,
  mapFiles,
  merge,
  nearest,
  overrideOf,
  prune,
  schemaOf,
  type TSchema
} from '../../src/lib/schema.ts'
import { forEachSliced } from '../../src/lib/time-slicing.ts'
import {
  DurationOrNone,
  duration,
  durationOrNone,
  File,
  REPLACED_WHOLE,
  share,
  size,
  sizeOrNone,
  TextOrNone
} from '../../src/lib/units.ts'
import { claimOf, template, type ValueKind } from '../../src/lib/values.ts'
import { readableLog, type Scope } from '../helpers.ts'

t.test('units', async (t) => {
  const cases: [name: string, read: (text: string) => number, text: string, value: number][] = [
    ['duration', duration, '800ms', 800],
    ['duration', duration, '0s', 0],
    ['duration', duration, '30s', 30_000],
    ['duration', duration, '1.5m', 90_000],
    ['duration', duration, '12h', 43_200_000],
    ['duration', duration, '7d', 604_800_000],
    ['duration', duration, '0.1ms', 1],
    ['size', size, '10b', 10],
    ['size', size, '64kb', 65_536],
    ['size', size, '1mb', 1_048_576],
    ['size', size, '1.5gb', 1_610_612_736],
    ['share', share, '0%', 0],
    ['share', share, '5%', 0.05],
    ['share', share, '0.1%', 0.001],
    ['share', share, '100%', 1]
  ]
  for (const [name, read, text, value] of cases) t.equal(read(text), value, `the ${name} "${text}"`)

  const wrong: [name: string, read: (text: string) => number, texts: string[], message: RegExp][] = [
    [
      'duration',
      duration,
      [
        '',
        '5',
        's',
        '5 s',
        ' 5s',
        '5s ',
        '-5s',
        '+5s',
        '5S',
        '5sec',
        '5s6s',
        '.5s',
        '5.s',
        '1e3s',
        '٥s',
        '5kb',
        '5s\n'
      ],
      /expected a duration in ms, s, m, h, d, got "/
    ],
    [
      'size',
      size,
      ['', '5', 'kb', '5 kb', '-5kb', '5KB', '5k', '5kib', '5s'],
      /expected a size in b, kb, mb, gb, got "/
    ],
    [
      'share',
      share,
      ['', '5', '%', '5 %', '-5%', '101%', '100.1%', '5%%', '0.05'],
      /expected a share from "0%" to "100%", got "/
    ]
  ]
  for (const [name, read, texts, message] of wrong)
    for (const text of texts)
      t.throws(() => read(text), { name: 'RangeError', message }, `no ${name}: "${text}"`)

  t.equal(durationOrNone('5s'), 5000)
  t.equal(durationOrNone(false), undefined)
  t.equal(durationOrNone(undefined), undefined)
  t.equal(sizeOrNone('1kb'), 1024)
  t.equal(sizeOrNone(false), Number.POSITIVE_INFINITY)
  t.equal(sizeOrNone(undefined), Number.POSITIVE_INFINITY)
  t.ok(duration('24d') < MAX_TIMER_MS && MAX_TIMER_MS < duration('25d'))
})

/** Builds a gateway that has more words than ours, after ours. */
async function gatewayWith(
  t: Scope,
  concerns: readonly Concern[],
  config: GatewayConfig | object,
  { log = pino({ level: 'silent' }), ...options }: GatewayOptions & { log?: Logger } = {}
): Promise<FastifyInstance> {
  const whole = { ...catalog, concerns: [...catalog.concerns, ...concerns] }
  const app = await buildGateway(await planOf(objectSource(config), whole, {}), new Keep(), log, options)
  t.teardown(() => app.close())
  return app
}

const gateOptions = Type.Object(gate, { additionalProperties: false, description: 'A gate of the tests.' })

/** Makes a gate of these hooks. */
const gateOf = (key: string, hooks: Hooks): Concern => ({
  key,
  options: gateOptions,
  override: overrideOf(gateOptions),
  default: fp<object>(async (app, root) => perRoute(app, key, root, () => hooks), { name: key })
})

/** Sends the trace of a request in a header. */
const tracer: Concern = {
  key: 'tracer',
  options: Type.Object({}, { additionalProperties: false }),
  override: false,
  always: true,
  default: fp<object>(async (app, root) => {
    perRoute(app, 'tracer', root, () => ({
      onHead: (request, _reply, head) => head.set('x-trace', JSON.stringify(request.trace))
    }))
  })
}

const TooLoud = createError('SP_ERR_DOOR_LOUD', 'Not so loud', 403)
const respond = { body: 'hello' }

/** The ways in which a gate's hook can refuse a request. */
const refusals: [name: string, hooks: Hooks, code: string][] = [
  ['a callback', { onRequest: (_request, _reply, done) => done(new TooLoud()) }, 'SP_ERR_DOOR_LOUD'],
  [
    'a callback, later',
    { onRequest: (_request, _reply, done) => void setImmediate(done, new TooLoud()) },
    'SP_ERR_DOOR_LOUD'
  ],
  [
    'a callback that throws',
    {
      onRequest: (_request, _reply, _done) => {
        throw new TooLoud()
      }
    },
    'SP_ERR_DOOR_LOUD'
  ],
  ['an async hook', { onRequest: async () => Promise.reject(new TooLoud()) }, 'SP_ERR_DOOR_LOUD'],
  [
    'an async hook that rejects without an error',
    { onRequest: async () => Promise.reject() },
    'SP_ERR_INTERNAL'
  ],
  [
    'an async hook that rejects with a string',
    { onRequest: async () => Promise.reject('no') },
    'SP_ERR_INTERNAL'
  ],
  [
    'before validation',
    { preValidation: (_request, _reply, done) => done(new TooLoud()) },
    'SP_ERR_DOOR_LOUD'
  ],
  ['before the handler', { preHandler: async () => Promise.reject(new TooLoud()) }, 'SP_ERR_DOOR_LOUD']
]

t.test('a gate', async (t) => {
  t.test('refuses requests, and in report mode only logs them', async (t) => {
    for (const [name, hooks, code] of refusals)
      t.test(name, async (t) => {
        const { log, lines } = readableLog('warn')
        const reports = readableLog()
        const door = gateOf('door', hooks)
        const config = { routes: [{ path: '/a', respond }], door: true }
        for (const trace of [false, true]) {
          const enforcing = await gatewayWith(t, [door], config, { log, trace })
          const refused = await enforcing.inject('/a')
          t.equal(refused.statusCode, code === 'SP_ERR_INTERNAL' ? 500 : 403, `traced: ${trace}`)
          t.match(refused.json(), { code })
          t.match(lines.at(-1), { code })
          const reporting = await gatewayWith(
            t,
            [door],
            { ...config, door: { mode: 'report' } },
            { ...reports, trace }
          )
          const passed = await reporting.inject('/a')
          t.match(passed, { statusCode: 200, body: 'hello' })
          t.strictSame(reports.lines.at(-1)?.['wouldRefuse'], [`door ${code}`])
        }
      })
  })

  t.test('lets a request pass unless a hook refuses it', async (t) => {
    const ways: Hooks[] = [
      { onRequest: (_request, _reply, done) => done() },
      { onRequest: async () => 'a return value that is ignored' },
      { preHandler: async () => undefined },
      {}
    ]
    for (const hooks of ways)
      for (const trace of [false, true])
        for (const mode of ['enforce', 'report']) {
          const app = await gatewayWith(
            t,
            [gateOf('door', hooks)],
            { routes: [{ path: '/a', respond }], door: { mode } },
            { trace }
          )
          t.equal((await app.inject('/a')).body, 'hello')
        }
  })

  t.test('applies to the routes on which it is on', async (t) => {
    const closed = gateOf('door', { onRequest: async () => Promise.reject(new TooLoud()) })
    const routes = [
      { path: '/silent', respond },
      { path: '/off', respond, door: false },
      { path: '/on', respond, door: true },
      { path: '/report', respond, door: { mode: 'report' } },
      {
        path: '/group',
        door: false,
        routes: [
          { path: '/off', respond },
          { path: '/on', respond, door: true }
        ]
      }
    ]
    const cases: [name: string, root: object, closed: string[]][] = [
      ['on at the root', { door: true }, ['/silent', '/on', '/group/on', '/nowhere']],
      ['on at the root with global: false', { door: { global: false } }, ['/on', '/group/on']],
      ['on for single routes', {}, ['/on', '/group/on']],
      ['off at the root', { door: false }, ['/on', '/group/on']]
    ]
    for (const [name, root, expected] of cases)
      t.test(name, async (t) => {
        const app = await gatewayWith(t, [closed], { ...root, routes })
        for (const url of ['/silent', '/off', '/on', '/report', '/group/off', '/group/on', '/nowhere']) {
          const open = url === '/nowhere' ? 404 : 200
          t.equal((await app.inject(url)).statusCode, expected.includes(url) ? 403 : open, url)
        }
        t.equal((await app.inject('/-/live')).statusCode, 200, 'health checks have no gates')
      })
  })

  t.test('works without fastify-plugin', async (t) => {
    const plain: Concern = {
      key: 'tenant',
      options: gateOptions,
      override: overrideOf(gateOptions),
      default: async function tenant(app: FastifyInstance, root: object) {
        app.decorateRequest('tenant', '')
        perRoute(app, 'tenant', root, () => ({
          onRequest: (request, _reply, done) => {
            Object.assign(request, { tenant: String(request.headers['x-tenant']) })
            done()
          },
          onHead: (request, _reply, head) =>
            head.set('x-tenant', (request as unknown as { tenant: string }).tenant)
        }))
      }
    }
    const app = await gatewayWith(t, [plain], { tenant: true, routes: [{ path: '/a', respond }] })
    for (const url of ['/a', '/nowhere'])
      t.equal((await app.inject({ url, headers: { 'x-tenant': 'red' } })).headers['x-tenant'], 'red', url)
  })

  t.test('runs once a request, the automatic HEAD of a GET included', async (t) => {
    let ran: string[] = []
    const run = (phase: string) => async (): Promise<void> => {
      ran.push(phase)
    }
    const counter = gateOf('counter', {
      onRequest: run('onRequest'),
      preParsing: run('preParsing'),
      preValidation: run('preValidation'),
      preHandler: run('preHandler'),
      onSend: run('onSend'),
      onHead: () => ran.push('onHead')
    })
    const pages: Concern = {
      key: 'pages',
      options: Type.Object({}),
      default: fp<object>(async (app) => {
        app.get('/page', async () => 'a page')
        app.route({ method: ['GET', 'POST'], url: '/both', handler: async () => 'both' })
      })
    }
    for (const trace of [false, true]) {
      const app = await gatewayWith(
        t,
        [counter, pages],
        {
          counter: true,
          pages: true,
          routes: [
            { path: '/a', respond },
            { path: '/get', methods: ['GET'], respond },
            { path: '/below/*', respond }
          ]
        },
        { trace }
      )
      for (const url of ['/a', '/a/', '/get', '/below', '/below/', '/below/x', '/page', '/both'])
        for (const method of ['GET', 'HEAD'] as const) {
          ran = []
          t.equal((await app.inject({ method, url })).statusCode, 200)
          t.same(
            ran.toSorted(),
            ['onHead', 'onRequest', 'onSend', 'preHandler', 'preParsing', 'preValidation'],
            `${method} ${url}`
          )
        }
    }
  })

  t.test('binds a hook of many routes to their instance, and once', async (t) => {
    const seen: unknown[] = []
    const hooks = new Set<unknown>()
    const hers: Concern = {
      key: 'hers',
      options: Type.Object({}),
      override: false,
      always: true,
      default: fp<object>(async (app, root) => {
        perOptions(app, 'hers', root, () => ({
          onRequest(this: unknown, _request: unknown, _reply: unknown, done: () => void) {
            seen.push(this)
            done()
          }
        }))
        app.addHook('onRoute', ({ onRequest }) => {
          for (const hook of [onRequest].flat()) if (hook?.name === 'hers onRequest') hooks.add(hook)
        })
      })
    }
    const routes = ['/a', '/b', '/c'].map((path) => ({ path, respond: { body: 'x' } }))
    const app = await gatewayWith(t, [hers], { routes })
    for (const { path } of routes) await app.inject(path)
    t.equal(hooks.size, 1)
    t.equal(new Set(seen).size, 1)
    t.ok((seen[0] as typeof app).hasDecorator('readiness'))
  })

  t.test('gives its hooks its name', async (t) => {
    const names = new Map<string, string[]>()
    const reader: Concern = {
      key: 'reader',
      options: Type.Object({}),
      override: false,
      always: true,
      default: fp<object>(async (app, root) => {
        eachRoute(app, 'reader', root, (_options, route, routeOptions) => {
          const phases = ['onRequest', 'preValidation', 'preHandler', 'onSend'] as const
          const hooks = phases.flatMap((phase) => [(routeOptions as RouteOptions)[phase] ?? []].flat())
          names.set(
            route.name,
            hooks.map(({ name }) => name)
          )
        })
      })
    }
    const door = gateOf('door', {
      onRequest: (_request, _reply, done) => done(),
      preHandler: async () => undefined
    })
    for (const trace of [false, true]) {
      await gatewayWith(
        t,
        [door, reader],
        {
          door: { mode: 'report' },
          rateLimit: { max: 9 },
          auth: { apiKeys: { list: [] } },
          routes: [{ path: '/a', respond }]
        },
        { trace }
      )
      t.same(names.get('/a'), [
        'requestId onRequest',
        'accessLog onRequest',
        'limits onRequest',
        'rateLimit onRequest',
        'auth onRequest',
        'door onRequest',
        'door preHandler',
        'applyHead'
      ])
    }
  })
})

t.test('a trace has the verdict of every gate, in the order in which they ran', async (t) => {
  const key = { 'x-api-key': 'key of alice' }
  const door = gateOf('door', {
    onRequest: async (request: FastifyRequest, reply: FastifyReply) => {
      if (request.headers['x-answer'] !== undefined) return reply.send('answered')
      return undefined
    },
    preHandler: (request, _reply, done) =>
      done(request.headers['x-loud'] === undefined ? undefined : new TooLoud())
  })
  const config = {
    cors: { origins: ['https://app.example.com'] },
    auth: { apiKeys: { list: [{ id: 'alice', secret: 'key of alice' }] } },
    rateLimit: { max: 100 },
    door: true,
    routes: [
      { path: '/a', respond },
      { path: '/report', respond, auth: { mode: 'report' }, door: { mode: 'report' } },
      { path: '/open', respond, auth: false, door: false, rateLimit: { max: 1 } }
    ]
  }
  const app = await gatewayWith(t, [door, tracer], config, { trace: true })
  const before = ['requestId passed', 'accessLog passed', 'cors passed', 'limits passed']
  const preflight = {
    origin: 'https://app.example.com',
    'access-control-request-method': 'GET'
  }
  const cases: [
    name: string,
    request: { url: string; method?: 'OPTIONS'; headers?: Record<string, string> },
    verdicts: string[]
  ][] = [
    [
      'passed',
      { url: '/a', headers: key },
      [...before, 'rateLimit passed', 'auth passed', 'door passed', 'door passed']
    ],
    ['refused', { url: '/a' }, [...before, 'rateLimit passed', 'auth refused SP_ERR_AUTH_MISSING']],
    [
      'refused later',
      { url: '/a', headers: { ...key, 'x-loud': '1' } },
      [...before, 'rateLimit passed', 'auth passed', 'door passed', 'door refused SP_ERR_DOOR_LOUD']
    ],
    [
      'answered by a gate',
      { url: '/a', headers: { ...key, 'x-answer': '1' } },
      [...before, 'rateLimit passed', 'auth passed', 'door answered']
    ],
    [
      'answered by an early gate',
      { url: '/a', method: 'OPTIONS', headers: preflight },
      ['requestId passed', 'accessLog passed', 'cors answered']
    ],
    [
      'reported',
      { url: '/report', headers: { 'x-loud': '1' } },
      [
        ...before,
        'rateLimit passed',
        'auth reported SP_ERR_AUTH_MISSING',
        'door passed',
        'door reported SP_ERR_DOOR_LOUD'
      ]
    ],
    ['without gates that are off', { url: '/open' }, [...before, 'rateLimit passed']],
    ['refused by a limit', { url: '/open' }, [...before, 'rateLimit refused SP_ERR_RATE_LIMIT_EXCEEDED']],
    ['without a route', { url: '/nowhere' }, [...before, 'rateLimit passed', 'door passed']]
  ]
  for (const [name, request, verdicts] of cases)
    t.test(name, async (t) => {
      const { headers } = await app.inject(request)
      const trace = JSON.parse(String(headers['x-trace'])) as Verdict[]
      t.same(
        trace.map(({ gate, verdict, code }) =>
          [gate, verdict, code].filter((word) => word !== undefined).join(' ')
        ),
        verdicts
      )
      for (const { ms, phase, reason, code } of trace) {
        if (!name.startsWith('answered')) t.ok(typeof ms === 'number' && ms >= 0)
        t.match(phase, /^(onRequest|preValidation|preHandler)$/)
        t.equal(reason === undefined, code === undefined, 'a code comes with its reason')
      }
    })
  t.test('is null unless the gateway was built with trace', async (t) => {
    const quiet = await gatewayWith(t, [door, tracer], config)
    t.equal((await quiet.inject({ url: '/a', headers: key })).headers['x-trace'], 'null')
  })
})

t.test('merging', async (t) => {
  const schema = Type.Object({
    size: Type.Integer(),
    list: Type.Array(Type.String()),
    on: Type.Boolean(),
    time: DurationOrNone({ description: 'A time.' }),
    text: Type.Optional(TextOrNone({ description: 'A text.' })),
    deep: Type.Object({ a: Type.Integer(), b: Type.Object({ c: Type.Integer(), d: Type.Boolean() }) }),
    body: Type.Unsafe({ [REPLACED_WHOLE]: true }),
    map: Type.Record(Type.String(), Type.Unsafe({ anyOf: [{ type: 'string' }, { const: false }] }))
  })

  t.test('inner options replace outer ones, key by key', async (t) => {
    const cases: [name: string, outer: unknown, inner: unknown, merged: unknown][] = [
      ['a scalar replaces', { size: 1, on: true }, { size: 2 }, { size: 2, on: true }],
      ['a list replaces', { list: ['a', 'b'] }, { list: ['c'] }, { list: ['c'] }],
      [
        'objects merge',
        { deep: { a: 1, b: { c: 1 } } },
        { deep: { b: { d: true } } },
        { deep: { a: 1, b: { c: 1, d: true } } }
      ],
      ['false unsets', { size: 1, list: ['a'], on: true }, { size: false, list: false }, { on: true }],
      ['false unsets an object', { deep: { a: 1 }, size: 1 }, { deep: false }, { size: 1 }],
      [
        'false unsets deep down',
        { deep: { a: 1, b: { c: 1, d: true } } },
        { deep: { b: { c: false } } },
        { deep: { a: 1, b: { d: true } } }
      ],
      ['false is a value of a switch', { on: true }, { on: false }, { on: false }],
      ['false is "none" for a time', { time: '1s' }, { time: false }, { time: false }],
      ['false is "none" for a text', { text: 'a' }, { text: false }, { text: false }],
      [
        'false is a value in a map',
        { map: { a: 'x', b: 'y' } },
        { map: { a: false } },
        { map: { a: false, b: 'y' } }
      ],
      [
        "the user's own data is replaced whole",
        { body: { a: 1, b: { c: 1 } } },
        { body: { b: {} } },
        { body: { b: {} } }
      ],
      ["false is a value of the user's own data", { body: { a: 1 } }, { body: false }, { body: false }],
      ['nothing outside', undefined, { size: 1 }, { size: 1 }],
      ['nothing inside', { size: 1 }, {}, { size: 1 }],
      ['an unknown word is kept for the check', { size: 1 }, { other: 1 }, { size: 1, other: 1 }]
    ]
    for (const [name, outer, inner, merged] of cases) {
      const written = JSON.stringify([outer, inner])
      t.strictSame(merge(schema, deepFreeze(outer), deepFreeze(inner)), merged, name)
      t.equal(JSON.stringify([outer, inner]), written, 'and changes neither')
    }
  })

  t.test('treats __proto__ as an ordinary key', async (t) => {
    const inner: unknown = JSON.parse('{"map": {"__proto__": "x", "constructor": "y"}}')
    for (const made of [
      merge(schema, { map: {} }, inner),
      prune(schema, inner),
      mapFiles(schema, inner, (file) => file)
    ]) {
      const { map } = made as { map: object }
      t.same(Object.keys(map), ['__proto__', 'constructor'])
      t.equal(Object.getPrototypeOf(map), Object.prototype)
    }
    t.equal((schemaOf(schema, '__proto__') as unknown) ?? 'none', 'none')
  })

  t.test('removes keys and values that have no effect', async (t) => {
    const cases: [name: string, written: unknown, left: unknown][] = [
      ['a false that only unsets', { size: false, on: false, time: false }, { on: false, time: false }],
      [
        "the user's own keys",
        { 'x-note': 1, size: 1, deep: { 'x-note': 2, a: 1 } },
        { size: 1, deep: { a: 1 } }
      ],
      ['but not in data', { body: { 'x-note': 1, a: false } }, { body: { 'x-note': 1, a: false } }],
      [
        'nor in a map',
        { map: { 'x-real-ip': 'a', 'x-b': false } },
        { map: { 'x-real-ip': 'a', 'x-b': false } }
      ]
    ]
    for (const [name, written, left] of cases) t.strictSame(prune(schema, written), left, name)
  })

  t.test('makes a schema of overrides: any part of the options, no defaults, false to unset', async (t) => {
    const override = overrideOf(
      Type.Object(
        {
          size: Type.Integer({ default: 1, description: 'A size.' }),
          on: Type.Boolean({ default: true }),
          time: DurationOrNone({ default: '1s', description: 'A time.' }),
          deep: Type.Object(
            { a: Type.Integer({ default: 1 }), b: Type.String() },
            { additionalProperties: false }
          ),
          list: Type.Array(
            Type.Object({ name: Type.String(), roles: Type.Array(Type.String(), { default: [] }) })
          ),
          body: Type.Unsafe({ [REPLACED_WHOLE]: true, default: {}, type: 'object', required: ['a'] })
        },
        { additionalProperties: false }
      )
    ) as unknown as Record<string, unknown>
    const properties = override['properties'] as Record<string, Record<string, unknown>>
    t.equal(override['required'], undefined)
    t.equal(override['additionalProperties'], false)
    t.strictSame(properties['size'], {
      description: 'A size.',
      anyOf: [{ type: 'integer', examples: [1] }, { const: false }]
    })
    t.strictSame(properties['on'], { type: 'boolean' })
    t.notOk('default' in (properties['time'] ?? {}))
    t.match(properties['deep'], {
      anyOf: [{ type: 'object', additionalProperties: false }, { const: false }]
    })
    t.notMatch(JSON.stringify(properties['deep']), /default|required/)
    const list = JSON.stringify(properties['list'])
    t.match(list, /"required":\["name"\]/, 'an item of a list is complete')
    t.notMatch(list, /default|"roles"\]/, 'except for options with a default')
    t.match(JSON.stringify(properties['body']), /"required":\["a"\]/, "the user's own data stays as it is")
  })

  t.test('finds the options for which false is a value', async (t) => {
    const yes: unknown[] = [
      Type.Boolean(),
      DurationOrNone({ description: '' }),
      TextOrNone({ description: '' }),
      { enum: ['a', false] },
      { const: false },
      Type.Unknown(),
      true
    ]
    const no: unknown[] = [
      Type.String(),
      Type.Integer(),
      Type.Array(Type.Boolean()),
      Type.Object({}),
      { enum: ['a'] },
      { const: 1 },
      undefined
    ]
    for (const schema of yes) t.equal(allowsFalse(schema), true, JSON.stringify(schema))
    for (const schema of no) t.equal(allowsFalse(schema), false, JSON.stringify(schema) ?? 'nothing')
  })

  t.test('changes the names of files only', async (t) => {
    const files = Type.Object({
      cert: File({ description: 'A file.' }),
      name: Type.String(),
      list: Type.Array(Type.Object({ key: File({ description: 'A file.' }) })),
      either: Type.Unsafe({ anyOf: [File({ description: 'A file.' }), { const: false }] }) as TSchema
    })
    const written = { cert: 'a', name: 'b', list: [{ key: 'c' }], either: 'd', 'x-own': 'e' }
    t.strictSame(
      mapFiles(files, written, (file) => `/in/${file}`),
      { cert: '/in/a', name: 'b', list: [{ key: '/in/c' }], either: '/in/d', 'x-own': 'e' }
    )
  })

  t.test('freezes nested values', async (t) => {
    const frozen = deepFreeze({ a: [{ b: { c: 1 } }], d: null })
    t.throws(() => Object.assign(frozen.a[0]?.b ?? {}, { c: 2 }), TypeError)
    t.equal(frozen.a[0]?.b.c, 1)
    const target = {}
    define(target, '__proto__', 1)
    t.same(Object.keys(target), ['__proto__'])
  })
})

t.test('templates', async (t) => {
  t.test('report what is wrong, and what would work', async (t) => {
    const cases: [text: string, message: RegExp, known?: readonly ValueKind[]][] = [
      ['{', /expected a "\}" after "\{", got "\{"; "\{\{" is a literal brace/],
      ['a {client.ip', /expected a "\}" after/],
      ['{{{', /expected a "\}" after/],
      ['{}', /expected one of \{client\.ip\}, \{host\}, \{path\}, .*, got "\{\}"/],
      ['{ client.ip }', /got "\{ client\.ip \}"/],
      ['{client}', /expected \{client\.ip\}, got "\{client\}"/],
      ['{client.port}', /expected \{client\.ip\}, got "\{client\.port\}"/],
      ['{host.name}', /expected \{host\}, got/],
      ['{path.x}', /expected \{path\}, got/],
      ['{requestId.x}', /expected \{requestId\}, got/],
      ['{params}', /expected \{params\.name\}, got/],
      ['{query.}', /expected \{query\.name\}, got/],
      ['{headers}', /expected \{headers\.name\}, got/],
      ['{header.x}', /did you mean \{headers\.name\}\?/],
      ['{param.x}', /did you mean \{params\.name\}\?/],
      ['{Caller.id}', /did you mean \{caller\.id\}\?/],
      ['{caller}', /expected id, name, email, roles, scopes or claims\.x of the caller/],
      ['{caller.age}', /expected id, name, email, roles, scopes or claims\.x of the caller/],
      ['{legs.x.y}', /got "\{legs\.x\.y\}"/],
      ['{__proto__}', /got "\{__proto__\}"/],
      ['{constructor.name}', /got "\{constructor\.name\}"/],
      ['{params.x}', /expected one of \{host\}, got "\{params\.x\}"/, ['host']]
    ]
    for (const [text, message, known] of cases) t.throws(() => template(text, known), { message }, text)
  })

  t.test('have the parameters that they read', async (t) => {
    const cases: [text: string, constant: boolean, params: string[]][] = [
      ['', true, []],
      ['plain', true, []],
      ['}', true, []],
      ['{{params.a}}', true, []],
      ['{params.a}/{params.b}{query.c}', false, ['a', 'b']],
      ['{{{params.a}}}', false, ['a']],
      ['{caller.claims.realm_access.roles}', false, []]
    ]
    for (const [text, constant, params] of cases) t.match(template(text), { text, constant, params }, text)
  })

  t.test('read a claim by its literal name first, then by dots', async (t) => {
    const claims: unknown = JSON.parse(
      '{"a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "https://x.test/r": ["s"], "e": null, "f.g": {"h": 4}}'
    )
    const cases: [name: string, value: unknown][] = [
      ['a.b', 1],
      ['a.c.d', 3],
      ['a.c', { d: 3 }],
      ['https://x.test/r', ['s']],
      ['e', null],
      ['e.f', undefined],
      ['a.x', undefined],
      ['x.y', undefined],
      ['toString', undefined],
      ['a.constructor.name', undefined],
      ['__proto__', undefined]
    ]
    for (const [name, value] of cases) t.strictSame(claimOf(claims, name), value, name)
    t.equal(claimOf(undefined, 'a'), undefined)
  })

  t.test('read a query byte for byte, and its values decoded', async (t) => {
    t.equal(queryOf('/a?b=%2F&c?d'), '?b=%2F&c?d')
    t.equal(queryOf('/a'), '')
    t.equal(queryValue('/a?b=1%202&b=3', 'b'), '1 2')
    t.equal(queryValue('/a?b', 'b'), '')
    t.equal(queryValue('/a?bc=1', 'b'), undefined)
  })

  t.test('lose characters that are invalid in headers', async (t) => {
    t.equal(cleanHeader('a\r\nb\0c\u2028d\u20ace\x7f'), 'abcde')
    t.equal(cleanHeader('\té ~'), '\té ~')
  })
})

t.test('nearest', async (t) => {
  const words = [
    'accessLog',
    'auth',
    'cors',
    'csrf',
    'headers',
    'limits',
    'proxy',
    'rateLimit',
    'respond',
    'routes'
  ]
  const cases: [typed: string, meant: string | undefined][] = [
    ['ratelimit', 'rateLimit'],
    ['rate-limit', 'rateLimit'],
    ['rateLimits', 'rateLimit'],
    ['header', 'headers'],
    ['cros', 'cors'],
    ['porxy', 'proxy'],
    ['AUTH', 'auth'],
    ['route', 'routes'],
    ['limit', 'limits'],
    ['responds', 'respond'],
    ['kubernetes', undefined],
    ['x', undefined]
  ]
  for (const [typed, meant] of cases) t.equal(nearest(typed, words), meant, typed)
  t.equal(nearest('anything', []), undefined)
})

t.test('helpers', async (t) => {
  t.test('escapes text for HTML', async (t) => {
    t.equal(
      escapeHtml(`<a href="x" title='y'>&amp;</a>`),
      '&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;'
    )
  })
  t.test('getOrCreate makes each value once', async (t) => {
    const memory = new Map<string, object>()
    let made = 0
    const make = (): object => ({ made: ++made })
    t.equal(getOrCreate(memory, 'a', make), getOrCreate(memory, 'a', make))
    t.not(getOrCreate(memory, 'a', make), getOrCreate(memory, 'b', make))
    t.equal(made, 2)
  })
  t.test('captureHooks returns the hooks of a plugin instead of adding them', async (t) => {
    let ran = 0
    const plugin: Concern = {
      key: 'vendor',
      options: Type.Object({}),
      override: false,
      always: true,
      default: fp<object>(async (app) => {
        const hooks = await captureHooks(
          app,
          fp<{ word: string }>(async (own, { word }) => {
            own.decorateRequest('vendor', word)
            own.addHook('onRequest', async () => {
              ran++
            })
            own.addHook('onRequest', async () => undefined)
            own.addHook('onSend', async () => undefined)
            own.options('*', async () => 'never')
          }),
          { word: 'kept' }
        )
        t.same(
          Object.entries(hooks).map(([phase, each]) => [phase, each.length]),
          [
            ['onRequest', 2],
            ['onSend', 1]
          ]
        )
        await t.rejects(
          captureHooks(
            app,
            (_app: unknown, _options: object, done: (error: Error) => void) => done(new Error('no')),
            {}
          ),
          { message: 'no' }
        )
      })
    }
    const app = await gatewayWith(t, [plugin], { routes: [{ path: '/a', respond, methods: ['GET'] }] })
    t.equal(app.hasRequestDecorator('vendor'), true)
    t.equal((await app.inject('/a')).statusCode, 200)
    t.equal((await app.inject({ method: 'OPTIONS', url: '/a' })).statusCode, 405)
    t.equal(ran, 0)
  })
})

t.test('onResponseClosed calls each listener once, the last one first, even if one throws', async (t) => {
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  const called: string[] = []
  const tell = (name: string, throws: boolean): void => {
    called.push(name)
    if (throws) throw new Error('no')
  }
  const [, gone] = ['first', 'gone', 'second', 'third'].map((name) =>
    onResponseClosed(response, tell, name, name === 'third')
  )
  offResponseClosed(response, gone as ResponseListener)
  t.throws(() => response.emit('close'), { message: 'no' })
  t.strictSame(called, ['third', 'second', 'first'])
  response.emit('close')
  t.equal(called.length, 3, 'a second close event has no effect')
})

t.test('work in slices visits all in their order, and lets others have their turn in between', async (t) => {
  const turns: number[] = []
  const visited: number[] = []
  let going = true
  const turn = (): void => {
    turns.push(visited.length)
    if (going) setImmediate(turn)
  }
  setImmediate(turn)
  const longer = (each: number): void => {
    const began = performance.now()
    while (performance.now() - began < 1);
    visited.push(each)
  }
  await forEachSliced([1, 2, 3, 4], longer)
  going = false
  t.strictSame(visited, [1, 2, 3, 4])
  for (const after of [1, 2, 3]) t.ok(turns.includes(after), `others had a turn after ${after}`)
  await t.rejects(
    forEachSliced([1], () => {
      throw new Error('no')
    }),
    { message: 'no' }
  )
})
