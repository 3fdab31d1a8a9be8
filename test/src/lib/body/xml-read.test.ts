import t from 'tap'
import { FormatError } from '../../../../src/lib/body/format-errors.ts'
import { compileLists } from '../../../../src/lib/body/xml-names.ts'
import { readXml } from '../../../../src/lib/body/xml-read.ts'

interface Options {
  lists?: string[]
  namespaces?: 'drop' | 'keep'
}

const read = (xml: string | Buffer, { lists = [], namespaces = 'drop' }: Options = {}): unknown =>
  readXml(Buffer.from(xml), undefined, { lists: compileLists(lists), namespaces })

/** Reads XML, and shows the value with its order of keys. */
const shown = (xml: string, options?: Options): string => JSON.stringify(read(xml, options))

t.test('XML becomes a value', async (t) => {
  const cases: [xml: string, value: unknown, options?: Options][] = [
    ['<profile><name>x</name></profile>', { profile: { name: 'x' } }],
    ['<a/>', { a: '' }],
    ['<a></a>', { a: '' }],
    ['<a>007</a>', { a: '007' }],
    ['<a> \t\r\n x  y \n</a>', { a: 'x  y' }],
    ['<a>\u00a0x\u00a0</a>', { a: '\u00a0x\u00a0' }],
    ['<a id=" 1 "/>', { a: { '@id': ' 1 ' } }],
    ['<a id="1">x</a>', { a: { '@id': '1', '#text': 'x' } }],
    ['<a><![CDATA[<b>&amp;]]></a>', { a: '<b>&amp;' }],
    ['<a>x<![CDATA[ y]]> z</a>', { a: 'x y z' }],
    ['<a>&lt;&amp;&#233;&#x1F600;&quot;&apos;&gt;</a>', { a: '<&é😀"\'>' }],
    ['<a><b>1</b><c/><b>2</b><b><d/></b></a>', { a: { b: ['1', '2', { d: '' }], c: '' } }],
    ['<p>Hello <b>big</b> world</p>', { p: { b: 'big', '#text': 'Hello  world' } }],
    ['<?xml version="1.0"?><?style x?><!-- a --><a>x<!-- <b/> --><?pi <c/>?>y</a><!-- z -->\n', { a: 'xy' }],
    ['<a>x\r\ny\rz</a>', { a: 'x\ny\nz' }],
    // Prefixes and namespaces.
    ['<s:a xmlns:s="u" s:b="1" xmlns="v"><s:c/><d/></s:a>', { a: { '@b': '1', c: '', d: '' } }],
    ['<a xmlns="u" xml:lang="de"/>', { a: { '@lang': 'de' } }],
    ['<p:a><p:b/></p:a>', { a: { b: '' } }],
    ['<a xmlns:x="u" xmlns:y="u"><x:b/><y:b/></a>', { a: { b: ['', ''] } }],
    ['<a id="1"><id/></a>', { a: { '@id': '1', id: '' } }],
    [
      '<s:a xmlns:s="u"><s:b s:c="1"/></s:a>',
      { 's:a': { '@xmlns:s': 'u', 's:b': { '@s:c': '1' } } },
      { namespaces: 'keep' }
    ],
    ['<r><x:b/><y:b/></r>', { r: { 'x:b': '', 'y:b': '' } }, { namespaces: 'keep' }],
    // Elements that are always a list.
    ['<shop><item>1</item></shop>', { shop: { item: ['1'] } }, { lists: ['shop.item'] }],
    ['<shop/>', { shop: { item: [] } }, { lists: ['shop.item'] }],
    [
      '<a><b><c/></b><b><c/><c/></b><b/></a>',
      { a: { b: [{ c: [''] }, { c: ['', ''] }, { c: [] }] } },
      { lists: ['a.b.c'] }
    ],
    ['<a.b><c/></a.b>', { 'a.b': { c: [''] } }, { lists: ['a\\.b.c'] }],
    ['<s:a xmlns:s="u"><s:b/></s:a>', { a: { b: [''] } }, { lists: ['a.b'] }]
  ]
  for (const [xml, value, options] of cases) t.equal(shown(xml, options), JSON.stringify(value), xml)
})

