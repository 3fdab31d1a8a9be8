import { isObject } from '../schema.ts'
import { FormatXml } from './format-errors.ts'
import { isRawNumber, MAX_LEVELS } from './json.ts'
import { isXmlName } from './xml-names.ts'

const XSI = 'http://www.w3.org/2001/XMLSchema-instance'

// A list repeats its name with each item, so the text can be far longer than the JSON.
const MAX_CHARACTERS = 16 * 1024 ** 2

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

/** The element of an item in a list that has no name of its own. */
const ITEM = 'item'

/** Writes a JSON value as XML below a root element of this name; throws a FormatXml for what XML can't carry. */
export function writeXml(value: unknown, root: string): Buffer {
  const writer = new XmlWriter()
  const written = writer.element(root, Array.isArray(value) ? { [ITEM]: value } : value, 0)
  const declared = writer.needsXsi ? ` xmlns:xsi="${XSI}"` : ''
  return Buffer.from(`${DECLARATION}<${root}${declared}${written.slice(root.length + 1)}`)
}

class XmlWriter {
  /** Whether the root element has to declare the prefix xsi. */
  needsXsi = false
  /** The prefixes that are declared here, innermost last. */
  readonly #prefixes = ['xml']
  #room = MAX_CHARACTERS

  element(name: string, value: unknown, level: number): string {
    if (level > MAX_LEVELS) throw new FormatXml('nested too deeply')
    if (Array.isArray(value)) {
      let written = ''
      for (const item of value)
        written += this.element(name, Array.isArray(item) ? { [ITEM]: item } : item, level)
      return written
    }
    this.#take(2 * name.length + 5)
    const outside = this.#prefixes.length
    const written =
      isObject(value) && !isRawNumber(value) ? this.#object(name, value, level) : this.#scalar(name, value)
    this.#prefixes.length = outside
    return written
  }

  #scalar(name: string, value: unknown): string {
    this.#checkName(name)
    if (value !== null) return enclose(name, '', this.#text(value))
    this.#usePrefix('xsi')
    return this.#taken(`<${name} xsi:nil="true"/>`)
  }

  #object(name: string, value: Readonly<Record<string, unknown>>, level: number): string {
    const keys = Object.keys(value).filter((key) => value[key] !== undefined)
    const names = keys.filter((key) => key.startsWith('@') && value[key] !== null).map((key) => key.slice(1))
    for (const each of names) if (each.startsWith('xmlns:')) this.#declare(each, value[`@${each}`])
    this.#checkName(name)
    let attributes = ''
    for (const each of names) attributes += this.#attribute(each, value[`@${each}`])
    let content = ''
    for (const key of keys) {
      if (key === '#text') content += value[key] === null ? '' : this.#text(value[key])
      else if (!key.startsWith('@')) content += this.element(key, value[key], level + 1)
    }
    return enclose(name, attributes, content)
  }

  #text(value: unknown): string {
    return this.#taken(escaped(textOf(value), TEXT_SPECIAL))
  }

  #attribute(name: string, value: unknown): string {
    if (!name.startsWith('xmlns:')) this.#checkName(name)
    return this.#taken(` ${name}="${escaped(textOf(value), ATTRIBUTE_SPECIAL)}"`)
  }

  #declare(name: string, uri: unknown): void {
    const prefix = name.slice(6)
    if (!isXmlName(name) || uri === '') throw new FormatXml('a key is no XML name')
    if (prefix === 'xml' || prefix === 'xmlns' || (prefix === 'xsi' && uri !== XSI))
      throw new FormatXml('a prefix stands for another namespace')
    this.#prefixes.push(prefix)
  }

  #checkName(name: string): void {
    if (!isXmlName(name)) throw new FormatXml('a key is no XML name')
    const colon = name.indexOf(':')
    if (colon !== -1) this.#usePrefix(name.slice(0, colon))
  }

  #usePrefix(prefix: string): void {
    if (this.#prefixes.includes(prefix)) return
    if (prefix !== 'xsi') throw new FormatXml('a prefix has no namespace')
    this.needsXsi = true
  }

  #taken(written: string): string {
    this.#take(written.length)
    return written
  }

  #take(characters: number): void {
    this.#room -= characters
    if (this.#room < 0) throw new FormatXml('too large')
  }
}

const enclose = (name: string, attributes: string, content: string): string =>
  content === '' ? `<${name}${attributes}/>` : `<${name}${attributes}>${content}</${name}>`

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (isRawNumber(value)) return value.rawJSON
  throw new FormatXml('an attribute or a text is a list or an object')
}

// What XML 1.0 section 2.2 leaves out, besides lone surrogates.
const NO_CHARACTER = /[^\t\n\r\u0020-\ufffd]/

const ESCAPED: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;'
}

// A reader turns a carriage return into a line feed, and any white space of an attribute into a space.
const TEXT_SPECIAL = /[&<>\r]/g
const ATTRIBUTE_SPECIAL = /[&<>"\t\n\r]/g

function escaped(text: string, special: RegExp): string {
  if (NO_CHARACTER.test(text) || !text.isWellFormed()) throw new FormatXml('a text has a control character')
  return text.replace(special, (char) => ESCAPED[char] ?? char)
}
