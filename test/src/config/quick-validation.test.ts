import { Ajv, type ValidateFunction } from 'ajv'
import fc from 'fast-check'
import t from 'tap'
import { isSurelyValid } from '../../../src/config/quick-validation.ts'
import { catalog } from '../../../src/gateway/catalog.ts'
import { isObject, overrideOf } from '../../../src/lib/schema.ts'
import { draws } from '../../random.ts'

const compile = (schema: object): ValidateFunction =>
  new Ajv({
    allErrors: true,
    strict: false,
    validateSchema: false,
    logger: false,
    code: { optimize: false }
  }).compile(schema)

const schemas = [...catalog.concerns, ...catalog.targets].flatMap(({ key, options, ...module }) => [
  [key, options] as const,
  [`${key}, in part`, overrideOf(options)] as const,
  ...('override' in module && isObject(module.override)
    ? [[`${key}, on a route`, module.override as object] as const]
    : [])
])

const leaf = fc.oneof(
  fc.constantFrom<unknown>(
    '',
    'a',
    '10s',
    '1mb',
    '50%',
    '/a/*',
    'https://a.example',
    'GET',
    '10.0.0.0/8',
    'on'
  ),
  fc.constantFrom<unknown>(0, 1, -1, 200, 404, 1.5, 1e9, Number.NaN, true, false, null, undefined),
  fc.constantFrom<unknown>([], {}, [1], ['a', 'a'], { a: 1 }, { constructor: 'x' }, 10n)
)

/** Replaces, adds or removes one part of a value, at a place that a list of numbers chooses. */
function changed(value: unknown, [at = 0, ...rest]: readonly number[], by: unknown, name: string): unknown {
  if (rest.length === 0) return by
  if (Array.isArray(value)) {
    if (value.length === 0 || at % 5 === 0) return [...value, by]
    const index = at % value.length
    return value.map((each, i) => (i === index ? changed(each, rest, by, name) : each))
  }
  if (!isObject(value)) return by
  const keys = Object.keys(value)
  if (keys.length === 0 || at % 5 === 0) return { ...value, [name]: by }
  const key = keys[at % keys.length] as string
  if (at % 7 === 0) return Object.fromEntries(Object.entries(value).filter(([each]) => each !== key))
  return { ...value, [key]: changed(value[key], rest, by, name) }
}

const names = [...new Set(JSON.stringify(schemas).match(/"[a-z][a-zA-Z]+(?=":)/g))].map((name) =>
  name.slice(1)
)

t.test('ajv accepts what it accepts of the options of every concern and target', async (t) => {
  let accepted = 0
  for (const [key, schema] of schemas) {
    const validate = compile(schema)
    const examples = [{}, ...((schema as { examples?: unknown[] }).examples ?? []), true, false, 'text']
    for (const example of examples)
      t.equal(isSurelyValid(schema, example), validate(example), `${key}: ${JSON.stringify(example)}`)
    const change = fc.record({
      example: fc.constantFrom(...examples),
      path: fc.array(fc.nat(99), { minLength: 1, maxLength: 5 }),
      by: leaf,
      name: fc.constantFrom(...names)
    })
    fc.assert(
      fc.property(change, ({ example, path, by, name }) => {
        const value = changed(example, path, by, name)
        if (!isSurelyValid(schema, value)) return true
        accepted++
        return validate(value)
      }),
      draws(50)
    )
  }
  t.ok(accepted > schemas.length, `${accepted} accepted`)
})

const number = fc.integer({ min: 0, max: 3 })
const { schema } = fc.letrec((tie) => {
  const inner = tie('schema')
  const byName = fc.dictionary(fc.constantFrom('a', 'b', 'constructor', '__proto__'), inner, { maxKeys: 3 })
  return {
    schema: fc.oneof(
      { depthSize: 'small' },
      fc.boolean(),
      fc.record(
        {
          type: fc.constantFrom('string', 'number', 'integer', 'boolean', 'null', 'array', 'object'),
          const: leaf.filter((value) => value !== undefined && typeof value !== 'bigint'),
          enum: fc.constantFrom<unknown[]>(['a'], [1, 'a', null], [true, 0], [{ a: 1 }]),
          anyOf: fc.array(inner, { minLength: 1, maxLength: 3 }),
          minimum: number,
          maximum: number,
          minLength: number,
          maxLength: number,
          pattern: fc.constantFrom('^a', '.', '^\\S*$', '^\\u{1F600}$'),
          items: inner,
          minItems: number,
          maxItems: number,
          uniqueItems: fc.boolean(),
          required: fc.uniqueArray(fc.constantFrom('a', 'b', 'toString'), { maxLength: 2 }),
          properties: byName,
          patternProperties: fc.dictionary(fc.constantFrom('^a', '.', '^__'), inner, { maxKeys: 2 }),
          additionalProperties: inner,
          minProperties: number,
          maxProperties: number,
          not: inner,
          format: fc.constant('none'),
          'x-says': fc.constant('what it is')
        },
        { requiredKeys: [] }
      )
    )
  }
})
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.constantFrom('\u{1F600}', '\u{1F600}\u{1F600}'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c', 'toString', '__proto__'), tie('value'), { maxKeys: 3 })
  )
})).value

t.test('ajv accepts what it accepts of any schema', async (t) => {
  let accepted = 0
  fc.assert(
    fc.property(schema, fc.array(value, { minLength: 5, maxLength: 5 }), (made, values) => {
      let validate: ValidateFunction
      try {
        validate = compile(typeof made === 'boolean' ? { anyOf: [made] } : (made as object))
      } catch {
        // Not every combination is a schema.
        return true
      }
      return values.every((each) => {
        if (!isSurelyValid(made, each)) return true
        accepted++
        return validate(each)
      })
    }),
    draws(300)
  )
  t.ok(accepted > 50, `${accepted} accepted`)
})
