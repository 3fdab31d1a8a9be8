import type { Escape } from '../escape.ts'
import { TemplateError, templateParts } from '../template-parts.ts'
import { type Template, template, type ValueKind } from '../values.ts'
import { encodeValue } from './url-parts.ts'

// Headers whose whole value is a URL.
const URL_HEADERS: ReadonlySet<string> = new Set(['location', 'content-location', 'referer', 'destination'])

/** Compiles the text of a header; values that stand in a URL are percent-encoded, so that they can't leave their place. */
export function headerTemplate(name: string, text: string, known?: readonly ValueKind[]): Template {
  const compiled = template(text, known)
  const header = name.toLowerCase()
  const encode = escapeFor(header, text)
  const finish = URL_HEADERS.has(header) ? safeUrl : unchanged
  if (encode === undefined && finish === unchanged) return compiled
  return {
    ...compiled,
    render: (request) => finish(compiled.render(request, encode)),
    renderWhole(request) {
      const rendered = compiled.renderWhole(request, encode)
      return rendered === undefined ? undefined : finish(rendered)
    }
  }
}

type Encode = (value: string) => string

const unchanged: Encode = (value) => value

/** Returns how the values of a header's text are encoded; undefined where none stands in a URL. */
function escapeFor(header: string, text: string): Escape | undefined {
  let before = ''
  const encodes = partsOf(text).flatMap((part) => {
    if (typeof part === 'string') {
      before += part
      return []
    }
    const url = urlAtEnd(header, before)
    before += 'x'
    return [url === undefined ? unchanged : encodeFor(part.reference, url)]
  })
  return encodes.every((encode) => encode === unchanged)
    ? undefined
    : (value, index) => (encodes[index] ?? encodeValue)(value)
}

/** Splits a text; one that is no template has no parts, since its error is reported elsewhere. */
function partsOf(text: string): ReturnType<typeof templateParts> {
  try {
    return templateParts(text)
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return []
  }
}

/** Returns the beginning of the URL in which a text ends; undefined if it ends elsewhere. */
function urlAtEnd(header: string, text: string): string | undefined {
  if (URL_HEADERS.has(header)) return text
  if (header === 'link') return /<([^>]*)$/.exec(text)?.[1]
  if (header === 'refresh') return /url=\s*["']?(.*)$/i.exec(text)?.[1]
  return /[a-z][a-z0-9+.-]*:\/\/[^\s"'<>]*$/i.exec(text)?.[0]
}

/** Returns how a value is encoded behind the beginning of a URL. */
function encodeFor(reference: string, url: string): Encode {
  // A value that begins the URL is one itself, or its beginning.
  if (url === '') return reference === 'path' ? ownPath : safeUrl
  if (/[?#]/.test(url)) return encodeValue
  const isOrigin = /^[a-z][a-z0-9+.-]*:\/\/[^/]*$/i.test(url)
  if (reference === 'host' && isOrigin) return safeUrl
  if (reference === 'path') return isOrigin ? safeUrl : ownPath
  // A wildcard matches several segments.
  return reference === 'params.*' && !isOrigin ? encodePath : encodeValue
}

const encodePath: Encode = (value) => value.split('/').map(encodeValue).join('/')

/** Percent-encodes what no URL may contain (RFC 3986 section 2). */
const safeUrl: Encode = (value) =>
  value.toWellFormed().replaceAll(/[^\x21-\x7e]|["<>\\^`{|}]/gu, encodeURIComponent)

// A URL that begins with two slashes names another host.
const ownPath: Encode = (value) => safeUrl(value.replace(/^\/{2,}/, '/'))
