import { search } from '@jmespath-community/jmespath'
import t from 'tap'
import { parseJson, stringifyJson } from '../../../../src/lib/body/json.ts'
import { compileQuery, QuerySyntaxError } from '../../../../src/lib/body/query/compile.ts'
import { QueryError } from '../../../../src/lib/body/query/run.ts'
import { deepFreeze } from '../../../../src/lib/schema.ts'

const DATA = {
  n: 3,
  half: 1.5,
  text: ' Ab-ba ',
  none: null,
  yes: true,
  empty: [],
  nothing: {},
  list: [3, 1, 2],
  words: ['pear', 'fig', 'apple'],
  nested: [[1, [2]], [3], 4],
  people: [
    { name: 'Ada', age: 36, tags: ['x'], address: { city: 'London' } },
    { name: 'Bob', age: 20, tags: [], address: null },
    { name: 'Cy', age: 20 }
  ],
  map: { a: { v: 1 }, b: { v: 2 }, c: 3 }
}

t.test('an expression finds what the JMESPath library finds', async (t) => {
  const expressions = `@ | n
people[*].name
people[].tags[]
people[0].address.city
people[-1].name
people[5]
people[1].address.city
people[*].address.city
people[?age > \`20\`].name
people[?age >= \`20\` && tags].name
people[?age < \`30\` || name == 'Ada'] | [0]
people[?!tags].name
people[?address != null].name
people[*].{n: name, a: age}
people[*].[name, age]
people[::2].name
people[::-1].name
people[1:].name
list[-2:]
list[5:1:-1]
text[1:3]
text[::-1]
nested[]
nested[*][0]
map.*.v
map.* | [0]
*.v
{a: n, b: missing}
[n, missing]
n && text
none || 'other'
empty || nothing || n
!none
yes == \`true\`
list == \`[3, 1, 2]\`
map.a == \`{"v": 1}\`
n != half
n < text
n + half * \`2\` - \`1\`
n / \`2\`
n // \`2\`
n % \`2\`
-n
+n
$.n
people[*].[name, $.n]
let $x = n in people[?age > $x].name
let $x = n, $y = half in $x + $y
yes ? n : half
none ? n : half
abs(\`-1\`)
avg(list)
avg(empty)
ceil(half)
floor(half)
contains(words, 'fig')
contains(text, 'ba')
contains(list, \`9\`)
ends_with(text, 'ba ')
starts_with(text, ' A')
find_first(text, 'b')
find_first(text, 'b', \`3\`)
find_first(text, 'z')
find_last(text, 'b')
from_items([['a', n], ['b', half]])
group_by(people, &name)
items(map)
join(', ', words)
keys(map)
values(map)
length(text)
length(list)
length(map)
lower(text)
upper(text)
map(&name, people)
map(&missing, people)
max(list)
max(words)
max(empty)
min(list)
min(words)
max_by(people, &age).name
min_by(people, &age).name
merge(map, {c: n, d: half})
not_null(none, missing, n)
pad_left('a', \`3\`)
pad_left('a', \`3\`, '-')
pad_right('a', \`3\`, '-')
replace(text, 'b', 'c')
replace(text, 'b', 'c', \`1\`)
reverse(text)
reverse(list)
sort(list)
sort(words)
sort_by(people, &age)[*].name
sort_by(people, &name)[*].name
split(text, '-')
split('a-b-c', '-', \`1\`)
split('abc', '')
sum(list)
to_array(n)
to_array(list)
to_number('1.5')
to_number('x')
to_number(n)
to_string(map)
to_string(text)
trim(text)
trim_left(text)
trim_right(text)
trim('xxaxx', 'x')
type(n)
type(none)
type(map)
zip(list, words)
people[*].name | sort(@) | [0]
people | [?name=='Ada'].tags | [0][0]`.split('\n')
  for (const expression of expressions) {
    const value = deepFreeze(structuredClone(DATA))
    const made = JSON.parse(stringifyJson(compileQuery(expression)(value))) as unknown
    t.strictSame(made, JSON.parse(JSON.stringify(search(structuredClone(DATA), expression))), expression)
  }
})

t.test('numbers that a double can not carry pass untouched, and are numbers', async (t) => {
  const value = deepFreeze(
    parseJson(
      '{"id":12345678901234567890,"all":[{"id":9007199254740993},{"id":1}],"list":[9007199254740993,2]}'
    )
  )
  const cases: [expression: string, made: string][] = [
    ['id', '12345678901234567890'],
    ['{x: id, y: [id]}', '{"x":12345678901234567890,"y":[12345678901234567890]}'],
    ['all[*].id', '[9007199254740993,1]'],
    ['all[?id > `5`].id', '[9007199254740993]'],
    ['all[?id == $.list[0]].id', '[9007199254740993]'],
    ['sort_by(all, &id)[*].id', '[1,9007199254740993]'],
    ['max(list)', '9007199254740993'],
    ['sort(list)', '[2,9007199254740993]'],
    ['to_string(id)', '"12345678901234567890"'],
    ["to_number('12345678901234567890')", '12345678901234567890'],
    ['type(id)', '"number"'],
    ['id.rawJSON', 'null'],
    ['id.*', 'null'],
    ['*.rawJSON', '[]'],
    ['id && `1`', '1'],
    ['sum([`1`, id])', '12345678901234567000']
  ]
  for (const [expression, made] of cases)
    t.equal(stringifyJson(compileQuery(expression)(value)), made, expression)
})

