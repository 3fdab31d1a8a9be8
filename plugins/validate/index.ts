import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fp, type Hooks, perOptions, type RouteInfo } from '../../src/kit/index.ts'
import { judgeJsonBody } from './body.ts'
import { compileWhenReady, leaseCompiler } from './compilers.ts'
import { RequestErrors } from './errors.ts'
import { documentLookup, judgeParameters } from './openapi.ts'
import type { OperationJudge } from './operation.ts'
import { bundleOf, faults, files, key, options, override, type ValidateOptions, warnings } from './options.ts'
import { pathOf, queryOf, readQuery } from './query-text.ts'
import { leaseFaults, type ResponseFaults } from './response-faults.ts'
import { type OnInvalid, responseStage } from './response-stage.ts'
import { settleUnknown } from './unknown-parameters.ts'
import { partJudges } from './values.ts'

export { comparison } from './compare.ts'
export { describes } from './describe.ts'
export {
  CodingUnsupported,
  MediaUndeclared,
  MethodUndeclared,
  PathUndeclared,
  RequestInvalid
} from './errors.ts'
export { expand } from './operations.ts'
export { planWarnings } from './unreachable.ts'
export { faults, files, key, options, override, type ValidateOptions, warnings }

// When RFC 9745 wants a date and the document has none: it has been deprecated for a while.
const DEPRECATED = '@0'

declare module 'fastify' {
  interface FastifyInstance {
    /** Counts responses that do not match the documents of their routes; null if none is validated. */
    responseFaults: Pick<ResponseFaults, 'families'> | null
  }
}

export const stateless = true

export default fp<ValidateOptions>(
  async function validate(app, root) {
    app.decorate('responseFaults', null)
    compileWhenReady(app)
    const loading: Promise<unknown>[] = []
    app.addHook('onReady', async function loadDocuments() {
      await Promise.all(loading)
    })
    perOptions(
      app,
      key,
      root,
      (options, route) => hooksFor(app, options, route, loading),
      // The paths of a document hang under those of the route.
      ({ openapi, base }, { paths }) =>
        openapi === undefined || base !== undefined ? undefined : paths.join()
    )
  },
  { name: key, fastify: '5.x' }
)

function hooksFor(
  app: FastifyInstance,
  options: ValidateOptions,
  route: RouteInfo,
  loading: Promise<unknown>[]
): Hooks | undefined {
  const { body, unknown, maxBody, openapi, base, response } = options
  const judges = partJudges(app, options)
  const compiler = body === undefined ? undefined : leaseCompiler(app, bundleOf(body))
  const lookUp =
    openapi === undefined
      ? undefined
      : documentLookup(app, { ...options, openapi }, [base ?? route.paths].flat(), loading)
  const isIdle = judges.all.length === 0 && judges.query === undefined
  if (isIdle && compiler === undefined && lookUp === undefined) return undefined
  const operations = new WeakMap<FastifyRequest, OperationJudge>()
  const stage =
    lookUp === undefined || response === undefined || response === false
      ? undefined
      : responseStage(response, (request) => operations.get(request)?.responses, onInvalid(app))
  return {
    // Later phases may change the request, and read what is valid.
    async preValidation(request: FastifyRequest) {
      const errors = new RequestErrors()
      const target = request.raw.url ?? ''
      const operation = lookUp?.(request, pathOf(target))
      if (operation !== undefined) operations.set(request, operation.judge)
      const query = readQuery(queryOf(target), errors)
      for (const judge of judges.all) judge(request, errors)
      if (query !== undefined) {
        const isKnown = (name: string): boolean =>
          judges.query?.names.has(name) === true || operation?.declares(name) === true
        if (unknown.query !== 'keep' && (judges.query !== undefined || operation !== undefined))
          settleUnknown(request, query, { isKnown, drop: unknown.query === 'drop' }, errors)
        const judged = unknown.query === 'keep' ? query : query.only(isKnown)
        judges.query?.judge(judged.values, errors)
        if (operation !== undefined) judgeParameters(request, operation, query.pairs, errors)
      }
      // A request that is refused anyway needs no body.
      if (compiler !== undefined && errors.isEmpty)
        errors.add('body', await judgeJsonBody(request, () => compiler.at(), maxBody))
      if (operation !== undefined && errors.isEmpty)
        errors.add('body', await operation.judge.judgeBody(request, maxBody))
      if (!errors.isEmpty) throw errors.refusal()
    },
    ...(lookUp === undefined
      ? {}
      : {
          onHead(request, _reply, head) {
            if (operations.get(request)?.isDeprecated === true && !head.has('deprecation'))
              head.set('deprecation', DEPRECATED)
          },
          ...(stage === undefined ? {} : { stages: [stage] })
        })
  }
}

/** Makes what counts and logs an invalid response, by the name of the route that it was matched by. */
function onInvalid(app: FastifyInstance): OnInvalid {
  const faults = leaseFaults(app)
  app.responseFaults = faults
  return (request, status, invalid) =>
    faults.add(request, request.routeOptions.config.sallyport?.route?.name ?? '', status, invalid)
}
