import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { parseJson, stringifyJson } from '../../../../src/lib/body/json.ts'
import { EVERY, type Path, parsePath, pathFaults, valueAt } from '../../../../src/lib/body/paths.ts'
import { omit, pick } from '../../../../src/lib/body/pick.ts'
import { rename, set } from '../../../../src/lib/body/place.ts'
import { deepFreeze } from '../../../../src/lib/schema.ts'
import { draws } from '../../../random.ts'

t.test('a path is dotted; a star is every item, and a backslash takes a character as it is', async (t) => {
  const paths: [text: string, path: Path][] = [
    ['a', ['a']],
    ['a.b', ['a', 'b']],
    ['*', [EVERY]],
    ['items.*.id', ['items', EVERY, 'id']],
    ['a\\.b.c', ['a.b', 'c']],
    ['\\*.\\\\', ['*', '\\']],
    ['a\\*', ['a*']],
    ['__proto__.constructor', ['__proto__', 'constructor']],
    ['0', ['0']],
    ['a b.é', ['a b', 'é']]
  ]
  for (const [text, path] of paths) t.strictSame(parsePath(text), path, text)
  for (const text of ['', '.', 'a.', '.a', 'a..b', 'a*', '**', '*a', 'a\\', '\\a', 'a.\\n', '*.'])
    t.match(
      pathFaults(text, ['pick', 0]),
      [{ path: ['pick', 0], message: /^expected a path such as .*, got ".*"$/ }],
      text
    )
})

t.test('a value is read at a path', async (t) => {
  const value = { a: { b: [{ c: 1 }, {}, { c: null }] }, 'x.y': 2, list: ['p', ['q']] }
  const cases: [path: string, value: unknown][] = [
    ['a.b.0.c', 1],
    ['a.b.*.c', [1, null]],
    ['a.b.2.c', null],
    ['a.b.1.c', undefined],
    ['a.b.00', undefined],
    ['a.b.length', undefined],
    ['x\\.y', 2],
    ['list.1.0', 'q'],
    ['list.-1', undefined],
    ['a.constructor', undefined],
    ['a.__proto__', undefined],
    ['*.0', ['p']],
    ['x\\.y.z', undefined]
  ]
  for (const [path, found] of cases) t.strictSame(valueAt(value, parsePath(path)), found, path)
})

interface Case {
  readonly name: string
  readonly change: (value: unknown) => unknown
  readonly from: string
  readonly to: string
}

const paths = (...texts: string[]): Path[] => texts.map(parsePath)
const setting = (values: Record<string, unknown>): ((value: unknown) => unknown) => {
  const change = set(Object.fromEntries(Object.entries(values).map(([path, value]) => [path, () => value])))
  return (value) => change(value, undefined)
}

const PERSON =
  '{"id":1,"name":"Ada","address":{"city":"London","zip":"W1","geo":{"lat":1.50}},"tags":["a","b"]}'
const ORDERS = '{"items":[{"id":1,"p":2},{"p":3},{"id":12345678901234567890},4],"n":2}'

