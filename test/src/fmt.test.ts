import { chmodSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { parse as parseJsonc } from 'jsonc-parser'
import t from 'tap'
import { parse as parseYaml, stringify as stringifyYaml } from 'yaml'
import { formatJson } from '../../src/commands/formatters/format-json.ts'
import { formatYaml, yamlComments } from '../../src/commands/formatters/format-yaml.ts'
import { sallyport } from '../helpers.ts'
import { draws } from '../random.ts'

// The command line is run as a user does.
t.setTimeout(600_000)

t.test('JSON is formatted like this', async (t) => {
  const wide = 'a value that is long '.repeat(3)
  const cases: readonly [what: string, text: string, formatted: string][] = [
    ['what fits stays on its line', '{"a":[1,2],"b":{ }}', '{ "a": [1, 2], "b": {} }'],
    ['a line break inside breaks all members', '{"a":1,"b":2\n}', '{\n  "a": 1,\n  "b": 2\n}'],
    ['and all that is around', '[{"a":\n1}]', '[\n  {\n    "a": 1\n  }\n]'],
    ['items of a list may share lines', '[1,2,\n  3]', '[\n  1, 2,\n  3\n]'],
    ['objects in a list do not', '[{}, {},\n{"a": 1}]', '[\n  {},\n  {},\n  { "a": 1 }\n]'],
    ['a trailing comma goes', '{"a":[1,],}', '{ "a": [1] }'],
    [
      'what is too wide is broken',
      `{"a":["${wide}","${wide}"]}`,
      `{\n  "a": [\n    "${wide}",\n    "${wide}"\n  ]\n}`
    ],
    ['one blank line stays', '{\n\n"a":1,\n\n\n"b":2\n\n}', '{\n  "a": 1,\n\n  "b": 2\n}'],
    [
      'comments stay where they are',
      '// top\n{"a":1,// why\n/* before */"b":[],// last\n}// end',
      '// top\n{\n  "a": 1, // why\n  /* before */ "b": [] // last\n} // end'
    ],
    ['a comma comes before a line comment', '[1 // one\n,2]', '[\n  1, // one\n  2\n]'],
    [
      'comments in empty objects',
      '{"a":{/* none */},"b":[\n// none\n]}',
      '{\n  "a": { /* none */ },\n  "b": [\n    // none\n  ]\n}'
    ],
    [
      'the stars of a comment are in one column',
      '{\n/*\n* one\n    */\n"a":1}',
      '{\n  /*\n   * one\n   */\n  "a": 1\n}'
    ],
    ['strings and numbers are kept', '["\\u0041// \\/", 1.50, 1E3]', '["\\u0041// \\/", 1.50, 1E3]'],
    ['the order of keys is kept', '{"b":1,"a":2}', '{ "b": 1, "a": 2 }']
  ]
  for (const [what, text, formatted] of cases) t.equal(formatJson(text), `${formatted}\n`, what)
  t.equal(formatJson('{\r\n"a":1}'), '{\r\n  "a": 1\r\n}\r\n', 'line ends of Windows are kept')
})

t.test('files of this repository, which Biome has formatted, stay as they are', async (t) => {
  const top = fileURLToPath(new URL('../..', import.meta.url))
  for (const folder of ['templates', 'examples', 'test/configs']) {
    const files = readdirSync(join(top, folder), { recursive: true, encoding: 'utf8' })
    const configs = files.filter((file) => file.endsWith('gateway.json'))
    t.ok(configs.length > 1)
    for (const file of configs) {
      const text = readFileSync(join(top, folder, file), 'utf8')
      t.equal(formatJson(text), text, file)
    }
  }
})

t.test('YAML is formatted like this', async (t) => {
  const cases: readonly [what: string, text: string, formatted: string][] = [
    ['indentation', 'a:\n    b:\n    - 1\n    -  2', 'a:\n  b:\n    - 1\n    - 2'],
    ['flow collections', 'a: {b: [ 1,2 ],c: {}}', 'a: { b: [1, 2], c: {} }'],
    ['comments', '# top\n\n# of a\na: 1   # why\n# of b\nb: 2', '# top\n\n# of a\na: 1 # why\n# of b\nb: 2'],
    ['quotes and numbers are kept', `a: 'x'\nb: "y"\nc: 1.50`, `a: 'x'\nb: "y"\nc: 1.50`],
    ['long strings are not folded', `a: ${'word '.repeat(40)}end`, `a: ${'word '.repeat(40)}end`],
    ['blocks are kept', 'a: |\n    # text\n    more', 'a: |\n  # text\n  more'],
    ['anchors are kept', 'a: &x {b: 1}\nc: *x', 'a: &x { b: 1 }\nc: *x']
  ]
  for (const [what, text, formatted] of cases) t.equal(formatYaml(text), `${formatted}\n`, what)
  t.equal(formatYaml('a:   1\r\nb: 2\r\n'), 'a: 1\r\nb: 2\r\n', 'line ends of Windows are kept')
})

const space = fc.constantFrom(
  '',
  ' ',
  '\n',
  '\n\n\n',
  '\t',
  '  \n ',
  '// line "[,]\n',
  ' /* block }, */ ',
  '\n/*\n * two\n   lines */\n'
)

/** Renders a value as JSON with white space, comments and trailing commas wherever they are allowed. */
function render(value: unknown, next: () => string): string {
  const list = (open: string, items: readonly string[], close: string): string => {
    const comma = items.length > 0 && next().includes('\n') ? ',' : ''
    return `${open}${items.join(`${next()},`)}${next()}${comma}${next()}${close}`
  }
  const spaced = (text: string): string => `${next()}${text}${next()}`
  if (Array.isArray(value))
    return spaced(
      list(
        '[',
        value.map((item) => render(item, next)),
        ']'
      )
    )
  if (typeof value !== 'object' || value === null) return spaced(JSON.stringify(value))
  const members = Object.entries(value).map(
    ([key, item]) => `${spaced(JSON.stringify(key))}:${render(item, next)}`
  )
  return spaced(list('{', members, '}'))
}

const commentsOf = (text: string): string[] =>
  [...text.matchAll(/"(?:[^"\\]|\\.)*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g)]
    .map(([found]) => found.trimEnd().replaceAll(/\s+/g, ' '))
    .filter((found) => !found.startsWith('"'))

