import { Ajv } from 'ajv'
import t from 'tap'
import { compileFormat } from '../../../../src/lib/body/format.ts'
import { FormatError } from '../../../../src/lib/body/format-errors.ts'
import {
  type FormatOption,
  type FormatOptions,
  format,
  formatFaults
} from '../../../../src/lib/body/format-options.ts'

const options = (some: Partial<FormatOptions>): FormatOptions => ({
  from: 'xml',
  to: ['json'],
  lists: [],
  namespaces: 'drop',
  ...some
})

t.test('each format is read', async (t) => {
  const ids = { type: 'array', items: { properties: { id: { type: 'integer' } } } }
  const cases: [option: FormatOption, body: string, json: string][] = [
    ['json', '\ufeff{"id":12345678901234567890}', '{"id":12345678901234567890}'],
    ['xml', '<profile><name>x</name></profile>', '{"profile":{"name":"x"}}'],
    ['csv', '\ufeffid,name\n1,x', '[{"id":"1","name":"x"}]'],
    ['ndjson', '\ufeff{"id":1}\n{"id":2}', '[{"id":1},{"id":2}]'],
    ['form', 'a=1&a=2', '{"a":["1","2"]}'],
    [options({ lists: ['shop.item'] }), '<shop><item/></shop>', '{"shop":{"item":[""]}}'],
    [options({ namespaces: 'keep' }), '<s:a/>', '{"s:a":""}'],
    [options({ from: 'csv', schema: ids }), 'id,name\n007,x', '[{"id":7,"name":"x"}]'],
    [options({ schema: { properties: { a: { type: 'number' } } } }), '<a>1.50</a>', '{"a":1.5}']
  ]
  for (const [option, body, json] of cases)
    t.equal(JSON.stringify(compileFormat(option).read(Buffer.from(body), undefined, 1000)), json)
})

t.test('a body that is too large or malformed is a fault', async (t) => {
  const cases: [option: FormatOption, body: string | Buffer, fault: Partial<FormatError>][] = [
    ['xml', `<a>${'x'.repeat(100)}</a>`, { kind: 'size', message: 'too large' }],
    ['json', 'x'.repeat(101), { kind: 'size', message: 'too large' }],
    ['json', '{', { kind: 'format', message: 'malformed JSON: syntax' }],
    ['json', Buffer.from([0x22, 0xff, 0x22]), { kind: 'format', message: 'malformed JSON: utf8' }],
    ['csv', Buffer.from([0xff]), { kind: 'format', message: 'invalid UTF-8' }],
    ['ndjson', '{', { kind: 'format', message: 'malformed JSON in a line' }],
    ['xml', '', { kind: 'format' }]
  ]
  for (const [option, body, fault] of cases) {
    const { read } = compileFormat(option)
    t.match(
      t.throws(() => read(Buffer.from(body), undefined, 100), FormatError),
      fault
    )
  }
})

t.test('a value is written as the client wants it', async (t) => {
  const { choose, write, contentTypes } = compileFormat(options({ to: ['json', 'xml'], root: 'shop' }))
  const cases: [accept: string | undefined, type: 'json' | 'xml'][] = [
    [undefined, 'json'],
    ['application/xml', 'xml'],
    ['text/xml;q=0.2, application/json;q=0.1', 'xml'],
    ['image/png', 'json'],
    ['application/json;q=0, application/xml;q=0', 'json']
  ]
  for (const [accept, type] of cases) t.equal(choose(accept), type, String(accept))
  t.equal(compileFormat(options({ to: ['xml', 'json'], root: 'shop' })).choose('image/png'), 'xml')
  t.equal(compileFormat('xml').choose('application/xml'), 'json')
  t.strictSame(contentTypes, {
    json: 'application/json; charset=utf-8',
    xml: 'application/xml; charset=utf-8'
  })
  t.equal(write({ shop: { item: '1' } }, 'json').toString(), '{"shop":{"item":"1"}}')
})

t.test('the root element of XML stays one, and other values get one', async (t) => {
  const written = (from: FormatOptions['from'], value: unknown): string | undefined =>
    compileFormat(options({ from, to: ['xml'], root: 'shop' }))
      .write(value, 'xml')
      .toString()
      .split('\n')[1]
  t.equal(written('xml', { shop: { item: 1 } }), '<shop><item>1</item></shop>')
  t.equal(written('xml', { other: 1 }), '<shop><other>1</other></shop>')
  t.equal(written('xml', { shop: 1, more: 2 }), '<shop><shop>1</shop><more>2</more></shop>')
  t.equal(written('json', { shop: 1 }), '<shop><shop>1</shop></shop>')
  t.equal(written('csv', [{ id: 1 }]), '<shop><item><id>1</id></item></shop>')
})

t.test('the option is a name or all options', async (t) => {
  const valid = new Ajv({ strict: false }).compile(format)
  for (const option of [
    'xml',
    { from: 'csv' },
    { to: ['json', 'xml'], root: 'a' },
    { from: 'xml', schema: {} }
  ])
    t.ok(valid({ ...options({}), ...(typeof option === 'string' ? {} : option) }), JSON.stringify(option))
  for (const option of [
    'yaml',
    1,
    { ...options({}), from: 'yaml' },
    { ...options({}), to: [] },
    { ...options({}), other: 1 }
  ])
    t.notOk(valid(option), JSON.stringify(option))
})

t.test('what is wrong beyond the schema is told with its place', async (t) => {
  const cases: [option: FormatOption, faults: [path: string, message: RegExp][]][] = [
    ['xml', []],
    [
      options({
        to: ['xml'],
        root: 'a',
        lists: ['a.b', 's:a.b\\.c'],
        schema: { $ref: '#/$defs/a', $defs: { a: {} } }
      }),
      []
    ],
    [options({ to: ['json', 'xml'] }), [['format.to', /expected the option "root"/]]],
    [options({ root: 'a b' }), [['format.root', /expected the name of an element, got "a b"/]]],
    ...['', '.', 'a.', 'a..b', '*', 'a.*', 'a.@b', 'a.#text', 'a b'].map(
      (list): [FormatOption, [string, RegExp][]] => [
        options({ lists: ['a', list] }),
        [['format.lists.1', /^expected names of elements .*, got ".*"$/]]
      ]
    ),
    [options({ from: 'json', lists: ['a'] }), [['format.lists', /expected "from": "xml"/]]],
    [options({ from: 'json', schema: {} }), [['format.schema', /expected "from": "xml", "csv" or "form"/]]],
    [options({ schema: [] as never }), [['format.schema', /expected a JSON Schema, got \[\]/]]],
    [
      options({ schema: { items: { $ref: 'https://x/' } } }),
      [['format.schema', /references inside the schema.*got "https:/]]
    ],
    [options({ schema: { anyOf: [{ $ref: '#/$defs/a' }] } }), [['format.schema', /got "#\/\$defs\/a"/]]]
  ]
  for (const [option, faults] of cases) {
    const found = formatFaults(option, ['format']).map(({ path, message }) => [path.join('.'), message])
    t.match(found, faults, JSON.stringify(option))
    t.equal(found.length, faults.length)
  }
})
