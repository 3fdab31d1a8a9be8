import fc from 'fast-check'
import t from 'tap'
import { FormatXml } from '../../../../src/lib/body/format-errors.ts'
import { compileLists } from '../../../../src/lib/body/xml-names.ts'
import { readXml } from '../../../../src/lib/body/xml-read.ts'
import { writeXml } from '../../../../src/lib/body/xml-write.ts'
import { draws } from '../../../random.ts'

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'

const write = (value: unknown, root = 'a'): string =>
  writeXml(value, root).toString().slice(DECLARATION.length)

t.test('a value becomes XML', async (t) => {
  const cases: [value: unknown, xml: string][] = [
    ['x', '<a>x</a>'],
    ['', '<a/>'],
    [{}, '<a/>'],
    [1.5, '<a>1.5</a>'],
    [true, '<a>true</a>'],
    [null, `<a ${XSI} xsi:nil="true"/>`],
    [JSON.parse('{"b":1,"c":{"d":"x"}}'), '<a><b>1</b><c><d>x</d></c></a>'],
    [JSON.rawJSON('12345678901234567890'), '<a>12345678901234567890</a>'],
    [{ b: JSON.rawJSON('1e400') }, '<a><b>1e400</b></a>'],
    // Lists repeat their element; a list without a name has items.
    [{ b: [1, 2] }, '<a><b>1</b><b>2</b></a>'],
    [{ b: [] }, '<a/>'],
    [[1, { c: 2 }], '<a><item>1</item><item><c>2</c></item></a>'],
    [{ b: [[1, 2], [3]] }, '<a><b><item>1</item><item>2</item></b><b><item>3</item></b></a>'],
    [{ b: [null, 1], c: null }, `<a ${XSI}><b xsi:nil="true"/><b>1</b><c xsi:nil="true"/></a>`],
    // Attributes and texts.
    [{ '@id': 1, '#text': 'x' }, '<a id="1">x</a>'],
    [{ b: '', '@id': 'x', '@none': null, '#text': null }, '<a id="x"><b/></a>'],
    [{ b: undefined, c: 1 }, '<a><c>1</c></a>'],
    ['<&>"\'\r\n]]>', '<a>&lt;&amp;&gt;"\'&#13;\n]]&gt;</a>'],
    [{ '@b': '<&>"\'\r\n\t' }, '<a b="&lt;&amp;&gt;&quot;\'&#13;&#10;&#9;"/>'],
    ['é😀\u0085\u2028', '<a>é😀\u0085\u2028</a>'],
    // Prefixes that are declared where they are used.
    [{ '@xmlns:s': 'u', 's:b': { '@s:c': 1 } }, '<a xmlns:s="u"><s:b s:c="1"/></a>'],
    [{ b: { 's:c': 1, '@xmlns:s': 'u' } }, '<a><b xmlns:s="u"><s:c>1</s:c></b></a>'],
    [{ '@xmlns': 'u', '@xml:lang': 'de' }, '<a xmlns="u" xml:lang="de"/>'],
    [{ '@xsi:type': 'x' }, `<a ${XSI} xsi:type="x"/>`],
    [{ [`@${XSI.split('=')[0]}`]: XSI.split('"')[1], b: null }, `<a ${XSI}><b xsi:nil="true"/></a>`],
    // Names of JavaScript.
    [
      JSON.parse('{"__proto__":1,"constructor":2}'),
      '<a><__proto__>1</__proto__><constructor>2</constructor></a>'
    ]
  ]
  for (const [value, xml] of cases) t.equal(write(value), xml)
})

const nested = (levels: number): unknown => JSON.parse(`${'{"b":'.repeat(levels)}1${'}'.repeat(levels)}`)