t.test('names of JavaScript are data', async (t) => {
  const value = read(
    '<__proto__ __proto__="1"><__proto__><polluted>1</polluted></__proto__><constructor>x</constructor><toString/></__proto__>'
  )
  t.equal(
    JSON.stringify(value),
    '{"__proto__":{"@__proto__":"1","__proto__":{"polluted":"1"},"constructor":"x","toString":""}}'
  )
  const prototypes = new Set<unknown>()
  const visit = (each: unknown): void => {
    if (typeof each !== 'object' || each === null) return
    prototypes.add(Object.getPrototypeOf(each))
    Object.values(each).forEach(visit)
  }
  visit(value)
  t.strictSame([...prototypes], [null])
  t.notOk('polluted' in {})
})

const nested = (levels: number): string => `${'<a>'.repeat(levels)}${'</a>'.repeat(levels)}`
const attributes = (count: number): string =>
  `<a ${Array.from({ length: count }, (_, i) => `a${i}="${i}"`).join(' ')}/>`

t.test('the bounds are 64 levels and 256 attributes', async (t) => {
  t.doesNotThrow(() => read(nested(64)))
  t.doesNotThrow(() => read(attributes(256)))
  t.throws(() => read(nested(65)), new FormatError('nested too deeply'))
  t.throws(() => read(nested(100_000)), new FormatError('nested too deeply'))
  t.throws(() => read(attributes(257)), new FormatError('too many attributes'))
})

const BILLION_LAUGHS = `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">${Array.from(
  { length: 9 },
  (_, i) => `<!ENTITY lol${i + 1} "${`&lol${i || ''};`.repeat(10)}">`
).join('')}]><lolz>&lol9;</lolz>`

