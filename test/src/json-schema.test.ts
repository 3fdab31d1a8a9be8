import { pathToFileURL } from 'node:url'
import t from 'tap'
import { SchemaCompiler } from '../../src/lib/body/json-schema/compiler.ts'
import { inTime } from '../../src/lib/body/json-schema/in-time.ts'
import { metaschemaFaults } from '../../src/lib/body/json-schema/metaschema.ts'
import { compilePattern } from '../../src/lib/body/json-schema/pattern.ts'
import { bundleSchema } from '../../src/lib/body/json-schema/references.ts'
import type { SchemaValidator } from '../../src/lib/body/json-schema/schema-errors.ts'
import { gateway } from '../helpers.ts'
import { readRemote, readSuite, suiteTest } from '../schema-suite.ts'

const compile = (schema: unknown): SchemaValidator => new SchemaCompiler(bundleSchema(schema)).at()

suiteTest(t, 'the required tests of JSON Schema 2020-12 pass', async (t) => {
  const failed: string[] = []
  let count = 0
  for (const { file, description, schema, tests } of readSuite()) {
    const bundle = bundleSchema(schema, { read: readRemote })
    t.strictSame(bundle.faults, [], `${file}: ${description}`)
    const validate = new SchemaCompiler(bundle).at()
    for (const { description: test, data, valid } of tests) {
      count++
      // Patterns have a time limit for each turn of the event loop.
      await new Promise(setImmediate)
      if ((validate(data) === undefined) !== valid) failed.push(`${file}: ${description}: ${test}`)
    }
  }
  t.ok(count >= 1166, `${count} tests`)
  t.strictSame(failed, [
    // A metaschema of its own can't switch keywords off.
    'vocabulary.json: schema that uses custom metaschema with with no validation vocabulary: no validation: invalid number, but it still validates'
  ])
})

t.test('a schema is not used where', async (t) => {
  const cases: [what: string, schema: unknown, faults: string[]][] = [
    ['a pattern is none', { pattern: '(' }, ['has a pattern that is no regular expression: (']],
    [
      'a key pattern is none',
      { patternProperties: { '[': true } },
      ['has a pattern that is no regular expression: [']
    ],
    ['it refers to nothing', { $ref: '#/$defs/a' }, ['refers to #/$defs/a, which is not there']],
    ['it refers to no anchor', { items: { $ref: '#a' } }, ['refers to #a, which is not there']],
    [
      'it refers to a URL',
      { $ref: 'https://example.com/a.json' },
      ['refers to https://example.com/a.json, and nothing is fetched over HTTP; use a file beside the config']
    ],
    [
      'it refers to a file that is not there',
      { $ref: 'file:///not/here.json#/a' },
      [
        "refers to file:///not/here.json#/a, which can't be read: ENOENT: no such file or directory, open '/not/here.json'"
      ]
    ]
  ]
  for (const [what, schema, faults] of cases) t.strictSame(bundleSchema(schema).faults, faults, what)
  t.strictSame(metaschemaFaults(bundleSchema({ properties: { a: { type: 'text' } }, minimum: '1' })), [
    'is not valid at #/minimum: it must be number',
    'is not valid at #/properties/a/type: it must be one of array, boolean, integer, null, number, object, string, or a list of them'
  ])
  t.strictSame(metaschemaFaults(bundleSchema({ $ref: '#', const: { type: 'text' } })), [])
})

t.test('returns warnings', async (t) => {
  const { unknownFormats, nativePatterns } = bundleSchema({
    properties: {
      a: { format: 'colour' },
      b: { pattern: '^(?=a)' },
      c: { pattern: '^(a+)+$', format: 'uuid' }
    }
  })
  t.strictSame({ unknownFormats, nativePatterns }, { unknownFormats: ['colour'], nativePatterns: ['^(?=a)'] })
})

t.test('references lead to files, and through them to others', async (t) => {
  const folder = t.testdir({
    'list.yaml': 'type: array\nitems: { $ref: "parts/item.json#/$defs/item" }\n',
    parts: {
      'item.json': JSON.stringify({
        $defs: { item: { $ref: '#/$defs/count' }, count: { type: 'integer', minimum: 3 } }
      })
    }
  })
  const $ref = pathToFileURL(`${folder}/list.yaml`).href
  for (const [engine, schema] of [
    ['ajv', { properties: { a: { $ref } } }],
    ['TypeBox', { properties: { a: { $ref } }, $anchor: 'typebox' }]
  ] as const) {
    const bundle = bundleSchema(schema)
    t.equal(bundle.documents.size, 3)
    const validate = new SchemaCompiler(bundle).at()
    t.equal(validate({ a: [3, 4] }), undefined, engine)
    t.strictSame(
      validate({ a: [3, 1] }),
      { errors: [{ pointer: '#/a/1', keyword: 'minimum', detail: 'must be >= 3' }], more: 0 },
      engine
    )
  }
})

