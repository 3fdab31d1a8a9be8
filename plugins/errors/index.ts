import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyRequest } from 'fastify'
import { eachRoute, fp, type RouteInfo } from '../../src/kit/index.ts'
import { concernOfCode } from '../../src/lib/http/response-end.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { type NewRefusal, RecentRefusals } from '../../src/lib/recent-refusals.ts'
import {
  BodyTooLarge,
  DeadlineExceeded,
  Internal,
  Malformed,
  MediaUnknown,
  type Refusal,
  Refused
} from '../../src/lib/refusals.ts'
import { describesError } from './describe.ts'
import { compileFormat, type ErrorFormat } from './format.ts'
import { comparison, type ErrorsOptions, faults, options, override } from './options.ts'
import { parserErrorHandler } from './parser-errors.ts'
import { sendRefusal } from './send.ts'

export const key = 'errors'

export type { ErrorsOptions }
export { comparison, describesError, faults, options, override }
export const always = true
export const stateless = true

// Other errors of Fastify keep their status and get the code SP_ERR_REQUEST_REFUSED.
const FASTIFY_ERRORS: Readonly<Record<string, new () => FastifyError>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: BodyTooLarge,
  FST_ERR_CTP_INVALID_MEDIA_TYPE: MediaUnknown,
  FST_ERR_CTP_EMPTY_JSON_BODY: Malformed,
  FST_ERR_CTP_INVALID_JSON_BODY: Malformed,
  FST_ERR_HANDLER_TIMEOUT: DeadlineExceeded
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The latest refusals of the process. */
    recentRefusals: RecentRefusals
  }
}

export default fp<ErrorsOptions>(
  async function errors(app, root) {
    const formats = new WeakMap<object, ErrorFormat>()
    const compiled = new WeakMap<ErrorsOptions, ErrorFormat>()
    const formatOf = (options: ErrorsOptions): ErrorFormat =>
      getOrCreate(compiled, options, () => compileFormat(options))
    const fallback = formatOf(root)
    eachRoute(app, key, root, (options, route) => {
      formats.set(route, formatOf(options))
    })
    const recent = app.resources.lease(app, 'recent refusals', () => new RecentRefusals())
    app.decorate('recentRefusals', recent)
    app.setErrorHandler(function answerError(error: Refusal, request, reply) {
      const refusal = translate(error)
      request.refusal = refusal
      if ((refusal.statusCode ?? 500) >= 500 && refusal.code === 'SP_ERR_INTERNAL')
        request.log.error({ err: error, requestId: request.id }, 'request failed')
      const route = request.routeOptions.config.sallyport?.route
      recent.record(toRecord(refusal, request, route))
      sendRefusal(refusal, request, reply, (route === undefined ? undefined : formats.get(route)) ?? fallback)
    })
    app.server.removeAllListeners('clientError')
    app.server.on('clientError', parserErrorHandler(app.log, fallback))
  },
  { name: key, fastify: '5.x' }
)

const toRecord = (
  { code, statusCode = 500, message }: Refusal,
  { method, id, protocol, headers: { host = '' }, url }: FastifyRequest,
  route: RouteInfo | undefined
): NewRefusal => ({
  code,
  status: statusCode,
  gate: concernOfCode(code, route?.gates ?? []) ?? 'gateway',
  route: route?.name ?? '',
  routeId: route?.id ?? '',
  method,
  url: `${protocol}://${host}${url.split('?', 1)[0] ?? ''}`,
  reason: message,
  requestId: id
})

function translate(error: Refusal): Refusal {
  if (error.code?.startsWith('SP_ERR_') === true) return error
  const known = FASTIFY_ERRORS[error.code ?? '']
  if (known !== undefined) return new known()
  const status = error.statusCode ?? 500
  if (error instanceof SyntaxError && status === 400) return new Malformed()
  if (status < 400 || status >= 500) return new Internal()
  const refused: Refusal = new Refused(STATUS_CODES[status] ?? 'The request was refused')
  refused.statusCode = status
  return refused
}
