import type { FastifyRequest } from 'fastify'
import type { Invalid } from '../../src/lib/body/json-schema/schema-errors.ts'
import { pointerPart } from '../../src/lib/body/json-schema/subschemas.ts'
import type { TextReader } from '../../src/lib/body/json-schema/text-values.ts'
import type { OpenApiDocument } from '../../src/lib/openapi/document.ts'
import {
  type Operation,
  type Parameter,
  parametersOf,
  requestBodyOf
} from '../../src/lib/openapi/operations.ts'
import {
  type RawPair,
  type ReadParameter,
  readHeaderText,
  readPairs,
  readPathText
} from '../../src/lib/openapi/parameter-styles.ts'
import { judgeJson } from './body.ts'
import { declaredQuery, isDeclared } from './declared-query.ts'
import { oneError, type Part, type RequestErrors } from './errors.ts'
import { judgeBody } from './operation-body.ts'
import { ResponseJudge } from './operation-response.ts'
import { type CompiledSchema, compileSchema } from './operation-schema.ts'

/** The texts of the parameters of a request, still encoded. */
export interface RawParameters {
  readonly path: ReadonlyMap<string, string>
  readonly query: readonly RawPair[]
  readonly cookies: readonly RawPair[]
}

/** Judges requests of one operation. */
export interface OperationJudge {
  readonly isDeprecated: boolean
  readonly responses: ResponseJudge
  /** Returns whether the operation declares a query parameter. */
  declares(name: string): boolean
  judgeParameters(request: FastifyRequest, raw: RawParameters, errors: RequestErrors): void
  judgeBody(request: FastifyRequest, maxBody: string): Promise<Invalid | undefined>
}

const PARTS: Readonly<Record<string, Part>> = {
  path: 'params',
  query: 'query',
  header: 'headers',
  cookie: 'cookies'
}

/** Compiles the parameters of an operation now, and its bodies at their first use; throws an Error where a schema is not valid. */
export function compileOperation(document: OpenApiDocument, operation: Operation): OperationJudge {
  const parameters = parametersOf(document, operation)
  const compiled = parameters
    .filter((each) => each.in !== 'querystring')
    .map((parameter) => ({ parameter, schema: compileSchema(document, parameter.schema) }))
  const schemas = new Map(compiled.map(({ parameter, schema }) => [parameter, schema]))
  const declared = declaredQuery(parameters, (parameter) => schemas.get(parameter))
  const body = requestBodyOf(document, operation)
  const bodies = new Map<string, CompiledSchema>()
  return {
    isDeprecated: operation.isDeprecated,
    responses: new ResponseJudge(document, operation),
    declares: (name) => isDeclared(declared, name),
    judgeParameters(request, raw, errors) {
      for (const { parameter, schema } of compiled) {
        const read = readParameter(parameter, schema, request, raw)
        if (read === undefined) continue
        const part = PARTS[parameter.in] ?? 'query'
        const name = `/${pointerPart(parameter.name)}`
        errors.add(part, 'value' in read ? schema.validate(read.value) : faultOf(read.fault, parameter), name)
      }
    },
    async judgeBody(request, maxBody) {
      if (body === undefined) return undefined
      return judgeBody(request, body, maxBody, (type) => {
        const known = bodies.get(type)
        if (known !== undefined) return known
        const media = body.content.get(type)
        const made = compileSchema(document, media && { value: media.node['schema'], uri: media.uri })
        bodies.set(type, made)
        return made
      })
    }
  }
}

/** Reads a parameter; undefined where nothing is to be judged. */
function readParameter(
  parameter: Parameter,
  { reader, properties }: CompiledSchema,
  { raw: { rawHeaders } }: FastifyRequest,
  raw: RawParameters
): ReadParameter | undefined {
  const own = parameter.isJson ? JSON_READER : reader
  const read = (): ReadParameter => {
    if (parameter.in === 'path') {
      const text = raw.path.get(parameter.name)
      return text === undefined ? { fault: 'missing' } : readPathText(parameter, own, text)
    }
    if (parameter.in === 'header') {
      const [text, ...others] = headerTexts(rawHeaders, parameter.name)
      if (text === undefined) return { fault: 'missing' }
      // A list is one field or several (RFC 9110 section 5.3); of anything else, some servers take the first.
      if (others.length > 0 && !own.isList) return { fault: 'repeated' }
      return readHeaderText(parameter, own, [text, ...others].join())
    }
    return readPairs(parameter, own, parameter.in === 'cookie' ? raw.cookies : raw.query, properties)
  }
  const result = read()
  if ('fault' in result) return result.fault === 'missing' && !parameter.isRequired ? undefined : result
  if (parameter.allowsEmpty && result.value === '') return undefined
  return parameter.isJson ? readJson(String(result.value)) : result
}

const headerTexts = (rawHeaders: readonly string[], name: string): string[] =>
  rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name)

// The text of a parameter with `content` is one document.
const JSON_READER: TextReader = {
  isList: false,
  isObject: false,
  scalar: (text) => text,
  item: (text) => text,
  property: (_name, text) => text,
  isListProperty: () => false,
  propertyItem: (_name, text) => text
}

function readJson(text: string): ReadParameter {
  const read: { value?: unknown } = {}
  const keep = (value: unknown): undefined => {
    read.value = value
  }
  const found = judgeJson(Buffer.from(text), Object.assign(keep, { first: keep }))
  return found === undefined ? { value: read.value } : { fault: 'malformed' }
}

function faultOf(fault: 'missing' | 'repeated' | 'malformed', { style }: Parameter): Invalid {
  if (fault === 'missing') return oneError('required', 'must be sent')
  return fault === 'repeated'
    ? oneError('repeated', 'must be sent once')
    : oneError('style', `must be written in the style "${style}"`)
}
