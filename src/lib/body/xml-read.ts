import { type SaxesAttributePlain, SaxesParser } from 'saxes'
import { checkEncoding, decodeXml } from './encoding.ts'
import { FormatError } from './format-errors.ts'
import { MAX_LEVELS } from './json.ts'
import type { ListTree } from './xml-names.ts'
import { Namespaces } from './xml-namespaces.ts'

/** How a document becomes a value. */
export interface XmlReading {
  readonly lists: ListTree
  readonly namespaces: 'drop' | 'keep'
}

const MAX_ATTRIBUTES = 256

type Children = Record<string, unknown>

/** An element that is not closed yet. */
interface Open {
  readonly parent: Open | undefined
  readonly level: number
  readonly key: string
  readonly lists: ListTree | undefined
  /** The bindings of namespaces outside of it. */
  readonly outside: number
  children: Children | undefined
  text: string
}

/** Reads XML into an object with its root element as the only key; every text stays a string, every object has a null prototype; throws a FormatError. */
export function readXml(bytes: Buffer, contentType: string | undefined, reading: XmlReading): unknown {
  const { text, encoding } = decodeXml(bytes, contentType)
  const builder = new TreeBuilder(reading)
  try {
    const parser = parserFor(builder)
    parser.write(text)
    checkEncoding(parser.xmlDecl.encoding, encoding)
    parser.close()
  } catch (error) {
    throw error instanceof FormatError ? error : new FormatError(`malformed XML: ${reasonOf(error)}`)
  }
  return builder.root
}

// With eight handlers, V8 keeps the parser's fields in a hash table, and it takes six times as long.
function parserFor(builder: TreeBuilder): SaxesParser {
  // Version 1.1 allows control characters, which version 1.0 can't carry any further.
  const parser = new SaxesParser({
    xmlns: false,
    position: false,
    defaultXMLVersion: '1.0',
    forceXMLVersion: true
  })
  parser.on('doctype', () => {
    throw new FormatError('DOCTYPE is not allowed')
  })
  parser.on('attribute', (attribute) => builder.addAttribute(attribute))
  parser.on('opentag', ({ name }) => builder.open(name))
  parser.on('closetag', () => builder.close())
  parser.on('text', (part) => builder.addText(part))
  parser.on('cdata', (part) => builder.addText(part))
  return parser
}

// What stands behind the colon of a message is content.
const reasonOf = (error: unknown): string =>
  error instanceof Error ? (error.message.split(':')[0] ?? '').replace(/\.$/, '') : 'unknown'

class TreeBuilder {
  readonly root: Children = Object.create(null)
  readonly #reading: XmlReading
  readonly #namespaces: Namespaces | undefined
  #current: Open | undefined
  /** The attributes of the element that is being opened. */
  #attributes: SaxesAttributePlain[] = []

  constructor(reading: XmlReading) {
    this.#reading = reading
    this.#namespaces = reading.namespaces === 'drop' ? new Namespaces() : undefined
  }

  addAttribute(attribute: SaxesAttributePlain): void {
    if (this.#attributes.push(attribute) > MAX_ATTRIBUTES) throw new FormatError('too many attributes')
  }

  open(name: string): void {
    const parent = this.#current
    const level = parent === undefined ? 1 : parent.level + 1
    if (level > MAX_LEVELS) throw new FormatError('nested too deeply')
    const namespaces = this.#namespaces
    const outside = namespaces === undefined ? 0 : namespaces.depth
    const children = this.#attributes.length === 0 ? undefined : this.#takeAttributes()
    const key = namespaces === undefined ? name : namespaces.element(name)
    const lists = parent === undefined ? this.#reading.lists : parent.lists
    this.#current = { parent, level, key, lists: lists?.below.get(key), outside, children, text: '' }
  }

  addText(part: string): void {
    const element = this.#current
    // Indentation between elements is most of what comes here.
    if (element !== undefined && (element.text !== '' || !isBlank(part))) element.text += part
  }

  close(): void {
    const element = this.#current
    if (element === undefined) return
    const { parent } = element
    this.#current = parent
    this.#namespaces?.leave(element.outside)
    if (parent !== undefined) parent.children ??= Object.create(null) as Children
    add(parent?.children ?? this.root, element)
  }

  #takeAttributes(): Children | undefined {
    const attributes = this.#attributes
    this.#attributes = []
    const namespaces = this.#namespaces
    const made: Children = Object.create(null)
    if (namespaces === undefined) {
      for (const { name, value } of attributes) made[`@${name}`] = value
      return made
    }
    for (const { name, value } of attributes) {
      const key = namespaces.knownAttribute(name)
      if (key === undefined) return takeNewAttributes(attributes, namespaces)
      put(made, name, key, value)
    }
    return made
  }
}

// Declarations hold for the attributes before them, too.
function takeNewAttributes(
  attributes: readonly SaxesAttributePlain[],
  namespaces: Namespaces
): Children | undefined {
  for (const { name, value } of attributes) if (isDeclaration(name)) namespaces.bind(name.slice(6), value)
  const others = attributes.filter(({ name }) => !isDeclaration(name))
  if (others.length === 0) return undefined
  const made: Children = Object.create(null)
  for (const { name, value } of others) put(made, name, namespaces.attribute(name), value)
  return made
}

function put(to: Children, name: string, key: string, value: string): void {
  // Only names that have lost a prefix can be the same.
  if (key.length !== name.length + 1 && key in to) throw new FormatError('two attributes with one local name')
  to[key] = value
}

function add(to: Children, element: Open): void {
  const value = contentOf(element)
  const { key, lists } = element
  const before = to[key]
  if (before === undefined) to[key] = lists?.always === true ? [value] : value
  else if (Array.isArray(before)) before.push(value)
  else to[key] = [before, value]
}

function contentOf(element: Open): unknown {
  const text = trim(element.text)
  let { children } = element
  // A list without items is an empty one.
  if (element.lists !== undefined && element.lists.names.length > 0) {
    children ??= Object.create(null) as Children
    for (const name of element.lists.names) children[name] ??= []
  }
  if (children === undefined) return text
  if (text !== '') children['#text'] = text
  return children
}

const isDeclaration = (name: string): boolean => name === 'xmlns' || name.startsWith('xmlns:')

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x09 || code === 0x0d

function isBlank(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (!isSpace(text.charCodeAt(i))) return false
  return true
}

// The white space of XML only: a no-break space is text.
function trim(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isSpace(text.charCodeAt(start))) start++
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--
  return end - start === text.length ? text : text.slice(start, end)
}
