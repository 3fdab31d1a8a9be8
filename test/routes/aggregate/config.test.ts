import t from 'tap'
import { type AggregateOptions, warnings } from '../../../routes/aggregate/index.ts'
import type { AboutRoute } from '../../../src/kit/index.ts'
import { gateway } from '../../helpers.ts'

const leg = { upstream: 'up', path: '/' }

const dotted = (path: string): string => path.replaceAll(/\[(\d+)\]/g, '.$1')

t.test('errors of the config, at their places', async (t) => {
  const cases: readonly [name: string, aggregate: object, path: string, message: string | RegExp][] = [
    ['no legs', { legs: {} }, 'legs', /expected 1 to 16 legs by name/],
    [
      '17 legs',
      { legs: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`l${i}`, leg])) },
      'legs',
      /expected 1 to 16 legs by name/
    ],
    ['a leg name', { legs: { 'a.b': leg } }, 'legs', /./],
    ['__proto__', { legs: JSON.parse('{"__proto__":{"upstream":"up","path":"/"}}') }, 'legs', /./],
    [
      'an unknown upstream',
      { legs: { a: { ...leg, upstream: 'upp' } } },
      'legs.a.upstream',
      /expected one of up, or a URL/
    ],
    [
      'an unknown leg',
      { legs: { user: leg, b: { ...leg, path: '/{legs.usr.id}' } } },
      'legs.b.path',
      'expected one of the legs user, b, got "usr"; did you mean "user"?'
    ],
    [
      'an inherited name',
      { legs: { a: { ...leg, path: '/{legs.constructor.id}' } } },
      'legs.a.path',
      'expected one of the legs a, got "constructor"'
    ],
    [
      'no leg name',
      { legs: { a: { ...leg, path: '/{legs}' } } },
      'legs.a.path',
      'expected the name of a leg, such as "{legs.user}", got "{legs}"'
    ],
    [
      'an unknown value',
      { legs: { a: { ...leg, path: '/{nope}' } } },
      'legs.a.path',
      /expected one of .*, got "\{nope\}"/
    ],
    [
      'an unclosed brace',
      { legs: { a: { ...leg, path: '/{x' } } },
      'legs.a.path',
      /expected a "}" after "{"/
    ],
    [
      'a path parameter',
      { legs: { a: { ...leg, path: '/{params.y}' } } },
      'legs.a.path',
      'expected a parameter of the path, got "{params.y}"; the path has :id'
    ],
    [
      'dot segments',
      { legs: { a: { ...leg, path: '/a/../{params.id}' } } },
      'legs.a.path',
      /expected a path without/
    ],
    [
      'empty segments',
      { legs: { a: { ...leg, path: '//evil.example/' } } },
      'legs.a.path',
      /expected a path without/
    ],
    [
      'a space',
      { legs: { a: { ...leg, path: '/a b' } } },
      'legs.a.path',
      /expected a path that begins with "\/", without spaces/
    ],
    ['a line break', { legs: { a: { ...leg, path: '/a\r\nx: y' } } }, 'legs.a.path', /expected a path/],
    ['an URL', { legs: { a: { ...leg, path: 'http://x/' } } }, 'legs.a.path', /expected a path/],
    ['HEAD', { legs: { a: { ...leg, method: 'HEAD' } } }, 'legs.a.method', /GET/],
    [
      'framing',
      { legs: { a: { ...leg, headers: { Host: 'x' } } } },
      'legs.a.headers.Host',
      /can't be changed/
    ],
    [
      'a header of two lines',
      { legs: { a: { ...leg, headers: { 'x-a': 'a\nb' } } } },
      'legs.a.headers.x-a',
      /line break/
    ],
    [
      'a leg that waits for itself',
      { legs: { a: { ...leg, path: '/{legs.a.x}' } } },
      'legs.a',
      "expected legs that don't wait for one another, got a -> a"
    ],
    [
      'a circle',
      {
        legs: {
          x: leg,
          a: { ...leg, path: '/{legs.b.x}' },
          b: { ...leg, body: ['{legs.c.x}'] },
          c: { ...leg, headers: { 'x-a': '{legs.a.x}' } }
        }
      },
      'legs.a',
      "expected legs that don't wait for one another, got a -> b -> c -> a"
    ],
    [
      'item without each',
      { legs: { a: { ...leg, path: '/{item}' } } },
      'legs.a.path',
      'expected "each" beside "{item}", got none'
    ],
    ['item in the body', { legs: { a: leg }, body: { x: ['{item}'] } }, 'body.x.0', /expected "each"/],
    [
      'each of a text',
      { legs: { a: leg, b: { ...leg, each: 'x{legs.a}' } } },
      'legs.b.each',
      /expected one value that is a list/
    ],
    [
      'each of the request',
      { legs: { b: { ...leg, each: '{query.ids}' } } },
      'legs.b.each',
      /expected one value that is a list/
    ],
    [
      'body and merge',
      { legs: { a: leg }, body: {}, merge: ['a'] },
      'merge',
      /expected either "body" or "merge", got both/
    ],
    [
      'merge of an unknown leg',
      { legs: { a: leg }, merge: ['b'] },
      'merge.0',
      'expected one of the legs a, got "b"'
    ],
    [
      'merge of a list',
      { legs: { l: leg, a: { ...leg, each: '{legs.l}' } }, merge: ['a'] },
      'merge.0',
      /expected a leg whose result is an object, got "a"/
    ],
    [
      'merge of a fallback',
      { legs: { a: { ...leg, fallback: [] } }, merge: ['a'] },
      'legs.a.fallback',
      'expected an object, which "merge" needs, got []'
    ],
    [
      '_partial in a list',
      { legs: { a: leg }, body: ['{legs.a}'], partial: 'body' },
      'partial',
      /expected "header", got "body"/
    ],
    [
      'two equal keys',
      { legs: { a: leg, b: { ...leg, as: 'a' } } },
      'legs.b.as',
      'expected a key that is not taken, got "a"'
    ],
    [
      'the key _partial',
      { legs: { a: { ...leg, as: '_partial' } }, partial: 'body' },
      'legs.a.as',
      'expected a key that is not taken, got "_partial"'
    ],
    [
      'pass on an optional leg',
      { legs: { a: { ...leg, required: false, pass: [404] } } },
      'legs.a.pass',
      'expected a required leg, got an optional one, which never decides the status'
    ],
    [
      'required with a fallback',
      { legs: { a: { ...leg, required: true, fallback: 1 } } },
      'legs.a.fallback',
      'expected either "required": true or "fallback", got both'
    ],
    [
      'a path to pick',
      { legs: { a: { ...leg, pick: ['a..b'] } } },
      'legs.a.pick.0',
      /expected a path such as/
    ],
    [
      'first and flatten',
      { legs: { a: { ...leg, first: true, flatten: true } } },
      'legs.a.flatten',
      'expected "first" or "flatten", got both'
    ],
    ['a query, which a leg lacks', { legs: { a: { ...leg, query: 'a' } } }, 'legs.a.query', /Unknown option/],
    [
      'a leg as XML',
      { legs: { a: { ...leg, format: { from: 'json', to: ['xml'], root: 'a' } } } },
      'legs.a.format.to',
      'expected no "to" on a leg, got ["xml"]; the "format" beside "legs" is that of the response'
    ],
    [
      'a response from XML',
      { legs: { a: leg }, format: 'xml' },
      'format',
      /expected "json", which legs become, got "xml"/
    ],
    [
      'XML without a root',
      { legs: { a: leg }, format: { to: ['xml'] } },
      'format.to',
      /expected the option "root"/
    ],
    [
      'a cache of a leg that changes something',
      { legs: { a: { ...leg, method: 'POST', cache: {} } } },
      'legs.a.cache',
      'expected a leg that only reads, got "method": "POST"; "safe": true says that it does'
    ],
    [
      'a cache with an unknown value',
      { legs: { a: { ...leg, cache: { tags: ['{nope}'] } } } },
      'legs.a.cache.tags.0',
      /expected one of .*, got "\{nope\}"/
    ],
    [
      'a cache with an unknown option',
      { legs: { a: { ...leg, cache: { ttll: '1m' } } } },
      'legs.a.cache',
      /ttl/
    ],
    [
      'a cache that is a text',
      { legs: { a: { ...leg, cache: '1m' } } },
      'legs.a.cache',
      /expected true, false, or an object of options/
    ],
    ['times and sizes', { legs: { a: { ...leg, timeout: '0s' } } }, 'legs.a.timeout', /./],
    ['max', { legs: { a: { ...leg, max: 0 } } }, 'legs.a.max', /./]
  ]
  for (const [name, aggregate, path, message] of cases) {
    const { faults } = await gateway(t, {
      upstreams: { up: { url: 'http://127.0.0.1:9' } },
      routes: [{ path: '/:id', aggregate }]
    }).then(
      () => ({ faults: [] as { path: string; message: string }[] }),
      (error: { faults: { path: string; message: string }[] }) => error
    )
    const found = faults.find((fault) => dotted(fault.path).startsWith(`routes.0.aggregate.${path}`))
    t.match(found?.message, message, `${name}: ${JSON.stringify(faults)}`)
  }
})

