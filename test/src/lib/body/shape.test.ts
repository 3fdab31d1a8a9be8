import t from 'tap'
import { parseJson, stringifyJson } from '../../../../src/lib/body/json.ts'
import {
  compileShape,
  hasShape,
  type Shape,
  shapeFaults,
  shapeOptions
} from '../../../../src/lib/body/shape.ts'
import { deepFreeze } from '../../../../src/lib/schema.ts'

t.test('a shape applies its options in one order', async (t) => {
  const all = Object.keys(shapeOptions)
  t.strictSame(all, ['query', 'first', 'flatten', 'pick', 'omit', 'rename', 'set', 'remove'])
  const cases: [name: string, shape: Shape<void>, from: string, to: string][] = [
    ['nothing', {}, '[1.0]', '[1]'],
    [
      'all of them',
      {
        remove: ['seen'],
        set: { seen: () => true, note: () => 'x' },
        rename: { name: 'seen', id: 'sku' },
        omit: ['cost'],
        pick: ['id', 'name', 'cost', 'note'],
        first: true,
        query: 'items[?id > `1`]'
      },
      '{"items":[{"id":1},{"id":12345678901234567890,"cost":2,"name":"n","other":3}]}',
      '{"sku":12345678901234567890,"note":"x"}'
    ],
    ['the first item', { first: true }, '[{"a":1},2]', '{"a":1}'],
    ['the first item of none', { first: true }, '[]', 'null'],
    ['the first of what is no list', { first: true, pick: ['a'] }, '{"a":1,"b":2}', '{"a":1}'],
    [
      'the first item of the list at a path',
      { first: 'data.items', pick: ['id'] },
      '{"data":{"items":[{"id":1,"x":2},{}]}}',
      '{"id":1}'
    ],
    ['the first item at a missing path', { first: 'data.items' }, '{}', 'null'],
    ['a list of lists', { flatten: true }, '[[1,2],[[3]],4]', '[1,2,[3],4]'],
    ['what is no list', { flatten: true }, '{"a":[]}', '{"a":[]}'],
    [
      'the list at a path',
      { flatten: 'data.items', pick: ['id'] },
      '{"data":{"items":[{"id":1,"x":2}]}}',
      '[{"id":1}]'
    ],
    [
      'all lists that a path finds',
      { flatten: 'orders.*.items' },
      '{"orders":[{"items":[1,2]},{"items":[3]},{}]}',
      '[1,2,3]'
    ],
    ['no list at a path', { flatten: 'a' }, '{}', '[]'],
    [
      'each item of a list at the top',
      { pick: ['a', 'b'], omit: ['b'], rename: { a: 'c' } },
      '[{"a":1,"b":2},{"x":1}]',
      '[{"c":1},{}]'
    ],
    ['a query without a result', { query: 'a.b', pick: ['c'] }, '{}', 'null']
  ]
  for (const [name, shape, from, to] of cases) {
    const value = deepFreeze(parseJson(from))
    t.equal(stringifyJson(compileShape(shape)(value)), to, name)
  }
})

t.test('values to set are made from a context, once for a body', async (t) => {
  let made = 0
  const set = {
    by: ({ id }: { id?: string }) => {
      made++
      return id
    }
  }
  const shape = compileShape<{ id?: string }>({ set })
  t.strictSame(shape([{}, {}], { id: 'ada' }), [{ by: 'ada' }, { by: 'ada' }])
  t.equal(made, 1)
  t.strictSame(shape({ a: 1 }, {}), { a: 1 })
})

t.test('each wrong path and query is a fault at its place', async (t) => {
  const faults = shapeFaults(
    {
      query: 'a[',
      first: 'a..b',
      flatten: '.',
      pick: ['ok', 'a*'],
      omit: [''],
      rename: { 'items.*.a': 'b', 'x.': 'y', a: 'b' },
      set: { 'a.b': 1, '..': 2 },
      remove: ['\\x']
    },
    ['transform', 'request']
  )
  t.strictSame(
    faults.map(({ path }) => path.join('/')),
    [
      'query',
      'first',
      'flatten',
      'pick/1',
      'omit/0',
      'remove/0',
      'rename/items.*.a',
      'rename/x.',
      'set/..',
      'flatten'
    ].map((path) => `transform/request/${path}`)
  )
  for (const { message } of faults) t.match(message, /^expected .*, got /)
  t.strictSame(shapeFaults({ query: 'a.b', pick: ['a.*.b'], set: { a: null } }, []), [])
})

t.test('a shape without options leaves a body as it came', async (t) => {
  t.notOk(hasShape({}))
  t.ok(hasShape({ pick: ['a'] }))
})