const cases: Case[] = [
  { name: 'keeps keys', change: pick(paths('name', 'id')), from: PERSON, to: '{"name":"Ada","id":1}' },
  {
    name: 'keeps the structure',
    change: pick(paths('address.city', 'address.geo.lat')),
    from: PERSON,
    to: '{"address":{"city":"London","geo":{"lat":1.5}}}'
  },
  {
    name: 'keeps the items of a list that are objects',
    change: pick(paths('items.*.id')),
    from: ORDERS,
    to: '{"items":[{"id":1},{},{"id":12345678901234567890}]}'
  },
  {
    name: 'leaves out what is missing',
    change: pick(paths('a.b', 'name.x', 'tags.0', 'tags.x', 'id')),
    from: PERSON,
    to: '{"id":1}'
  },
  {
    name: 'keeps the whole where a shorter path says so',
    change: pick(paths('address.city', 'address')),
    from: '{"address":{"city":1,"zip":2}}',
    to: '{"address":{"city":1,"zip":2}}'
  },
  {
    name: 'keeps values that are null',
    change: pick(paths('a', 'b.c')),
    from: '{"a":null,"b":null}',
    to: '{"a":null}'
  },
  {
    name: 'keeps of every value of an object',
    change: pick(paths('*.id', 'b.x')),
    from: '{"a":{"id":1,"x":1},"b":{"x":2,"id":3},"c":4}',
    to: '{"a":{"id":1},"b":{"x":2,"id":3}}'
  },
  {
    name: 'picks from each item of a list at the top',
    change: pick(paths('id', '*.n')),
    from: '[{"id":1,"n":2,"x":3},{"x":1}]',
    to: '[{"id":1,"n":2},{}]'
  },
  { name: 'picks all items', change: pick(paths('*')), from: '[1,{"a":2}]', to: '[1,{"a":2}]' },
  { name: 'keeps nothing of a scalar', change: pick(paths('a')), from: '"secret"', to: 'null' },
  {
    name: 'keeps nothing of a large number',
    change: pick(paths('rawJSON', '*')),
    from: '12345678901234567890',
    to: 'null'
  },
  {
    name: 'picks names of prototypes as data',
    change: pick(paths('__proto__.a', 'constructor', 'toString')),
    from: '{"__proto__":{"a":1,"b":2},"constructor":3}',
    to: '{"__proto__":{"a":1},"constructor":3}'
  },
  {
    name: 'omits keys',
    change: omit(paths('id', 'address.geo', 'nothing.here', 'name.x')),
    from: PERSON,
    to: '{"name":"Ada","address":{"city":"London","zip":"W1"},"tags":["a","b"]}'
  },
  {
    name: 'omits in every item',
    change: omit(paths('items.*.p')),
    from: ORDERS,
    to: '{"items":[{"id":1},{},{"id":12345678901234567890},4],"n":2}'
  },
  {
    name: 'omits all items',
    change: omit(paths('tags.*', 'address.*')),
    from: PERSON,
    to: '{"id":1,"name":"Ada","address":{},"tags":[]}'
  },
  {
    name: 'omits in each item of a list at the top',
    change: omit(paths('a')),
    from: '[{"a":1,"b":2},[{"a":1}],"a"]',
    to: '[{"b":2},[{"a":1}],"a"]'
  },
  {
    name: 'omits names of prototypes as data',
    change: omit(paths('__proto__', 'a.constructor')),
    from: '{"__proto__":{"a":1},"a":{"constructor":1,"__proto__":2}}',
    to: '{"a":{"__proto__":2}}'
  },
  { name: 'omits nothing of a scalar', change: omit(paths('a')), from: 'null', to: 'null' },
  {
    name: 'renames a key',
    change: rename({ name: 'fullName' }),
    from: '{"name":1,"b":2}',
    to: '{"b":2,"fullName":1}'
  },
  {
    name: 'moves into an object and out of one',
    change: rename({ 'address.city': 'city', id: 'meta.id' }),
    from: '{"id":1,"address":{"city":"L","zip":2}}',
    to: '{"address":{"zip":2},"city":"L","meta":{"id":1}}'
  },
  {
    name: 'moves within every item',
    change: rename({ 'items.*.p': 'items.*.price.net', 'items.*.id': 'items.*.sku' }),
    from: ORDERS,
    to: '{"items":[{"price":{"net":2},"sku":1},{"price":{"net":3}},{"sku":12345678901234567890},4],"n":2}'
  },
  { name: 'swaps two keys', change: rename({ a: 'b', b: 'a' }), from: '{"a":1,"b":2}', to: '{"b":1,"a":2}' },
  { name: 'moves a key below itself', change: rename({ a: 'a.b' }), from: '{"a":1}', to: '{"a":{"b":1}}' },
  {
    name: 'renames in each item of a list at the top',
    change: rename({ a: 'b' }),
    from: '[{"a":1},{"c":1},2]',
    to: '[{"b":1},{"c":1},2]'
  },
  {
    name: 'renames to a name of prototypes',
    change: rename({ a: '__proto__.x', constructor: 'b' }),
    from: '{"a":1,"constructor":2}',
    to: '{"__proto__":{"x":1},"b":2}'
  },
  {
    name: 'sets keys',
    change: setting({ a: 1, 'b.c': [2] }),
    from: '{"x":0,"a":9}',
    to: '{"x":0,"a":1,"b":{"c":[2]}}'
  },
  {
    name: 'sets null and replaces what is in the way',
    change: setting({ a: null, 'b.c.d': 1 }),
    from: '{"b":{"c":[1]}}',
    to: '{"b":{"c":{"d":1}},"a":null}'
  },
  {
    name: 'sets in every item',
    change: setting({ 'items.*.seen': true }),
    from: ORDERS,
    to: '{"items":[{"id":1,"p":2,"seen":true},{"p":3,"seen":true},{"id":12345678901234567890,"seen":true},4],"n":2}'
  },
  {
    name: 'sets every item',
    change: setting({ 'tags.*': 'x', 'm.*.y': 1 }),
    from: '{"tags":["a","b"]}',
    to: '{"tags":["x","x"]}'
  },
  {
    name: 'sets in each item of a list at the top',
    change: setting({ a: 1, '*.b': 2 }),
    from: '[{"b":1},[]]',
    to: '[{"b":2,"a":1},[]]'
  },
  {
    name: 'sets nothing where there is no value',
    change: setting({ a: undefined }),
    from: '{"b":1}',
    to: '{"b":1}'
  },
  {
    name: 'sets names of prototypes as data',
    change: setting({ '__proto__.polluted': 1, 'constructor.prototype.polluted': 2 }),
    from: '{}',
    to: '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":2}}}'
  },
  {
    name: 'sets nothing in a scalar',
    change: setting({ a: 1 }),
    from: '12345678901234567890',
    to: '12345678901234567890'
  }
]