t.test('a hash is the same for the same schema, and another one for another', async (t) => {
  const hash = (schema: unknown): string => bundleSchema(schema).hash
  t.equal(hash({ type: 'string' }), hash({ type: 'string' }))
  t.not(hash({ type: 'string' }), hash({ type: 'number' }))
})

t.test('errors are sorted, at most 20, and never quote the value', async (t) => {
  const validate = compile({ type: 'array', items: { type: 'number', enum: [1, 2] } })
  const found = validate(Array.from({ length: 100 }, () => 'a secret'))
  t.equal(found?.errors.length, 20)
  t.equal(found?.more, 180)
  t.strictSame(
    found?.errors.slice(0, 3).map(({ pointer, keyword }) => `${pointer} ${keyword}`),
    ['#/0 enum', '#/0 type', '#/1 enum']
  )
  t.notMatch(JSON.stringify(found), /secret/)
  t.equal(validate.first(Array.from({ length: 100 }, () => 'a secret'))?.errors.length, 1)
  t.strictSame(compile({ additionalProperties: false })({ 'a/b~c': 1 })?.errors, [
    { pointer: '#/a~1b~0c', keyword: 'additionalProperties', detail: 'must NOT have additional properties' }
  ])
  const long = compile({ additionalProperties: false })({ ['x'.repeat(10_000)]: 1 })
  t.ok((long?.errors[0]?.pointer.length ?? 1000) < 250, 'a long name is cut')
})

t.test('formats are asserted in either engine', async (t) => {
  const cases: [format: string, valid: unknown, invalid: unknown][] = [
    ['date-time', '2026-11-30T07:00:00Z', 'yesterday'],
    ['date', '2026-02-28', '2026-02-30'],
    ['uuid', '550e8400-e29b-41d4-a716-446655440000', '550e8400'],
    ['email', 'a@example.com', 'a'],
    ['idn-email', 'ä@example.com', 'a'],
    ['ipv4', '10.0.0.1', '10.0.0.256'],
    ['ipv6', '::1', ':::'],
    ['uri', 'https://example.com/', 'a b'],
    ['int32', 2 ** 31 - 1, 2 ** 31],
    ['byte', 'YQ==', 'Y']
  ]
  for (const [format, valid, invalid] of cases)
    for (const more of [{}, { $anchor: 'typebox' }]) {
      const validate = compile({ format, ...more })
      t.equal(validate(valid), undefined, `${format} takes what is valid`)
      t.ok(validate(invalid), `${format} refuses what is not`)
    }
})

t.test('patterns mean the same as those of JavaScript', async (t) => {
  const linear = [
    ...['^a$', 'a.c', '^\\d+$', '^[\\s\\S]*$', '\\s', '\\S', '[^\\s]', '^\\w+@\\w+\\.\\w+$', '^\\u00e9$'],
    ...['^\\u{1F600}$', '^\\ud83d\\ude00$', '\\bfoo\\b', '^[\\w.-]+$', 'a{2,3}', '^(?:a|b)+$', '^\\p{L}+$'],
    ...[
      '[\\b]',
      '^a|b$',
      '\\cA',
      '^[a-z&&b]$',
      '[\\u0000-\\u001f]',
      '^(a+)+$',
      '^(?<x>a)$',
      '^[^@]+$',
      '\\/x'
    ],
    ...['[]', '[^]', 'ab.c$', '[-a]', '^.*$', '^a{2}b?$', '[[.]', '^[a\\]]+$']
  ]
  const texts = [
    ...[
      '',
      'a',
      'a\n',
      'abc',
      'a\nc',
      'a\rc',
      'a\u2028c',
      '\u00a0',
      '\ufeff',
      ' ',
      '\v',
      'x@y.zz',
      'é',
      '😀'
    ],
    ...[
      'foo',
      'xfoo',
      'foo bar',
      ':',
      'b',
      'aa',
      'aab',
      'aaaa',
      'Ж',
      '\b',
      '\u0001',
      '&',
      'ab',
      'A',
      '/x',
      '-'
    ],
    ...['a-b', '[', '@', ']', '.']
  ]
  for (const source of linear) {
    const pattern = compilePattern(source)
    const native = new RegExp(source, 'u')
    t.ok(pattern.isLinear, `${source} is taken`)
    t.strictSame(
      texts.filter((text) => pattern.test(text)),
      texts.filter((text) => native.test(text)),
      source
    )
  }
  for (const source of ['^(?=a)b', '(?!x)', '(a)\\1', '(?<=a)b', '(?:[])', '(?:[^])'])
    t.notOk(compilePattern(source).isLinear, `${source} is left to the native engine`)
  for (const pattern of ['^(a+)+$', '^([a-z]+)*$'])
    for (const more of [{}, { $anchor: 'typebox' }])
      t.ok(compile({ pattern, ...more })(`${'a'.repeat(50_000)}!`), `${pattern} ends`)
})