t.test('warns of options that can’t do what they seem to', async (t) => {
  const about = (auth: unknown): AboutRoute => ({
    optionsOf: (key) => (key === 'auth' ? auth : false),
    upstreams: {},
    paths: ['/'],
    methods: undefined,
    target: 'aggregate',
    overrides: []
  })
  const one = { headers: {}, method: 'GET', path: '/a', safe: false }
  for (const [name, leg, auth, warning] of [
    ['a cache where every request has a caller', { ...one, cache: true }, {}, /stores nothing of a, because/],
    ['a cache where some have one', { ...one, cache: true }, { optional: true }, undefined],
    ['a cache for each caller', { ...one, cache: { callers: 'separate' } }, {}, undefined],
    ['no cache', { ...one, cache: false }, {}, undefined],
    [
      'a new path each time',
      { ...one, path: '/{requestId}', cache: { callers: 'shared' } },
      {},
      /\{requestId\} in a is new/
    ],
    ['a new path, and no cache', { ...one, path: '/{requestId}' }, {}, undefined]
  ] as const) {
    const found = warnings({ legs: { a: leg } } as unknown as AggregateOptions, about(auth))
    t.match(found, warning === undefined ? [] : [{ message: warning }], name)
    t.equal(found.length, warning === undefined ? 0 : 1, name)
  }
})