t.test('what is refused, with a reason that has none of the content', async (t) => {
  const doctype = 'DOCTYPE is not allowed'
  const cases: [xml: string, reason: string | RegExp, options?: Options][] = [
    // PayloadsAllTheThings (XXE injection), CVE-2026-26278, CVE-2023-34104.
    [BILLION_LAUGHS, doctype],
    ['<!DOCTYPE a><a/>', doctype],
    ['<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', doctype],
    ['<?xml version="1.0"?><!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1/xxe">%x;]><a/>', doctype],
    [`<!DOCTYPE a [<!ENTITY ${'('.repeat(10_000)} "x">]><a>&#x110000;&#99999999;</a>`, doctype],
    ['<!DOCTYPE a [', /^malformed XML/],
    ['<a><!DOCTYPE a></a>', /^malformed XML/],
    ['<!doctype a><a/>', /^malformed XML/],
    ['<a>&secret;</a>', 'malformed XML: undefined entity'],
    ['<a b="&secret;"/>', 'malformed XML: undefined entity'],
    ['<a>&nbsp;</a>', 'malformed XML: undefined entity'],
    ['<a>&constructor;</a>', 'malformed XML: undefined entity'],
    ['<a>&#0;</a>', 'malformed XML: malformed character entity'],
    ['<a>&#x110000;</a>', 'malformed XML: malformed character entity'],
    [`<a>&#${'9'.repeat(10_000)};</a>`, 'malformed XML: malformed character entity'],
    ['<?xml version="1.1"?><a>&#1;</a>', 'malformed XML: malformed character entity'],
    ['<a>\u0000</a>', 'malformed XML: disallowed character'],
    ['<a>\uffff</a>', 'malformed XML: disallowed character'],
    // Documents that are broken off, or more than one.
    ['', /^malformed XML/],
    [' ', /^malformed XML/],
    ['text', /^malformed XML/],
    ['{"a":1}', /^malformed XML/],
    ['<a', /^malformed XML/],
    ['<a b="secret', /^malformed XML/],
    ['<secret>', 'malformed XML: unclosed tag'],
    ['<a><b></a>', 'malformed XML: unexpected close tag'],
    ['<a></secret>', 'malformed XML: unexpected close tag'],
    ['</secret>', 'malformed XML: unmatched closing tag'],
    ['<a/><b/>', 'malformed XML: documents may contain only one root'],
    ['<a/>text', 'malformed XML: text data outside of root node'],
    ['<a><![CDATA[x</a>', /^malformed XML/],
    ['<a><!-- x</a>', /^malformed XML/],
    ['<a><!-- x -- y --></a>', /^malformed XML/],
    ['<a>]]></a>', /^malformed XML/],
    ['<a b=1/>', 'malformed XML: unquoted attribute value'],
    ['<a b/>', /^malformed XML/],
    ['<a secret="1" secret="2"/>', 'malformed XML: duplicate attribute'],
    ['<a b="<"/>', 'malformed XML: disallowed character'],
    [' <?xml version="1.0"?><a/>', /^malformed XML/],
    ['<?xml version="2.0"?><a/>', /^malformed XML/],
    // Encodings.
    ['<?xml version="1.0" encoding="ISO-8859-1"?><a/>', 'unsupported encoding'],
    ['<?xml version="1.0" encoding="UTF-7"?><a/>', 'unsupported encoding'],
    ['<?xml version="1.0" encoding="UTF-16"?><a/>', 'the encoding is not the declared one'],
    // Namespaces.
    ['<r xmlns:x="u" xmlns:y="v"><x:b/><y:b/></r>', 'two namespaces with one local name'],
    ['<r><b/><b xmlns="u"/></r>', 'two namespaces with one local name'],
    ['<r><x:b/><y:b/></r>', 'two namespaces with one local name'],
    ['<r xmlns:x="u"><x:b/><c xmlns:x="v"><x:b/></c></r>', 'two namespaces with one local name'],
    ['<r xmlns:x="u" x:id="1" id="2"/>', 'two namespaces with one local name'],
    ['<r xmlns:x="u" xmlns:y="u" x:id="1" y:id="2"/>', 'two attributes with one local name'],
    ['<a:b:c/>', 'malformed XML: name'],
    ['<:a/>', 'malformed XML: name']
  ]
  for (const [xml, reason, options] of cases) {
    const error = t.throws(() => read(xml, options), FormatError) as FormatError
    if (typeof reason === 'string') t.equal(error.message, reason, xml.slice(0, 80))
    else t.match(error.message, reason, xml.slice(0, 80))
    t.notMatch(error.message, 'secret')
  }
})

t.test('UTF-16 is read, if the declaration agrees', async (t) => {
  const xml = (encoding: string): string => `\ufeff<?xml version="1.0" encoding="${encoding}"?><a>é</a>`
  t.equal(JSON.stringify(read(Buffer.from(xml('UTF-16'), 'utf16le'))), '{"a":"é"}')
  t.equal(JSON.stringify(read(Buffer.from(xml('utf-16'), 'utf16le').swap16())), '{"a":"é"}')
  t.throws(
    () => read(Buffer.from(xml('UTF-8'), 'utf16le')),
    new FormatError('the encoding is not the declared one')
  )
})

t.test('large documents of every shape are read', async (t) => {
  const large = 2 * 1024 ** 2
  const many = (part: string): string => part.repeat(large / part.length)
  const shapes: Record<string, string> = {
    text: `<a>${many('x')}</a>`,
    entities: `<a>${many('&amp;')}</a>`,
    'entities in an attribute': `<a b="${many('&amp;')}"/>`,
    elements: `<a>${many('<b/>')}</a>`,
    'mixed content': `<a>${many('x<b/>')}</a>`,
    comments: `<a>${many('x<!---->')}</a>`,
    'brackets in CDATA': `<a><![CDATA[${many(']')}]]></a>`,
    'line ends': `<a>${many('\r\n')}</a>`,
    'white space': `<a>${many(' ')}</a>`,
    namespaces: `<a>${many('<b xmlns="u" c="1"/>')}</a>`
  }
  for (const [what, xml] of Object.entries(shapes)) t.doesNotThrow(() => read(xml), what)
})
