import fc from 'fast-check'
import t from 'tap'
import { isDeeperThan, scanJson } from '../../../../src/lib/body/scan-json.ts'
import { draws } from '../../../random.ts'

const limits = { levels: 64, keys: 10_000 }

const keys = (count: number): string =>
  `{${Array.from({ length: count }, (_, i) => `"k${i}":${i}`).join(',')}}`

t.test('one scan finds what two readers may see differently', async (t) => {
  const cases: [text: string, fault?: string, pointer?: string][] = [
    ['{}'],
    ['[]'],
    ['"a"'],
    [''],
    ['{"a":{"a":1},"b":{"a":1}}'],
    ['[{"a":1},{"a":1}]'],
    ['{"a":"a","b":"a"}'],
    ['{"a":["a","a",{"a":"a"}]}'],
    ['{"A":1,"a":2}'],
    ['{"a\\"":1,"a":{"\\\\":1}}'],
    ['{"x":"\\\\","y":"{\\"x\\":1,\\"x\\":2}"}'],
    ['{"constructor":1,"toString":2,"prototype":3}'],
    ['{"value":"__proto__"}'],
    ['{"a":1,"a":2}', 'duplicateKey', '/a'],
    ['{"a":1,"\\u0061":2}', 'duplicateKey', '/a'],
    ['{"":1,"":2}', 'duplicateKey', '/'],
    ['{"a":{"b":1},"a":2}', 'duplicateKey', '/a'],
    ['{ "items" : [ 1, [], { "x" : 1 , "x" : 2 } ] }', 'duplicateKey', '/items/2/x'],
    ['{"é":1,"\\u00e9":2}', 'duplicateKey', '/é'],
    ['{"a/b":{"~":1,"~":2}}', 'duplicateKey', '/a~1b/~0'],
    ['{"__proto__":1}', 'proto', '/__proto__'],
    ['[{"a":{"\\u005f_proto__":1}}]', 'proto', '/0/a/__proto__'],
    [`${keys(30).slice(0, -1)},"k29":1}`, 'duplicateKey', '/k29'],
    [`${keys(30).slice(0, -1)},"k3":1}`, 'duplicateKey', '/k3'],
    [keys(10_000)],
    [keys(10_001), 'keys', '/k10000'],
    [`[${keys(5000)},${keys(5001)}]`, 'keys', '/1/k5000'],
    ['['.repeat(64)],
    [`{"a":${'['.repeat(63)}1,[2]`, 'depth', `/a${'/0'.repeat(62)}/1`],
    [`{"${'k'.repeat(100)}":1,"${'k'.repeat(100)}":1}`, 'duplicateKey', `/${'k'.repeat(64)}…`]
  ]
  for (const [text, fault, pointer] of cases)
    t.strictSame(
      scanJson(text, limits),
      fault === undefined ? undefined : { fault, pointer },
      text.slice(0, 60)
    )
})

t.test('any text is scanned, JSON or not', async (t) => {
  const texts = ['{{{', ']]]]{"a":1,"a"', ',,,', '"', '"\\', '{"', '{"a', '}{"\\u":1,"\\u":2}', ':{,"a","a"']
  for (const text of texts) t.doesNotThrow(() => scanJson(text, limits), text)
  const noise = fc.stringMatching(/^[\]{}[",:\\au_]*$/)
  fc.assert(
    fc.property(noise, (text) => typeof scanJson(text, limits) !== 'string'),
    draws()
  )
})

t.test('the scan agrees with the parser', async () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      const text = JSON.stringify(value, null, 1)
      const found = scanJson(text, limits)
      return text.includes('__proto__') ? true : found === undefined
    }),
    draws()
  )
  const objects = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd"', '\\', 'é'), fc.jsonValue()))
  fc.assert(
    fc.property(objects, (entries) => {
      const text = `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`
      if (text.includes('__proto__')) return true
      const repeats = Object.keys(JSON.parse(text) as object).length !== entries.length
      return (scanJson(text, limits)?.fault === 'duplicateKey') === repeats
    }),
    draws()
  )
})

t.test('the depth of a text is what is open at once, outside of strings', async (t) => {
  const cases: [text: string, levels: number][] = [
    ['', 0],
    ['1', 0],
    ['"[[["', 0],
    ['"\\"["', 0],
    ['["\\\\",[]]', 2],
    ['[[],[],{}]', 2],
    ['{"a":{"b":[1]}}', 3]
  ]
  for (const [text, levels] of cases) {
    t.notOk(isDeeperThan(text, levels), text)
    if (levels > 0) t.ok(isDeeperThan(text, levels - 1), text)
  }
})

t.test('hostile texts are scanned in linear time', async (t) => {
  // In quadratic time, each of these takes minutes.
  const length = 2_000_000
  for (const text of [
    `"${'\\'.repeat(length)}`,
    `"${'\\"'.repeat(length)}`,
    `{"${'\\u0061'.repeat(length / 6)}":1}`,
    `[${'"",'.repeat(length)}`,
    `[${'{"a":1},'.repeat(9000)}`
  ]) {
    t.equal(scanJson(text, limits), undefined)
    t.notOk(isDeeperThan(text, 64))
  }
})
