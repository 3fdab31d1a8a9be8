import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fp, type Hooks, perOptions } from '../../src/kit/index.ts'
import { pointerPart } from '../../src/lib/body/json-schema/subschemas.ts'
import { judgeJsonBody } from './body.ts'
import { compileWhenReady, leaseCompiler } from './compilers.ts'
import { oneError, RequestErrors } from './errors.ts'
import { bundleOf, faults, key, options, override, type ValidateOptions, warnings } from './options.ts'
import { keepNamed, queryOf, readQuery } from './query-text.ts'
import { type PartJudge, partJudge } from './values.ts'

export { CodingUnsupported, MediaUndeclared, RequestInvalid } from './errors.ts'
export { faults, key, options, override, type ValidateOptions, warnings }

/** Judges a part of a request. */
type Judge = (request: FastifyRequest, errors: RequestErrors) => void

export default fp<ValidateOptions>(
  async function validate(app, root) {
    compileWhenReady(app)
    perOptions(app, key, root, (options) => hooksFor(app, options))
  },
  { name: key, fastify: '5.x' }
)

function hooksFor(app: FastifyInstance, options: ValidateOptions): Hooks | undefined {
  const { params, query, headers, body, unknown, maxBody } = options
  const judges: Judge[] = []
  if (params !== undefined) judges.push(paramsJudge(partJudge(app, 'params', params)))
  if (query !== undefined) judges.push(queryJudge(partJudge(app, 'query', query), unknown.query))
  if (headers !== undefined) judges.push(headersJudge(partJudge(app, 'headers', lowerCased(headers))))
  const compiler = body === undefined ? undefined : leaseCompiler(app, bundleOf(body))
  if (judges.length === 0 && compiler === undefined) return undefined
  return {
    // Later phases may change the request, and read what is valid.
    async preValidation(request: FastifyRequest) {
      const errors = new RequestErrors()
      for (const judge of judges) judge(request, errors)
      // A request that is refused anyway needs no body.
      if (compiler !== undefined && errors.isEmpty)
        errors.add('body', await judgeJsonBody(request, () => compiler.at(), maxBody))
      if (!errors.isEmpty) throw errors.refusal()
    }
  }
}

const paramsJudge =
  ({ judge }: PartJudge): Judge =>
  (request, errors) =>
    judge(
      Object.entries(request.params as Record<string, string>).map(([name, text]) => [name, [text]]),
      errors
    )

function queryJudge({ names, judge }: PartJudge, unknown: ValidateOptions['unknown']['query']): Judge {
  return (request, errors) => {
    const values = readQuery(queryOf(request.raw.url ?? ''))
    if (values === undefined) {
      errors.add('query', oneError('encoding', 'must be percent-encoded UTF-8'))
      return
    }
    if (unknown === 'keep') {
      judge(values, errors)
      return
    }
    const others = [...values.keys()].filter((name) => !names.has(name))
    if (others.length > 0 && unknown === 'drop') dropOthers(request, names)
    if (unknown === 'reject')
      for (const name of others)
        errors.add('query', oneError('unknown', 'must not be sent', `#/${pointerPart(name.slice(0, 64))}`))
    judge(
      [...values].filter(([name]) => names.has(name)),
      errors
    )
  }
}

/** Removes what no schema names from the query that goes to the upstream. */
function dropOthers(request: FastifyRequest, names: ReadonlySet<string>): void {
  const change = request.changeQuery
  request.changeQuery = (query) => {
    const kept = keepNamed(query, names)
    return change === null ? kept : change(kept)
  }
}

/** Names of headers are the same in any case (RFC 9110 section 5.1); Node.js has them in lower case. */
function lowerCased(schema: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { properties, required } = schema
  return {
    ...schema,
    ...(typeof properties === 'object' && properties !== null
      ? {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, each]) => [name.toLowerCase(), each as unknown])
          )
        }
      : {}),
    ...(Array.isArray(required) ? { required: required.map((name) => String(name).toLowerCase()) } : {})
  }
}

function headersJudge({ names, judge }: PartJudge): Judge {
  return ({ raw }, errors) => {
    const values = new Map<string, string[]>()
    for (let i = 0; i < raw.rawHeaders.length; i += 2) {
      const name = raw.rawHeaders[i]?.toLowerCase() ?? ''
      if (!names.has(name)) continue
      const value = raw.rawHeaders[i + 1] ?? ''
      const known = values.get(name)
      if (known === undefined) values.set(name, [value])
      else known.push(value)
    }
    judge(values, errors)
  }
}