t.test('names of prototypes are data', async (t) => {
  const value = deepFreeze(
    parseJson(
      '{"__proto__":{"admin":true},"list":[{"k":"__proto__"},{"k":"constructor"},{"k":"toString"}],"e":{"expref":true}}'
    )
  )
  const cases: [expression: string, made: string][] = [
    ['constructor', 'null'],
    ['list[0].constructor', 'null'],
    ['list[0].hasOwnProperty', 'null'],
    ['list[0].__proto__', 'null'],
    ['__proto__', '{"admin":true}'],
    ['admin', 'null'],
    ['merge(@).admin', 'null'],
    ['keys(merge(`{}`, @))', '["__proto__","list","e"]'],
    ['keys(group_by(list, &k))', '["__proto__","constructor","toString"]'],
    ['{"__proto__": list[0]}', '{"__proto__":{"k":"__proto__"}}'],
    ['length(from_items(list[*].[k, k]))', '3'],
    ['type(e)', '"object"']
  ]
  for (const [expression, made] of cases)
    t.equal(stringifyJson(compileQuery(expression)(value)), made, expression)
  t.notOk('admin' in {})
})

t.test('an expression that can not be run is a fault at once', async (t) => {
  for (const expression of [
    '',
    'a.',
    'a[',
    '{',
    '[?',
    'a b',
    'nope(@)',
    'sort_bye(@, &a)',
    'length()',
    'length(@, @)',
    'map(&a)',
    '&a',
    '$x',
    'let $x = n',
    '`{`'
  ])
    t.throws(
      () => compileQuery(expression),
      { message: /^expected a JMESPath expression, got ".*": / },
      expression
    )
  t.throws(() => compileQuery('sort_bye(@, &a)'), { message: /did you mean sort_by\(\)/ })
  t.ok(thrown(() => compileQuery('')) instanceof QuerySyntaxError)
})

t.test('what a value does not allow is an error without the value', async (t) => {
  for (const expression of [
    'sum(words)',
    "n + 'secret'",
    'n / `0`',
    'n % `0`',
    'sort_by(people, &tags)',
    'sort_by([{a: `1`}, {a: `"1"`}], &a)',
    'group_by(people, &age)',
    'length(n)',
    'keys(list)',
    "pad_left('a', `1.5`)",
    "pad_left('a', `-1`)",
    "pad_left('a', `5`, 'xy')",
    "replace('a', 'a', 'b', `-1`)",
    'from_items(nested)',
    'list[::0]',
    "join('', list)",
    'map(n, list)'
  ]) {
    const error = thrown(() => compileQuery(expression)(DATA))
    t.ok(error instanceof QueryError, expression)
    t.notMatch(String(error), /secret|Ada|pear/)
  }
})

const thrown = (act: () => unknown): unknown => {
  try {
    return act()
  } catch (error) {
    return error
  }
}

t.test('a value does not make an expression take long, or much memory', async (t) => {
  const many = Array.from({ length: 20_000 }, (_, id) => ({ id: `${id}` }))
  const value = {
    many,
    ids: many.map(({ id }) => id),
    copy: many.map(({ id }) => id),
    spaces: `${' '.repeat(500_000)}x`,
    as: 'a'.repeat(400_000),
    ba: `b${'a'.repeat(200_000)}`,
    huge: 2 ** 31,
    wide: Object.fromEntries(many.map(({ id }) => [`k${id}`, 1])),
    long: many.map(() => 'x'.repeat(100))
  }
  // Each would take minutes, or gigabytes.
  for (const expression of [
    'many[?contains($.ids, id)]',
    'many[*].{all: $.many}',
    'many[*].to_string($)',
    'many[*].[$.many] | [] | []',
    'many[*].[$.many][][]',
    'many[?$.wide]',
    'many[*].length($.wide)',
    'many[*].keys($.wide)',
    'many[?$.ids == $.copy]',
    'many[*].merge($.wide, $.wide)',
    'many[*].zip($.ids, $.ids)',
    'many[*].sort($.ids)',
    'many[*].reverse($.as)',
    'many[*].upper($.as)',
    'many[*].starts_with($.as, $.as)',
    'contains(as, ba)',
    "pad_left('a', huge)",
    "replace(as, 'a', ba)",
    "replace(as, '', as)",
    'join(as, ids)',
    'many[*].[$.many[*].[$.many[*].id]]'
  ]) {
    const error = thrown(() => compileQuery(expression)(value))
    t.match(error, { message: /^the query (?:takes too many steps|makes too much)$/ }, expression)
    t.ok(error instanceof QueryError)
  }
  // What is linear passes.
  for (const expression of [
    'many[*].id',
    'sort_by(many, &id)',
    'trim(spaces)',
    "replace(as, 'a', 'b', huge)",
    'group_by(many, &id)',
    'length(as)',
    "join(',', long)",
    'max(ids)',
    '@'
  ])
    t.doesNotThrow(() => compileQuery(expression)(value), expression)
})
