import type { FastifyInstance, FastifyRequest } from 'fastify'
import { mapSubschemas, pointerPart } from '../../src/lib/body/json-schema/subschemas.ts'
import {
  declaredProperties,
  namedProperties,
  type TextReader,
  textReader
} from '../../src/lib/body/json-schema/text-values.ts'
import { cgiName, isAmbiguousName, keepsUnderscores } from '../../src/lib/http/headers.ts'
import { nominatedBy } from '../../src/lib/http/hop-by-hop.ts'
import { define, isObject } from '../../src/lib/schema.ts'
import { leaseCompiler } from './compilers.ts'
import { oneError, type Part, type RequestErrors } from './errors.ts'
import { bundleOf, type ValidateOptions } from './options.ts'

/** Judges the texts of one part of a request by the schema of an object. */
export interface PartJudge {
  /** The names that it reads. */
  readonly names: ReadonlySet<string>
  judge(values: Iterable<readonly [name: string, texts: readonly string[]]>, errors: RequestErrors): void
}

/** Makes the judge of a part. */
function partJudge(app: FastifyInstance, part: Part, schema: object): PartJudge {
  const bundle = bundleOf(schema)
  const compiler = leaseCompiler(app, bundle)
  const readers = new Map<string, TextReader>()
  const root = bundle.documents.get(bundle.uri)
  for (const [name, each] of declaredProperties(root, bundle)) readers.set(name, textReader(each, bundle))
  return {
    // Unknown parameters of the query may be refused, and headers that the schema only requires are read, too.
    names: part === 'headers' ? namedProperties(root, bundle) : new Set(readers.keys()),
    judge(values, errors) {
      const read: Record<string, unknown> = {}
      for (const [name, texts] of values) {
        const reader = readers.get(name)
        // A list of a header is one field or several (RFC 9110 section 5.6.1).
        const each = part === 'headers' && reader?.isList === true ? texts.flatMap(listItems) : texts
        const value = readTexts(reader, each)
        if (value === REPEATED)
          errors.add(part, oneError('repeated', 'must be sent once', `#/${pointerPart(name)}`))
        else define(read, name, value)
      }
      errors.add(part, compiler.at()(read))
    }
  }
}

const REPEATED = Symbol('repeated')

/** Reads the texts of a parameter; without a schema, one is a text and several are a list. */
function readTexts(reader: TextReader | undefined, texts: readonly string[]): unknown {
  if (reader === undefined) return texts.length === 1 ? texts[0] : texts
  if (reader.isList) return texts.map((text) => reader.item(text))
  // Some servers take the first and others the last.
  return texts.length === 1 ? reader.scalar(texts[0] ?? '') : REPEATED
}

const listItems = (field: string): string[] => field.split(',').map((item) => item.trim())

/** Judges a part of a request. */
export type Judge = (request: FastifyRequest, errors: RequestErrors) => void

/** Makes the judges of the path's parameters and of the headers, and that of the query, which needs more. */
export function partJudges(
  app: FastifyInstance,
  { params, query, headers }: ValidateOptions
): { readonly all: readonly Judge[]; readonly query: PartJudge | undefined } {
  const all: Judge[] = []
  if (params !== undefined) {
    const { judge } = partJudge(app, 'params', params)
    all.push((request, errors) => judge(paramTexts(request), errors))
  }
  if (headers !== undefined) {
    const { judge, names } = partJudge(app, 'headers', lowerCased(headers))
    all.push((request, errors) => judge(headerTexts(request, names), errors))
  }
  return { all, query: query === undefined ? undefined : partJudge(app, 'query', query) }
}

const paramTexts = ({ params }: FastifyRequest): [string, string[]][] =>
  Object.entries(params as Record<string, string>).map(([name, text]) => [name, [text]])

/** Collects the values of some headers as they came, so that a repeated one is seen, also one that some servers take for another spelling. */
function headerTexts(
  { raw: { headers, rawHeaders }, routeOptions }: FastifyRequest,
  names: ReadonlySet<string>
): Map<string, string[]> {
  const texts = new Map<string, string[]>()
  // The upstream does not get these.
  const nominated = nominatedBy(headers.connection)
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const spelled = rawHeaders[i]?.toLowerCase() ?? ''
    const name = names.has(spelled) ? spelled : cgiName(spelled)
    // The upstream does not get these, either.
    if (isAmbiguousName(spelled, name) && !keepsUnderscores(routeOptions.config.sallyport?.route?.options))
      continue
    if (!names.has(name) || nominated?.includes(spelled) === true) continue
    const known = texts.get(name)
    if (known === undefined) texts.set(name, [rawHeaders[i + 1] ?? ''])
    else known.push(rawHeaders[i + 1] ?? '')
  }
  return texts
}

/** Writes the names of headers in lower case, since they are the same in any case (RFC 9110 section 5.1). */
export function lowerCased(schema: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const copy = mapSubschemas(schema, (inner) => (isObject(inner) ? lowerCased(inner) : inner))
  for (const keyword of ['properties', 'dependentSchemas', 'dependentRequired'])
    if (isObject(copy[keyword])) copy[keyword] = withLowerKeys(copy[keyword])
  if (Array.isArray(copy['required'])) copy['required'] = copy['required'].map(lower)
  return copy
}

const withLowerKeys = (names: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(names).map(([name, each]) => [
      name.toLowerCase(),
      Array.isArray(each) ? each.map(lower) : each
    ])
  )

const lower = (name: unknown): string => String(name).toLowerCase()