t.test('what XML cannot carry is SP_ERR_FORMAT_XML, without any of it', async (t) => {
  const cases: [value: unknown, reason: string][] = [
    ...['', '1a', 'a b', 'a<', 'a/', '-a', 'a:b:c', ':a', 'a:', '@', '@1', '@a b', 'a\ud800', '×'].map(
      (key): [unknown, string] => [{ [key]: 'secret' }, 'a key is no XML name']
    ),
    ...['\u0000', '\u0008', '\u001f', '\ufffe', '\uffff', '\ud800', '\udc00x', 'x\udbff'].flatMap(
      (text): [unknown, string][] => [
        [{ b: text }, 'a text has a control character'],
        [{ '@b': text }, 'a text has a control character'],
        [{ '#text': text }, 'a text has a control character']
      ]
    ),
    [{ 's:secret': 1 }, 'a prefix has no namespace'],
    [{ b: { '@xmlns:s': 'u' }, 's:c': 1 }, 'a prefix has no namespace'],
    [{ '@xmlns:xsi': 'u' }, 'a prefix stands for another namespace'],
    [{ '@xmlns:xml': 'u' }, 'a prefix stands for another namespace'],
    [{ '@xmlns:s': '' }, 'a key is no XML name'],
    [{ '@b': {} }, 'an attribute or a text is a list or an object'],
    [{ '#text': [] }, 'an attribute or a text is a list or an object'],
    [{ b: () => 1 }, 'an attribute or a text is a list or an object'],
    [nested(65), 'nested too deeply'],
    [JSON.parse(`${'['.repeat(70)}${']'.repeat(70)}`), 'nested too deeply'],
    [{ ['b'.repeat(100_000)]: new Array(200).fill(1) }, 'too large'],
    [{ b: '&'.repeat(4 * 1024 ** 2) }, 'too large']
  ]
  for (const [value, reason] of cases) {
    const error = t.throws(() => write(value), FormatXml) as Error & { code: string; statusCode: number }
    t.match(error, { code: 'SP_ERR_FORMAT_XML', statusCode: 502 })
    t.ok(error.message.endsWith(`: ${reason}`), error.message)
    t.notMatch(error.message, 'secret')
  }
  t.doesNotThrow(() => write(nested(64)))
})

interface Element {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: readonly Element[]
  readonly text: string
}

const names = fc.stringMatching(/^[A-Za-zé_][A-Za-zé0-9._-]{0,6}$/)
const characters = fc
  .string({ unit: 'binary', maxLength: 12 })
  .map((text) => text.replaceAll(/[^\t\n\r\u0020-\ufffd]/g, ''))
  .filter((text) => text.isWellFormed())

/** Siblings of one name stand together, and the text of an element behind its children: JSON keeps no other order. */
const documents = fc.letrec<{ element: Element; children: readonly Element[] }>((tie) => ({
  element: fc.record({
    name: names,
    attributes: fc.dictionary(names, characters, { maxKeys: 3 }),
    children: tie('children'),
    text: characters.map((text) => text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ''))
  }),
  children: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constant([]),
    fc
      .uniqueArray(fc.tuple(names, fc.array(tie('element'), { minLength: 1, maxLength: 3 })), {
        maxLength: 4,
        selector: ([name]) => name
      })
      .map((groups) => groups.flatMap(([name, group]) => group.map((each) => ({ ...each, name }))))
  )
})).element

const reference = (text: string, special: RegExp): string =>
  text.replaceAll(special, (char) =>
    char === '"' ? '&quot;' : ({ '<': '&lt;', '>': '&gt;', '&': '&amp;' }[char] ?? `&#${char.charCodeAt(0)};`)
  )

function xmlOf({ name, attributes, children, text }: Element): string {
  const start = Object.keys(attributes).map(
    (key) => ` ${key}="${reference(attributes[key] ?? '', /[<>&"\t\n\r]/g)}"`
  )
  const content = `${children.map(xmlOf).join('')}${reference(text, /[<>&\r]/g)}`
  return content === '' ? `<${name}${start.join('')}/>` : `<${name}${start.join('')}>${content}</${name}>`
}

const reading = { lists: compileLists([]), namespaces: 'drop' } as const

t.test(
  'XML to JSON to XML keeps elements, attributes, texts and the order of siblings of one name',
  async () => {
    fc.assert(
      fc.property(documents, (document) => {
        const xml = xmlOf(document)
        const json = JSON.stringify(readXml(Buffer.from(xml), undefined, reading))
        const value = (JSON.parse(json) as Record<string, unknown>)[document.name]
        return write(value, document.name) === xml
      }),
      draws(500)
    )
  }
)

t.test('JSON that XML can carry stays well-formed whatever it is', async () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      try {
        readXml(writeXml(value, 'root'), undefined, { ...reading, namespaces: 'keep' })
        return true
      } catch (error) {
        return error instanceof FormatXml
      }
    }),
    draws(500)
  )
})
