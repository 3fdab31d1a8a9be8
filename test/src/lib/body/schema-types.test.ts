import t from 'tap'
import { FormatError } from '../../../../src/lib/body/format-errors.ts'
import { compileTypes } from '../../../../src/lib/body/schema-types.ts'

type Schema = Readonly<Record<string, unknown>>

const integer = { type: 'integer' }
const optional = { type: ['integer', 'null'] }

t.test('strings become what the schema says', async (t) => {
  const tree = {
    $ref: '#/$defs/node',
    $defs: { node: { properties: { id: integer, node: { type: 'array', items: { $ref: '#/$defs/node' } } } } }
  }
  const cases: [schema: Schema, value: unknown, json: string][] = [
    [integer, '007', '7'],
    [integer, '-12', '-12'],
    [integer, '+5', '5'],
    [integer, '12345678901234567890', '12345678901234567890'],
    [{ type: 'number' }, '1.50', '1.5'],
    [{ type: 'number' }, '.5', '0.5'],
    [{ type: 'number' }, '5.', '5'],
    [{ type: 'number' }, '-1E3', '-1000'],
    [{ type: 'number' }, '12345678901234567.89', '12345678901234567.89'],
    [{ type: 'boolean' }, 'true', 'true'],
    [{ type: 'boolean' }, '0', 'false'],
    [{ type: 'null' }, '', 'null'],
    [optional, '', 'null'],
    [optional, '3', '3'],
    [optional, { '@nil': 'true' }, 'null'],
    [optional, { '@xsi:nil': '1' }, 'null'],
    // Nothing is guessed.
    [{}, '7', '"7"'],
    [{ type: 'string' }, '007', '"007"'],
    [{ type: ['string', 'integer'] }, '007', '"007"'],
    [{ anyOf: [integer, { type: 'string' }] }, '7', '"7"'],
    [{ anyOf: [integer, { type: 'null' }] }, '', 'null'],
    [{ properties: { a: integer } }, { a: '1', b: '2' }, '{"a":1,"b":"2"}'],
    [{ properties: { a: true }, additionalProperties: integer }, { a: '1', b: '2' }, '{"a":"1","b":2}'],
    [{ items: integer }, ['1', '2'], '[1,2]'],
    [{ type: 'array', items: integer }, '1', '[1]'],
    [{ type: 'array' }, { a: '1' }, '[{"a":"1"}]'],
    [{ properties: { a: { type: 'array', items: integer } } }, { a: ['1', '2'] }, '{"a":[1,2]}'],
    [{ anyOf: [integer, {}] }, '1', '"1"'],
    [{ anyOf: [integer, true] }, { a: '1' }, '{"a":"1"}'],
    [{ allOf: [integer, { minimum: 1 }] }, '1', '1'],
    [{ oneOf: [{ properties: { a: integer } }, { type: 'null' }] }, { a: '1' }, '{"a":1}'],
    [
      { allOf: [{ properties: { a: integer } }, { properties: { b: integer } }] },
      { a: '1', b: '2' },
      '{"a":1,"b":2}'
    ],
    [{ type: 'object' }, '', '{}'],
    [{ type: 'object', properties: { '#text': integer } }, '5', '{"#text":5}'],
    [
      { properties: { '@id': integer, '#text': integer } },
      { '@id': '1', '#text': '2' },
      '{"@id":1,"#text":2}'
    ],
    [
      tree,
      { id: '1', node: { id: '2', node: [{ id: '3' }] } },
      '{"id":1,"node":[{"id":2,"node":[{"id":3}]}]}'
    ],
    [{ anyOf: [{ $ref: '#' }, integer] }, '1', '1'],
    [{ additionalProperties: integer }, JSON.parse('{"__proto__":"1"}'), '{"__proto__":1}']
  ]
  for (const [schema, value, json] of cases)
    t.equal(
      JSON.stringify(compileTypes(schema)(value)),
      json,
      `${JSON.stringify(schema)} ${JSON.stringify(value)}`
    )
})

t.test('a value that does not fit is refused', async (t) => {
  const cases: [schema: Schema, values: unknown[]][] = [
    [integer, ['', ' 1', '1.0', '1e3', '0x1', 'secret', '١', ['1'], { '@a': '1' }]],
    [{ type: 'number' }, ['', 'INF', 'NaN', '1,5', '1e', '.', '--1', '+-1']],
    [{ type: 'boolean' }, ['', 'yes', 'TRUE', '2']],
    [{ type: 'null' }, ['null', '0', { '@nil': 'false' }, { '@nil': 'true', '@a': '1' }]],
    [{ type: 'object' }, ['x', ['x']]],
    [{ type: 'string' }, [{ a: 'x' }, ['x']]],
    [{ type: 'array', items: integer }, ['x', ['1', 'x']]]
  ]
  for (const [schema, values] of cases)
    for (const value of values)
      t.throws(
        () => compileTypes(schema)(value),
        new FormatError('a value is not of the type in the schema'),
        `${JSON.stringify(schema)} ${JSON.stringify(value)}`
      )
})
