/** Escapes a value for its place in a text; `index` is its position among the values, from 0. */
export type Escape = (value: string, index: number) => string

type Safe = (value: string) => string

/** Returns how the values of a template are escaped, by its content type and the text before each value; undefined for a type that needs no escaping. */
export function escapesFor(type: string, before: readonly string[]): Escape | undefined {
  const escapeAt = contextOf(type)
  if (escapeAt === undefined) return undefined
  let text = ''
  const safes = before.map((literal) => {
    text += literal
    const safe = escapeAt(text)
    // A value counts as plain text for the values after it.
    text += 'x'
    return safe
  })
  return (value, index) => (safes[index] ?? escapeHtml)(value)
}

function contextOf(type: string): ((text: string) => Safe) | undefined {
  if (/json/i.test(type)) return (text) => (isInJsonText(text) ? jsonText : jsonValue)
  if (/javascript|ecmascript/i.test(type)) return scriptSafe
  if (/html|xml/i.test(type)) return markupSafe
  return /css/i.test(type) ? () => cssText : undefined
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;'
}

/** Escapes a text for HTML and XML, attributes in quotes included. */
export const escapeHtml = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (char) => ENTITIES[char] ?? char)

// An unquoted attribute ends at white space, where another may begin (WHATWG HTML section 13.1.2.3).
const bareAttribute: Safe = (value) =>
  value.replaceAll(/[^\w.-]/gu, (char) => `&#${char.codePointAt(0) ?? 0};`)

const unicode = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`

// Angle brackets are escaped as well, since a browser may sniff JSON as HTML.
const jsonText: Safe = (value) =>
  JSON.stringify(value)
    .slice(1, -1)
    .replaceAll(/[<>&'\u007f-\u009f\u2028\u2029]/g, unicode)

const JSON_LITERAL = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)$/

const jsonValue: Safe = (value) => (JSON_LITERAL.test(value) ? value : `"${jsonText(value)}"`)

// The remaining characters have no special meaning in any kind of literal.
const scriptText: Safe = (value) => value.replaceAll(/[^\w .,:@-]/g, unicode)

const scriptValue: Safe = (value) => (JSON_LITERAL.test(value) ? value : `"${scriptText(value)}"`)

const cssText: Safe = (value) =>
  value.replaceAll(/[^\w-]/gu, (char) => `\\${(char.codePointAt(0) ?? 0).toString(16)} `)

// A browser ignores white space and control characters around and within a scheme.
const SCRIPT_URL = /^(?:javascript|vbscript|data):/i

const isScriptUrl = (value: string): boolean =>
  SCRIPT_URL.test(Array.from(value, (char) => (char > ' ' ? char : '')).join(''))

function isInJsonText(text: string): boolean {
  let inside = false
  for (let i = 0; i < text.length; i++) {
    if (inside && text[i] === '\\') i++
    else if (text[i] === '"') inside = !inside
  }
  return inside
}

const scriptSafe = (text: string): Safe => (isInScriptText(text) ? scriptText : scriptValue)

/** Returns whether a script ends inside a string, a template or a comment. */
function isInScriptText(text: string): boolean {
  // The literals that are open, the innermost last: a template may contain code, and the code a template.
  const within: string[] = []
  for (let i = 0; i < text.length; i++) {
    const char = text[i] ?? ''
    const two = text.slice(i, i + 2)
    const here = within.at(-1)
    if (here === '/*' || here === '//') {
      if (here === '/*' ? two === '*/' : /[\n\r\u2028\u2029]/.test(char)) {
        within.pop()
        if (here === '/*') i++
      }
    } else if (here !== undefined && here !== '{') {
      if (char === '\\') i++
      else if (char === here) within.pop()
      else if (here === '`' && two === '${') {
        within.push('{')
        i++
      }
    } else if (two === '/*' || two === '//') {
      within.push(two)
      i++
    } else if (/["'`{]/.test(char)) within.push(char)
    else if (char === '}' && here === '{') within.pop()
  }
  return within.length > 0 && within.at(-1) !== '{'
}

// Attributes whose value is a URL that a browser follows.
const URL_ATTRIBUTE = /^(?:(?:xlink:)?href|src|action|formaction|data|poster|background|cite|ping)$/

