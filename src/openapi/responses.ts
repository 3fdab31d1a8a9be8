import { STATUS_CODES } from 'node:http'
import type { DescribedHeaders, DescribedRefusal, DescribedResponse, Description } from '../kit/describe.ts'
import type { Components } from './components.ts'
import { canGet, type ErrorContentOf } from './describe-route.ts'

const PROBLEM = {
  type: 'object',
  description: 'An error of the gateway (RFC 9457).',
  required: ['type', 'title', 'status', 'code', 'detail'],
  properties: {
    type: { type: 'string', format: 'uri-reference' },
    title: { type: 'string' },
    status: { type: 'integer', minimum: 300, maximum: 599 },
    code: { type: 'string', description: 'The cause, in a form that does not change.' },
    detail: { type: 'string', description: 'The cause, for people.' },
    requestId: { type: 'string', description: 'The id of the request in the log.' }
  }
}

/** Adds the schema of the errors, and returns a reference to it. */
export const addProblem = (components: Components): { readonly $ref: string } =>
  components.schemas.refer('Problem', PROBLEM)

/** What the responses of an operation are made from. */
interface ResponseParts {
  readonly method: string
  readonly descriptions: readonly Description[]
  readonly errorContent: ErrorContentOf
}

/** Makes the responses of an operation: those of the target, and the errors of the gates that the method can get. */
export function responsesOf(
  { descriptions, errorContent, method }: ResponseParts,
  components: Components
): Record<string, unknown> {
  const everywhere = headersOf(
    mergeAll(descriptions.map(({ responseHeaders }) => responseHeaders)),
    components
  )
  const responses: Record<string, unknown> = {}
  const refusals = Map.groupBy(
    descriptions.flatMap(({ refusals = [] }) => refusals).filter((refusal) => canGet(refusal, method)),
    ({ status }) => String(status)
  )
  const ofTarget = mergeAll(descriptions.map(({ responses }) => responses))
  for (const status of new Set([...Object.keys(ofTarget), ...refusals.keys()])) {
    const own = ofTarget[status]
    const refused = refusals.get(status)
    const error = refused === undefined ? undefined : errorResponse(refused, errorContent, components)
    if (own === undefined) responses[status] = error?.reference
    else responses[status] = responseOf(own, { everywhere, error: error?.value }, components)
  }
  if (Object.keys(responses).length === 0) responses['default'] = { description: 'The response.' }
  return sortedByStatus(responses)
}

interface ResponseObject {
  readonly description: string
  readonly headers?: object
  readonly content?: object
}

function responseOf(
  { description, headers, content = {} }: DescribedResponse,
  { everywhere, error }: { readonly everywhere: object; readonly error: ResponseObject | undefined },
  components: Components
): ResponseObject {
  const all = { ...everywhere, ...headersOf(headers ?? {}, components), ...error?.headers }
  const media = {
    ...Object.fromEntries(
      Object.entries(content).map(([type, schema]) => [
        type,
        { schema: components.placeSchema('Response', schema) }
      ])
    ),
    ...error?.content
  }
  return {
    description: error === undefined ? description : `${description} Or ${error.description}`,
    ...(Object.keys(all).length === 0 ? {} : { headers: all }),
    ...(Object.keys(media).length === 0 ? {} : { content: media })
  }
}

/** Makes the response of the errors with one status a component, which many operations share. */
function errorResponse(
  refusals: readonly DescribedRefusal[],
  errorContent: ErrorContentOf,
  components: Components
): { readonly reference: object; readonly value: ResponseObject } {
  const status = refusals[0]?.status ?? 500
  const codes = [...new Set(refusals.map(({ code }) => code))]
  const headers = headersOf(mergeAll(refusals.map((refusal) => refusal.headers)), components)
  const value = {
    description: `${STATUS_CODES[status] ?? 'Error'}: ${codes.map((code) => `\`${code}\``).join(', ')}`,
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
    content: errorBodies(refusals, errorContent, components)
  }
  // Named for what it is, so that a change of one route does not rename those of others.
  const name = [status, ...codes.map((code) => code.replace(/^SP_ERR_/, ''))].join('-')
  return { reference: components.responses.refer(name, value), value }
}

/** Makes the content of the errors with one status: each media type with the schemas that its errors have. */
function errorBodies(
  refusals: readonly DescribedRefusal[],
  errorContent: ErrorContentOf,
  components: Components
): Record<string, unknown> {
  const bodies = refusals.flatMap((refusal) =>
    Object.entries(errorContent(refusal)).map(([type, schema]) => ({ type, schema, refusal }))
  )
  return Object.fromEntries(
    [...Map.groupBy(bodies, ({ type }) => type)].map(([type, all]) => {
      const own = all.flatMap(({ schema }) => (schema === 'problem' ? [] : [schema]))
      const problems = all.filter(({ schema }) => schema === 'problem').map(({ refusal }) => refusal)
      const schemas = [
        ...(problems.length === 0 ? [] : [problemSchema(problems, components)]),
        ...new Map(own.map((schema) => [JSON.stringify(schema), schema])).values()
      ]
      return [type, { schema: schemas.length === 1 ? schemas[0] : { anyOf: schemas } }]
    })
  )
}

function problemSchema(refusals: readonly DescribedRefusal[], components: Components): object {
  const problem = addProblem(components)
  const members = mergeAll(refusals.map((refusal) => refusal.members))
  return Object.keys(members).length === 0
    ? problem
    : { allOf: [problem, { type: 'object', properties: members }] }
}

const headersOf = (headers: DescribedHeaders, components: Components): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, { description, schema = { type: 'string' } }]) => [
      name,
      components.headers.refer(name, { description, schema })
    ])
  )

function mergeAll<T>(parts: readonly (Readonly<Record<string, T>> | undefined)[]): Record<string, T> {
  return Object.assign({}, ...parts) as Record<string, T>
}

// An object has its integer keys in order, and "default" after them.
const sortedByStatus = (responses: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(responses).toSorted(([a], [b]) => (a < b ? -1 : 1)))
