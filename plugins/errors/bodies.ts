import { type TUnsafe, Type } from 'typebox'
import type { OptionFault } from '../../src/kit/index.ts'
import { stringifyJson } from '../../src/lib/body/json.ts'
import { fillJson, jsonTemplate } from '../../src/lib/body/values-in-json.ts'
import { escapesFor } from '../../src/lib/escape.ts'
import { isObject } from '../../src/lib/schema.ts'
import { type TemplatePart, templateParts } from '../../src/lib/template-parts.ts'
import { EXPECTED, NO_SECRET, REPLACED_WHOLE, TEMPLATE, TEMPLATES } from '../../src/lib/units.ts'
import { ERROR_VALUES, template, templateFaults } from '../../src/lib/values.ts'
import { type ErrorBody, kindOf } from './error-body.ts'
import type { Failure, Problem } from './problem.ts'

/** The bodies of an error in a config: templates by their names or media types. */
export type BodyOptions = Readonly<Record<string, unknown>>

// The short names of the usual media types.
const TYPES: Readonly<Record<string, string>> = {
  json: 'application/json',
  html: 'text/html',
  text: 'text/plain',
  xml: 'application/xml'
}

const MEDIA_TYPE = '^[a-z]+/[a-z0-9][a-z0-9.+-]*$'

const text = (description: string, example: string): object => ({
  type: 'string',
  [TEMPLATE]: true,
  description,
  examples: [example]
})

const json = (description: string): object => ({
  anyOf: [{ type: 'string' }, { type: 'object' }, { type: 'array' }],
  [TEMPLATES]: true,
  [REPLACED_WHOLE]: true,
  [EXPECTED]: 'an object, a list, or a text',
  description
})

/** Describes the bodies of an error. */
export const Bodies: TUnsafe<BodyOptions> = Type.Unsafe<BodyOptions>({
  type: 'object',
  properties: {
    json: {
      ...json(
        'The body for clients that accept JSON: an object or a list with values in its texts, or a text.'
      ),
      examples: [{ error: '{detail}', request: '{requestId}' }]
    },
    html: text('The body for browsers.', '<h1>{title}</h1>'),
    text: text('The body for clients that accept plain text.', '{title}\n'),
    xml: text('The body for clients that accept XML.', '<error code="{code}">{detail}</error>')
  },
  patternProperties: {
    [MEDIA_TYPE]: json('The body in another media type; anything but a text is sent as JSON.')
  },
  additionalProperties: false,
  minProperties: 1,
  [NO_SECRET]: true,
  [EXPECTED]:
    'an object with "json", "html", "text", "xml" or a media type such as "application/vnd.api+json"',
  description: 'The bodies of an error, by what the client accepts.',
  examples: [{ json: { error: '{detail}' }, html: '<h1>{title}</h1>' }]
})

type Reader = (failure: Failure) => string | number | undefined

function readerOf(reference: string): Reader {
  if (OF_PROBLEM.has(reference)) return ({ problem }) => problem[reference as 'status']
  const value = template(`{${reference}}`, ERROR_VALUES)
  return ({ request }) => (request === undefined ? undefined : value.renderWhole(request))
}

const OF_PROBLEM: ReadonlySet<string> = new Set([
  'status',
  'title',
  'detail',
  'code'
] satisfies (keyof Problem)[])

/** The values that every error of a route has. */
export const ALWAYS_KNOWN: ReadonlySet<string> = new Set([...OF_PROBLEM, 'requestId'])

/** Compiles the bodies of an error, by media type. */
export const compileBodies = (options: BodyOptions): ReadonlyMap<string, ErrorBody> =>
  new Map(
    Object.entries(options).map(([name, value]) => {
      const type = typeOf(name)
      const render = typeof value === 'string' ? compileText(value, type) : compileJson(value)
      return [type, { kind: kindOf(type), type: contentTypeOf(type), render }]
    })
  )

/** Returns the media type of a body by its name in the config. */
export const typeOf = (name: string): string => TYPES[name] ?? name

// JSON has no parameter "charset" (RFC 8259 section 11).
const contentTypeOf = (type: string): string =>
  /^text\/|[/+]xml$/.test(type) ? `${type}; charset=utf-8` : type

function compileJson(value: unknown): ErrorBody['render'] {
  const compiled = jsonTemplate(value)
  const readers = new Map(compiled.references.map((reference) => [reference, readerOf(reference)]))
  return (failure) =>
    `${stringifyJson(fillJson(compiled, (reference) => readers.get(reference)?.(failure)))}\n`
}

function compileText(text: string, type: string): ErrorBody['render'] {
  const fill = fillText(text, type)
  const readers = templateParts(text).map((part) =>
    typeof part === 'string' ? undefined : readerOf(part.reference)
  )
  return (failure) => fill((i) => readers[i]?.(failure))
}

/** Compiles a text; the result fills in the value of each part that is one, by its index. */
function fillText(text: string, type: string): (valueAt: (index: number) => unknown) => string {
  const parts = templateParts(text)
  // What a client chose must not become markup, or another member of JSON (CWE-79, CWE-116).
  const escapeValue = escapesFor(type, literalsBefore(parts)) ?? ((value: string): string => value)
  return (valueAt) => {
    let values = 0
    return parts
      .map((part, i) => (typeof part === 'string' ? part : escapeValue(String(valueAt(i) ?? ''), values++)))
      .join('')
  }
}

/** Lists the literal text before each value, since the previous one. */
const literalsBefore = (parts: readonly TemplatePart[]): string[] =>
  parts.flatMap((part, i) => {
    const before = parts[i - 1]
    return typeof part === 'string' ? [] : [typeof before === 'string' ? before : '']
  })

/** Returns the errors of the bodies of an error. */
export const bodyFaults = (options: BodyOptions, path: OptionFault['path']): OptionFault[] =>
  Object.entries(options).flatMap(([name, value]) => {
    const at = [...path, name]
    const unknown = textFaults(value, at)
    if (unknown.length > 0) return unknown
    const message = mediaFault(value, typeOf(name))
    return message === undefined ? [] : [{ path: at, message }]
  })

function textFaults(value: unknown, path: OptionFault['path']): OptionFault[] {
  if (Array.isArray(value)) return value.flatMap((item, i) => textFaults(item, [...path, i]))
  if (isObject(value))
    return Object.entries(value).flatMap(([key, inner]) => textFaults(inner, [...path, key]))
  return templateFaults(value, path, ERROR_VALUES)
}

/** Returns why a body is none of its media type; undefined if it may be. */
function mediaFault(value: unknown, type: string): string | undefined {
  if (kindOf(type) !== 'problem+json')
    return typeof value === 'string'
      ? undefined
      : `expected a text for ${type}, got ${Array.isArray(value) ? 'a list' : 'an object'}; only JSON is written from these`
  if (typeof value !== 'string') return undefined
  try {
    JSON.parse(fillText(value, type)(() => 'x'))
    return undefined
  } catch {
    return 'expected JSON, got a text that is none; write an object instead of the text'
  }
}