/** Returns how a value at the end of HTML or XML is escaped. */
function markupSafe(text: string): Safe {
  if (/<\/?$/.test(text)) return bareAttribute
  const { raw, tag, attribute, quote } = placeInMarkup(text)
  if (raw?.name === 'script') return scriptSafe(raw.text)
  if (raw?.name === 'style') return cssText
  if (!tag) return escapeHtml
  if (attribute === undefined) return bareAttribute
  const inner = attributeSafe(attribute)
  const outer = quote === '' ? bareAttribute : escapeHtml
  return (value) => outer(inner(value))
}

/** Returns how a value inside an attribute is escaped: by whether a browser runs, follows or shows the attribute. */
function attributeSafe({ name, value: before }: { name: string; value: string }): Safe {
  if (name.startsWith('on')) return scriptSafe(before)
  if (name === 'style') return cssText
  if (name === 'srcdoc') return escapeHtml
  if (!URL_ATTRIBUTE.test(name)) return (value) => value
  if (before.trim() === '') return (value) => (isScriptUrl(value) ? 'about:invalid' : value)
  // A value in a query must not end it, or begin another parameter.
  return /[?#]/.test(before) ? (value) => encodeURIComponent(value.toWellFormed()) : (value) => value
}

interface MarkupPlace {
  /** The enclosing element whose content is not markup, and its content so far. */
  readonly raw?: { readonly name: string; readonly text: string }
  /** Whether the text ends between "<" and ">". */
  readonly tag: boolean
  readonly attribute?: { readonly name: string; readonly value: string }
  readonly quote: string
}

const TAG = /<(\/?)([a-z][^\s/>]*)|<!--/gi
const ATTRIBUTE = /[\s/]*(?:(>)|([^\s/>=]+)(?:\s*=\s*(?:"([^"]*)("?)|'([^']*)('?)|([^\s>"'][^\s>]*)?))?)/gy

function placeInMarkup(text: string): MarkupPlace {
  let from = 0
  for (;;) {
    TAG.lastIndex = from
    const open = TAG.exec(text)
    if (open === null) return { tag: false, quote: '' }
    if (open[0] === '<!--') {
      const end = text.indexOf('-->', TAG.lastIndex)
      if (end === -1) return { tag: false, quote: '' }
      from = end + 3
      continue
    }
    const inside = attributesFrom(text, TAG.lastIndex)
    if (typeof inside !== 'number') return inside
    from = inside
    const name = (open[2] ?? '').toLowerCase()
    if (open[1] === '/' || (name !== 'script' && name !== 'style')) continue
    const close = text.toLowerCase().indexOf(`</${name}`, from)
    if (close === -1) return { raw: { name, text: text.slice(from) }, tag: false, quote: '' }
    from = close
  }
}

/** Parses the attributes of a tag; returns the index behind it, or the place where the text ends inside it. */
function attributesFrom(text: string, start: number): number | MarkupPlace {
  ATTRIBUTE.lastIndex = start
  for (;;) {
    const at = ATTRIBUTE.lastIndex
    const found = ATTRIBUTE.exec(text)
    if (found === null) return at >= text.length ? { tag: true, quote: '' } : skipToTagEnd(text, at)
    const [all, end, name = '', double, closedDouble, single, closedSingle, bare] = found
    if (end !== undefined) return ATTRIBUTE.lastIndex
    const isOpen =
      (double !== undefined && closedDouble === '') || (single !== undefined && closedSingle === '')
    if (isOpen || ATTRIBUTE.lastIndex >= text.length) {
      const value = double ?? single ?? bare
      const closed = closedDouble === '"' || closedSingle === "'"
      if (closed || (value === undefined && !/=\s*$/.test(all))) return { tag: true, quote: '' }
      return {
        tag: true,
        attribute: { name: name.toLowerCase(), value: value ?? '' },
        quote: double !== undefined ? '"' : single !== undefined ? "'" : ''
      }
    }
  }
}

// After a character that cannot begin an attribute, the rest of the tag is skipped.
function skipToTagEnd(text: string, at: number): number | MarkupPlace {
  const end = text.indexOf('>', at)
  return end === -1 ? { tag: true, quote: '' } : end + 1
}