t.test('formatting JSON twice is formatting once, and keeps values and comments in their order', async () => {
  fc.assert(
    fc.property(
      fc.jsonValue({ maxDepth: 4 }),
      fc.array(space, { minLength: 1, maxLength: 40 }),
      (value, spaces) => {
        let i = 0
        const text = render(value, () => spaces[i++ % spaces.length] ?? '')
        const formatted = formatJson(text)
        return (
          isDeepStrictEqual(parseJsonc(formatted), parseJsonc(text)) &&
          isDeepStrictEqual(commentsOf(formatted), commentsOf(text)) &&
          formatJson(formatted) === formatted
        )
      }
    ),
    draws(1000)
  )
})

t.test('formatting YAML twice is formatting once, and keeps values and comments', async () => {
  const style = fc.record({
    indent: fc.integer({ min: 1, max: 6 }),
    indentSeq: fc.boolean(),
    collectionStyle: fc.constantFrom('any' as const, 'flow' as const),
    defaultStringType: fc.constantFrom('PLAIN' as const, 'QUOTE_DOUBLE' as const, 'QUOTE_SINGLE' as const)
  })
  const lines = fc.array(fc.constantFrom('', '', '# own', '    # deep', '\n', '\n\n'), {
    minLength: 1,
    maxLength: 20
  })
  const ends = fc.array(fc.constantFrom('', '', ' # end', '    '), { minLength: 1, maxLength: 20 })
  const word = fc.constantFrom(
    'path',
    'a b',
    '# no',
    '',
    'x\ny\n',
    'http://x',
    '{y}',
    'true',
    '0x1F',
    '- -',
    '*'
  )
  const values = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      word,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      tie('list'),
      tie('map')
    ),
    list: fc.array(tie('value'), { maxLength: 4 }),
    map: fc.dictionary(fc.constantFrom('a', 'b', 'c d', 'e'), tie('value'), { maxKeys: 4 })
  }))
  fc.assert(
    fc.property(values.map, style, lines, ends, (value, options, before, after) => {
      const text = stringifyYaml(value, options)
        .split('\n')
        .map((line, i) => {
          const comment = before[i % before.length] ?? ''
          return `${comment}${comment === '' ? '' : '\n'}${line}${line === '' ? '' : (after[i % after.length] ?? '')}`
        })
        .join('\n')
      let meant: unknown
      try {
        meant = parseYaml(text)
      } catch {
        return true
      }
      const formatted = formatYaml(text)
      return (
        isDeepStrictEqual(parseYaml(formatted), meant) &&
        isDeepStrictEqual(yamlComments(formatted).toSorted(), yamlComments(text).toSorted()) &&
        formatYaml(formatted) === formatted
      )
    }),
    draws(300)
  )
})