t.test('paths pick, leave out, move and set', async (t) => {
  for (const { name, change, from, to } of cases) {
    const value = deepFreeze(parseJson(from))
    const before = stringifyJson(value)
    const made = change(value)
    // Written in the same order, too.
    t.equal(stringifyJson(made), stringifyJson(parseJson(to)), name)
    t.equal(stringifyJson(value), before, `${name}, and leaves the input as it is`)
  }
  t.notOk('polluted' in {})
})

t.test('both paths of a move are the same up to their last star', async (t) => {
  for (const [from, to] of [
    ['items.*.id', 'ids'],
    ['a', 'b.*'],
    ['a.*.b', 'c.*.b'],
    ['a.*', 'a.*.b'],
    ['*.*.a', '*.a']
  ] as const)
    t.throws(
      () => rename({ [from]: to }),
      { message: /^expected a path that is the same as/ },
      `${from}: ${to}`
    )
})

// A model that knows nothing of trees: the leaves of a value, each with its path.
type Leaf = readonly [path: readonly (string | number)[], value: unknown]

const leaves = (value: unknown, path: readonly (string | number)[] = []): Leaf[] => {
  if (Array.isArray(value)) return [[path, '[]'], ...value.flatMap((item, i) => leaves(item, [...path, i]))]
  if (typeof value === 'object' && value !== null)
    return [[path, '{}'], ...Object.entries(value).flatMap(([name, inner]) => leaves(inner, [...path, name]))]
  return [[path, value]]
}

const covers = (path: Path, leaf: readonly (string | number)[]): boolean =>
  path.length <= leaf.length && path.every((step, i) => step === EVERY || step === leaf[i])

const names = fc.constantFrom('a', 'b', '__proto__', 'constructor')
const objects = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: 'small' }, fc.integer(), fc.constant(null), tie('list'), tie('object')),
  list: fc.array(tie('value'), { maxLength: 3 }),
  object: fc
    .array(fc.tuple(names, tie('value')), { maxLength: 4 })
    .map((entries): object => Object.fromEntries(entries))
})).object
const anyPaths = fc.array(fc.array(fc.oneof(names, fc.constant(EVERY)), { minLength: 1, maxLength: 3 }), {
  minLength: 1,
  maxLength: 4
})

t.test('omit leaves what no path covers, and pick keeps the rest', async () => {
  const isOpen = ([, value]: Leaf): boolean => value === '[]' || value === '{}'
  const text = (of: Leaf[]): string[] =>
    withoutIndexes(of)
      .map((leaf) => JSON.stringify(leaf))
      .toSorted()
  fc.assert(
    fc.property(objects, anyPaths, (value, some) => {
      const left = leaves(value).filter(([path]) => !some.some((each) => covers(each, path)))
      const omitted = leaves(omit(some)(value))
      const picked = leaves(value).filter(
        (leaf) => !isOpen(leaf) && some.some((each) => covers(each, leaf[0]))
      )
      const got = leaves(pick(some)(value)).filter((leaf) => !isOpen(leaf))
      return isDeepStrictEqual([text(omitted), text(got)], [text(left), text(picked)])
    }),
    draws()
  )
})

const withoutIndexes = (of: Leaf[]): Leaf[] =>
  of.map(([path, value]) => [path.map((step) => (typeof step === 'number' ? '*' : step)), value])
