import fc from 'fast-check'
import t from 'tap'
import {
  isJsonFault,
  type ProvenJson,
  parseJson,
  provenJson,
  stringifyJson
} from '../../../../src/lib/body/json.ts'
import {
  fillJson,
  jsonTemplate,
  jsonTemplateFaults,
  type Resolve,
  writeJson
} from '../../../../src/lib/body/values-in-json.ts'
import { deepFreeze } from '../../../../src/lib/schema.ts'
import { draws } from '../../../random.ts'

const proven = (text: string): ProvenJson => {
  const read = provenJson(Buffer.from(text))
  if (isJsonFault(read)) throw new Error(read.fault)
  return read
}

const VALUES: Record<string, unknown> = {
  text: 'a "b" {c}',
  one: 1,
  yes: true,
  none: null,
  large: parseJson('12345678901234567890'),
  list: [1, null],
  object: { a: 1 },
  leg: proven(' { "b": 1.0,\n "a": 12345678901234567890 } ')
}
const resolve: Resolve = (reference) => (Object.hasOwn(VALUES, reference) ? VALUES[reference] : undefined)

const written = (template: unknown): string | undefined => {
  const chunks = writeJson(jsonTemplate(template), resolve)
  return chunks === undefined ? undefined : Buffer.concat(chunks).toString()
}

t.test('values are filled into JSON', async (t) => {
  const cases: [template: unknown, json: string | undefined][] = [
    ['plain', '"plain"'],
    ['', '""'],
    [null, 'null'],
    [5, '5'],
    [{ a: [1, { b: 'c' }] }, '{"a":[1,{"b":"c"}]}'],
    ['{{literal}} "quoted"', '"{literal} \\"quoted\\""'],
    ['{text}', '"a \\"b\\" {c}"'],
    ['{one}', '1'],
    ['{yes}', 'true'],
    ['{none}', 'null'],
    ['{large}', '12345678901234567890'],
    ['{list}', '[1,null]'],
    ['{object}', '{"a":1}'],
    ['x {text} {one} {yes} {large} {{one}}', '"x a \\"b\\" {c} 1 true 12345678901234567890 {one}"'],
    ['{one}{one}', '"11"'],
    // Inside a text stands no null, list or object.
    [{ a: 'x {none}', b: 'x {list}', c: 'x {object}', d: 'x {leg}', e: 'x {missing}', f: 1 }, '{"f":1}'],
    [{ a: '{missing}', b: '{one}', c: '{missing}', d: '{none}' }, '{"b":1,"d":null}'],
    [{ a: { b: '{missing}' }, c: ['{missing}'] }, '{"a":{},"c":[null]}'],
    [['{missing}', 'x {missing}', '{one}', 2], '[null,null,1,2]'],
    [{ '{one}': '{one}' }, '{"{one}":1}'],
    ['{missing}', undefined],
    ['{constructor}', undefined],
    [{ a: '{constructor}' }, '{}'],
    [parseJson('{"__proto__":"{one}","b":{"__proto__":1}}'), '{"__proto__":1,"b":{"__proto__":1}}'],
    // As it came, white space and all.
    ['{leg}', ' { "b": 1.0,\n "a": 12345678901234567890 } '],
    [
      { x: '{leg}', y: ['{leg}', '{one}'] },
      '{"x": { "b": 1.0,\n "a": 12345678901234567890 } ,"y":[ { "b": 1.0,\n "a": 12345678901234567890 } ,1]}'
    ],
    [
      { a: '{missing}', x: '{leg}', b: '{missing}', z: 'é' },
      '{"x": { "b": 1.0,\n "a": 12345678901234567890 } ,"z":"é"}'
    ]
  ]
  for (const [template, json] of cases) {
    const name = JSON.stringify(template)
    t.equal(written(deepFreeze(template)), json, name)
    const value = fillJson(jsonTemplate(template), resolve)
    t.equal(
      value === undefined ? undefined : stringifyJson(value),
      json === undefined ? undefined : stringifyJson(parseJson(json)),
      `${name} as a value`
    )
  }
})

t.test('the bytes of a leg are not copied', async (t) => {
  const leg = proven('{"a":1}')
  const chunks = writeJson(jsonTemplate({ x: '{leg}' }), () => leg)
  t.equal(chunks?.length, 3)
  t.equal(chunks?.[1], leg.bytes)
})

t.test('a template tells its references, and what is wrong with it', async (t) => {
  t.strictSame(jsonTemplate({ a: '{x.y}', b: ['{z} {x.y}', 1, '{{n}}'] }).references, ['x.y', 'z'])
  t.strictSame(jsonTemplate('plain').references, [])
  t.match(jsonTemplateFaults({ a: ['ok', '{open'], b: '{c}' }, ['body']), [
    { path: ['body', 'a', 1], message: /^expected a "}" after "{", got / }
  ])
  t.strictSame(jsonTemplateFaults({ a: ['{b}', null, 1] }, []), [])
})

t.test('a template without references is the JSON that it is', async () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value)
      return text.includes('{{') || /"[^"]*[{}][^"]*"/.test(text) || written(value) === text
    }),
    draws()
  )
})
