// biome-ignore-all lint/suspicious/noThenProperty: a keyword of JSON Schema
import fc from 'fast-check'
import t from 'tap'
import { SchemaCompiler } from '../../src/lib/body/json-schema/compiler.ts'
import { bundleSchema } from '../../src/lib/body/json-schema/references.ts'
import type { SchemaValidator } from '../../src/lib/body/json-schema/schema-errors.ts'
import { isSubset } from '../../src/lib/body/json-schema/subset.ts'
import { draws } from '../random.ts'
import { readRemote, readSuite, suiteTest } from '../schema-suite.ts'

const isWithin = (one: unknown, other: unknown): boolean => isSubset(bundleSchema(one), bundleSchema(other))

// Each narrows a schema: what matches the second one matches the first one, and not the other way.
const NARROWER: readonly (readonly [what: string, wide: unknown, narrow: unknown])[] = [
  ['a schema', {}, { type: 'string' }],
  ['a required property', { required: ['a'] }, { required: ['b', 'a'] }],
  ['fewer types', { type: ['string', 'null'] }, { type: 'string' }],
  ['integers', { type: 'number' }, { type: 'integer' }],
  ['fewer values', { enum: ['a', 'b'] }, { enum: ['b'] }],
  ['one value', { enum: ['a', 'b'] }, { const: 'a' }],
  ['values of a type', { type: 'string', maxLength: 3 }, { enum: ['abc', 'd'] }],
  ['a minimum', { type: 'integer' }, { type: 'integer', minimum: 1 }],
  ['a higher minimum', { minimum: 1 }, { exclusiveMinimum: 1 }],
  ['a lower maximum', { exclusiveMaximum: 10 }, { maximum: 9 }],
  ['a multiple', { multipleOf: 2 }, { multipleOf: 6 }],
  ['a pattern', { type: 'string' }, { type: 'string', pattern: '^a' }],
  ['a maximum length', { type: 'string', maxLength: 9 }, { type: 'string', maxLength: 8 }],
  ['texts that are long enough', { minLength: 2 }, { enum: ['abc', 1] }],
  ['numbers below a maximum', { exclusiveMaximum: 3 }, { enum: [1, 2] }],
  ['numbers above a minimum', { exclusiveMinimum: 0 }, { const: 1 }],
  ['lists that are short enough', { maxItems: 1 }, { enum: [[], [1]] }],
  ['objects with enough properties', { minProperties: 1 }, { const: { a: 1 } }],
  ['a format', { type: 'string' }, { type: 'string', format: 'uuid' }],
  ['a format of numbers', { type: 'integer' }, { type: 'integer', format: 'int32' }],
  ['no other properties', { properties: { a: {} } }, { properties: { a: {} }, additionalProperties: false }],
  [
    'a property that is gone where no others are allowed',
    { properties: { a: {}, b: {} }, additionalProperties: false },
    { properties: { a: {} }, additionalProperties: false }
  ],
  ['a narrower property', { properties: { a: {} } }, { properties: { a: { type: 'string' } } }],
  [
    'a narrower pattern of names',
    { patternProperties: { '^a': {} } },
    { patternProperties: { '^a': false } }
  ],
  ['narrower other properties', { additionalProperties: {} }, { additionalProperties: { type: 'string' } }],
  ['narrower items', { items: { type: 'number' } }, { items: { type: 'number', minimum: 0 } }],
  ['a first item', { type: 'array' }, { prefixItems: [{ type: 'string' }], type: 'array' }],
  ['unique items', { type: 'array' }, { type: 'array', uniqueItems: true }],
  ['a branch less', { anyOf: [{ type: 'string' }, { type: 'null' }] }, { anyOf: [{ type: 'null' }] }],
  ['no branch but one', { anyOf: [{ type: 'string' }, { type: 'null' }] }, { type: 'null' }],
  ['a schema more', { allOf: [{ minimum: 1 }] }, { allOf: [{ minimum: 1 }, { maximum: 9 }] }],
  ['more that it is not', { not: { const: 1 } }, { not: { enum: [1, 2] } }],
  [
    'a narrower definition',
    { $ref: '#/$defs/a', $defs: { a: { type: ['string', 'null'] } } },
    { $ref: '#/$defs/b', $defs: { b: { type: 'string' } } }
  ],
  [
    'a narrower tree',
    { type: 'object', properties: { children: { items: { $ref: '#' } } } },
    { type: 'object', properties: { children: { items: { $ref: '#' } }, name: { type: 'string' } } }
  ],
  ['nothing', { type: 'string' }, false]
]

for (const [what, wide, narrow] of NARROWER)
  t.test(`knows ${what} as narrower`, async (t) => {
    t.ok(isWithin(narrow, wide))
    t.notOk(isWithin(wide, narrow))
  })

t.test('knows schemas that say the same', async (t) => {
  for (const [one, other] of [
    [
      { title: 'a', description: 'b', type: 'string', examples: ['c'] },
      { type: ['string'], 'x-own': 1 }
    ],
    [{ required: ['a', 'b'] }, { allOf: [{ required: ['b'] }, { required: ['a'] }] }],
    [{ $ref: '#/$defs/a', $defs: { a: { minimum: 1 } } }, { minimum: 1 }],
    [{ oneOf: [{ type: 'string' }, { type: 'null' }] }, { oneOf: [{ type: 'string' }, { type: 'null' }] }],
    [
      { if: { minimum: 1 }, then: { maximum: 2 } },
      { if: { minimum: 1 }, then: { maximum: 2, title: 'a' } }
    ],
    [{ minLength: 0, minItems: 0, minProperties: 0, format: 'what nobody knows' }, true]
  ] as const)
    t.ok(isWithin(one, other) && isWithin(other, one), JSON.stringify(one))
})