t.test('a pattern that only the native engine takes is ended in time', async (t) => {
  const slow = '^(?=(a+)+$)'
  const text = `${'a'.repeat(40)}!`
  for (const [name, schema, value] of [
    ['a pattern', { pattern: slow }, text],
    ['one that must not match', { not: { pattern: slow } }, text],
    ['many values', { items: { pattern: slow } }, Array(100).fill(text)],
    ['a name', { patternProperties: { [slow]: true } }, { [text]: 1 }],
    ['a pattern on TypeBox', { pattern: slow, $anchor: 'typebox' }, text],
    ['a name on TypeBox', { patternProperties: { [slow]: true }, $anchor: 'typebox' }, { [text]: 1 }],
    [
      'a name in a schema beside the known places',
      {
        'x-shared': { a: { patternProperties: { [slow]: true } } },
        $ref: '#/x-shared/a',
        unevaluatedProperties: true
      },
      { [text]: 1 }
    ]
  ] as const) {
    await new Promise(setImmediate)
    t.match(compile(schema)(value)?.errors, [{ keyword: 'pattern', detail: /in time/ }], name)
  }
  await new Promise(setImmediate)
  const validate = compile({ pattern: '^(?=.*[0-9])(?=.*[a-z]).{8,}$' })
  t.equal(validate('password1'), undefined, 'others go on')
  t.equal(validate('password')?.errors[0]?.detail.includes('must match pattern'), true)
})

t.test('the time limit of patterns does not count what the machine does meanwhile', async (t) => {
  let calls = 0
  const busyAtFirst = (): boolean => {
    if (++calls === 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)
    return /^(?=a)/.test('a')
  }
  await new Promise(setImmediate)
  t.equal(inTime(busyAtFirst), true)
  t.equal(calls, 2, 'it is called again')
  calls = 0
  t.strictSame(
    inTime(() => [inTime(busyAtFirst), calls]),
    [true, 2],
    'the outer call is called again, not the inner one'
  )
})

t.test('compares unique items by value, in linear time', async (t) => {
  const validate = compile({ uniqueItems: true })
  const cases: [items: unknown[], unique: boolean][] = [
    [[1, '1', true, null, 'null', [], {}, [1], ['1'], { a: 1 }, '{"a":1}'], true],
    [
      [
        { a: 1, b: [2] },
        { b: [2], a: 1 }
      ],
      false
    ],
    [[1, 1.0], false],
    [[0, -0], false],
    [['a', 'a'], false],
    [[[], []], false]
  ]
  for (const [items, unique] of cases) t.equal(validate(items) === undefined, unique, JSON.stringify(items))
  t.equal(validate(Array.from({ length: 10_000 }, (_, i) => ({ i }))), undefined)
})

t.test('inherited properties are no data, and `__proto__` is', async (t) => {
  const proto = JSON.parse('{"__proto__": 1}') as unknown
  t.ok(compile({ required: ['constructor'] })({}))
  t.ok(compile({ required: ['__proto__'] })({}))
  t.equal(compile({ required: ['__proto__'] })(proto), undefined)
  t.ok(compile(JSON.parse('{"properties": {"__proto__": {"type": "string"}}}'))(proto))
  t.equal(compile({ properties: { toString: { type: 'string' } } })({}), undefined)
})

t.test('a schema that refers to nothing but itself refuses every value', async (t) => {
  t.match(compile({ $ref: '#' })(1)?.errors, [{ keyword: '$ref' }])
})

const SAMPLE = 200

suiteTest(t, 'a sample of the JSON-Schema-Test-Suite gets the same verdict over HTTP', async (t) => {
  const groups = readSuite().filter(({ file, schema }) => {
    const text = JSON.stringify(schema)
    // Nothing is fetched, and a schema of a route is an object.
    return typeof schema === 'object' && !/localhost:1234|__proto__/.test(text) && file !== 'vocabulary.json'
  })
  const all = groups.flatMap(({ tests, ...group }, i) =>
    tests
      .filter(({ data }) => !JSON.stringify(data).includes('__proto__'))
      .map((test) => ({ ...group, ...test, group: group.description, path: `/${i}` }))
  )
  const sample = all.filter((_, i) => i % Math.floor(all.length / SAMPLE) === 0).slice(0, SAMPLE)
  t.equal(sample.length, SAMPLE)
  const app = await gateway(t, {
    routes: groups.flatMap(({ schema }, i) =>
      sample.some(({ path }) => path === `/${i}`)
        ? [{ path: `/${i}`, validate: { body: schema }, respond: { status: 204 } }]
        : []
    )
  })
  for (const { file, group, description, path, data, valid } of sample) {
    const { statusCode } = await app.inject({
      method: 'POST',
      url: path,
      headers: { 'content-type': 'application/json' },
      payload: JSON.stringify(data)
    })
    t.equal(statusCode, valid ? 204 : 400, `${file}: ${group}: ${description}`)
  }
})