const messy = `{"routes":[{"path":"/a","include":"teams/\${TEAM}.yaml"},\n{"path":"/b","include":"b.ts"}]}`
const neat = `{
  "routes": [
    { "path": "/a", "include": "teams/\${TEAM}.yaml" },
    { "path": "/b", "include": "b.ts" }
  ]
}
`

t.test('fmt formats the config and the files that it includes', async (t) => {
  const cwd = t.testdir({
    'gateway.json': messy,
    teams: { 'shop.yaml': 'routes:\n- {path: /,   respond: {}}\n' },
    'keys.json': '[{"id":"a"}]',
    '.env': 'TEAM=shop'
  })
  const files = 'gateway.json\nteams/shop.yaml\n'
  const cases: readonly [args: string[], ended: object][] = [
    [['--check'], { code: 1, stdout: files, stderr: '' }],
    [[], { code: 0, stdout: files, stderr: '' }],
    [['--check'], { code: 0, stdout: '', stderr: '' }],
    [['-c', 'teams/shop.yaml'], { code: 0, stdout: '', stderr: '' }],
    [['keys.json'], { code: 0, stdout: 'keys.json\n', stderr: '' }]
  ]
  for (const [args, ended] of cases)
    t.strictSame(await sallyport(['fmt', ...args], { cwd }), ended, args.join(' '))
  t.equal(readFileSync(join(cwd, 'gateway.json'), 'utf8'), neat)
  t.equal(readFileSync(join(cwd, 'teams/shop.yaml'), 'utf8'), 'routes:\n  - { path: /, respond: {} }\n')
})

t.test('fmt keeps the mode of a file, and a symbolic link', async (t) => {
  const cwd = t.testdir({ real: { 'gateway.json': messy } })
  symlinkSync('real/gateway.json', join(cwd, 'link.json'))
  chmodSync(join(cwd, 'real/gateway.json'), 0o640)
  t.match(await sallyport(['fmt', 'link.json'], { cwd }), { code: 0, stdout: 'link.json\n' })
  t.ok(lstatSync(join(cwd, 'link.json')).isSymbolicLink())
  t.equal(statSync(join(cwd, 'real/gateway.json')).mode & 0o777, 0o640)
  t.equal(readFileSync(join(cwd, 'real/gateway.json'), 'utf8'), neat)
  t.strictSame(readdirSync(join(cwd, 'real')), ['gateway.json'], 'no other file is left')
})

t.test('fmt leaves a malformed file alone, says where it is malformed, and formats the others', async (t) => {
  const cwd = t.testdir({
    'a.json': '{"a":1,\n  "a":2}',
    'b.json': '{"b":1}',
    'c.yaml': 'c: [1',
    'd.ts': ''
  })
  const { code, stdout, stderr } = await sallyport(['fmt', 'a.json', 'b.json', 'c.yaml', 'd.ts', 'e.json'], {
    cwd
  })
  t.equal(code, 1)
  t.equal(stdout, 'b.json\n')
  const lines = stderr.split('\n')
  for (const [i, line] of [
    /^a\.json:2:3 a: expected each key once/,
    /^c\.yaml:1:6 This is not YAML/,
    /^d\.ts expected JSON or YAML, got a module/,
    /^e\.json There is no file e\.json/
  ].entries())
    t.match(lines[i], line)
  t.equal(readFileSync(join(cwd, 'a.json'), 'utf8'), '{"a":1,\n  "a":2}')
})

t.test('fmt reads stdin where the file is "-"', async (t) => {
  const cases: readonly [args: string[], input: string, code: number, stdout: string, stderr: RegExp][] = [
    [['-'], '// a\n{"a":1}', 0, '// a\n{ "a": 1 }\n', /^$/],
    [['-'], 'a:   {b: 1}', 0, 'a: { b: 1 }\n', /^$/],
    [['-', '--check'], '{"a":1}', 1, '', /^$/],
    [['-', '--check'], '{ "a": 1 }\n', 0, '', /^$/],
    [['-'], '{"a":\n tru}', 1, '', /^stdin:2:2 This is not JSON/],
    [['-', 'a.json'], '', 2, '', /^expected either "-" or files/],
    [['a.json', '-c', 'b.json'], '', 2, '', /^expected either files or -c/]
  ]
  for (const [args, input, code, stdout, stderr] of cases)
    t.match(await sallyport(['fmt', ...args], { input }), { code, stdout, stderr }, args.join(' '))
})