t.test('claims nothing of what it can not tell', async (t) => {
  for (const [one, other] of [
    [{ pattern: '^ab' }, { pattern: '^a' }],
    [{ oneOf: [{ minimum: 1 }, { maximum: 3 }] }, { oneOf: [{ minimum: 1 }] }],
    [{ unevaluatedProperties: false }, { unevaluatedProperties: false }],
    [{ $ref: '#a', $defs: { a: { $anchor: 'a' } } }, { type: 'string' }],
    [{ type: 'string', nullable: true }, { type: 'string' }],
    [{ type: 'integer' }, { type: 'integer', format: 'int32' }],
    [{ enum: ['abc', 'd'] }, { minLength: 2 }],
    [{ const: 3 }, { exclusiveMaximum: 3 }],
    [{ maxItems: 2 }, { maxItems: 1 }]
  ] as const)
    t.notOk(isWithin(one, other), JSON.stringify(one))
})

const validatorOf = (schema: unknown): SchemaValidator => new SchemaCompiler(bundleSchema(schema)).at()

t.test('never claims it of a value that only the first schema accepts', async (t) => {
  const scalar = fc.constantFrom<object>(
    {},
    { type: 'string' },
    { type: ['string', 'null'] },
    { type: 'integer' },
    { type: 'number', minimum: 1 },
    { type: 'number', exclusiveMinimum: 1 },
    { maximum: 2 },
    { enum: ['a', 1, null] },
    { const: 'a' },
    { minLength: 2 },
    { type: 'string', maxLength: 1 },
    { pattern: '^a' }
  )
  const { schema } = fc.letrec<{ schema: object }>((tie) => ({
    schema: fc.oneof(
      { depthSize: 'small' },
      scalar,
      fc
        .record(
          {
            properties: fc.dictionary(fc.constantFrom('a', 'b'), tie('schema'), { maxKeys: 2 }),
            patternProperties: fc.dictionary(fc.constantFrom('^a', 'b$'), tie('schema'), { maxKeys: 1 }),
            additionalProperties: fc.oneof(fc.boolean(), tie('schema')),
            required: fc.uniqueArray(fc.constantFrom('a', 'b', 'ab')),
            type: fc.constantFrom('object', ['object', 'array']),
            maxProperties: fc.constantFrom(1, 2)
          },
          { requiredKeys: [] }
        )
        .map((made) => made),
      fc.record(
        { items: tie('schema'), prefixItems: fc.array(tie('schema'), { minLength: 1, maxLength: 1 }) },
        { requiredKeys: [] }
      ),
      fc.record({ anyOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }) }),
      fc.record({ allOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }) }),
      fc.record({ oneOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }) }),
      fc.record({ not: tie('schema') }),
      fc.record({ if: tie('schema'), then: tie('schema') }),
      fc.record({ contains: tie('schema') })
    )
  }))
  const leaves = ['a', 'ab', 'b', '', 0, 1, 1.5, 2, 3, null, true]
  const objects = [{}, ...leaves.flatMap((one) => [{ a: one }, { b: one }, { ab: one }, { a: one, b: 1 }])]
  const values = [
    ...leaves,
    ...objects,
    [],
    ...leaves.map((one) => [one]),
    ['a', 1],
    [{ a: 'a' }],
    { a: { b: 1 } }
  ]
  const parameters = draws(60)
  const schemas = fc.sample(schema, parameters)
  const accepted = schemas.map((each) => {
    const validate = validatorOf(each)
    return values.map((value) => validate(value) === undefined)
  })
  const bundles = schemas.map((each) => bundleSchema(each))
  const wrong: unknown[] = []
  let claimed = 0
  for (const [i, one] of bundles.entries())
    for (const [j, other] of bundles.entries()) {
      if (i === j || !isSubset(one, other)) continue
      claimed++
      const at = values.findIndex((_, k) => accepted[i]?.[k] === true && accepted[j]?.[k] === false)
      if (at !== -1) wrong.push([schemas[i], schemas[j], values[at]])
    }
  t.strictSame(wrong.slice(0, 1), [], `repeat this run by FUZZ_SEED=${parameters.seed}`)
  t.ok(claimed > 0, `of ${claimed} pairs`)
})

suiteTest(t, 'claims nothing that the tests of JSON Schema 2020-12 refute', async (t) => {
  const groups = Object.values(Object.groupBy(readSuite(), ({ file }) => file))
  const wrong: unknown[] = []
  let claimed = 0
  for (const group of groups) {
    const values = group?.flatMap(({ tests }) => tests.map(({ data }) => data)) ?? []
    const schemas = (group ?? []).map(({ schema }) => {
      const bundle = bundleSchema(schema, { read: readRemote })
      const validate = new SchemaCompiler(bundle).at()
      return { schema, bundle, accepted: values.map((value) => validate(value) === undefined) }
    })
    for (const one of schemas)
      for (const other of schemas) {
        if (one === other || !isSubset(one.bundle, other.bundle)) continue
        claimed++
        const at = values.findIndex((_, k) => one.accepted[k] === true && other.accepted[k] === false)
        if (at !== -1) wrong.push([one.schema, other.schema, values[at]])
      }
  }
  t.strictSame(wrong.slice(0, 3), [], `${wrong.length} of ${claimed}`)
  t.ok(claimed > 100, `of ${claimed} pairs`)
})
