import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyInstance } from 'fastify'
import { createError } from '../kit/index.ts'
import { type Refusal, withHeaders } from '../lib/refusals.ts'

/** The Host header is not a name of this listener: a foreign page in a browser could read its responses otherwise (DNS rebinding). */
export const AdminHost = createError<[string]>(
  'SP_ERR_ADMIN_HOST',
  'Forbidden: the Host "%s" is not allowed; use an IP address, "localhost" or the value of ADMIN_HOST',
  403
)
/** The request lacks the bearer token, or has another one. */
export const AdminToken = createError(
  'SP_ERR_ADMIN_TOKEN',
  'Authentication required: send ADMIN_TOKEN as Authorization: Bearer …',
  401
)
/** Actions need a token, and the gateway has none. */
export const AdminReadOnly = createError(
  'SP_ERR_ADMIN_READ_ONLY',
  'Forbidden: actions need a token; set ADMIN_TOKEN in the environment of the gateway',
  403
)
/** The page that sends an action is not one of this listener. */
export const AdminOrigin = createError(
  'SP_ERR_ADMIN_ORIGIN',
  'Forbidden: the request comes from a page of another origin',
  403
)
/** The admin listener has no such path. */
export const AdminPath = createError(
  'SP_ERR_ADMIN_PATH',
  'Not found: the admin listener has /metrics, /status, /config, /options, /limits, /reloads, /explain, and POST /explain, /purge, /drain, /undrain, /reload and /log-level',
  404
)
/** A request to purge is not what it should be. */
export const PurgeInvalid = createError<[string]>('SP_ERR_ADMIN_PURGE', 'Invalid purge: %s', 400)
/** There is nothing to purge. */
export const AdminCache = createError('SP_ERR_ADMIN_CACHE', 'Not found: no route has a "cache"', 404)
/** The body of an action is not what it should be. */
export const ActionInvalid = createError<[string]>('SP_ERR_ADMIN_ACTION', 'Invalid action: %s', 400)
/** No upstream or no target has the name in an action. */
export const AdminTarget = createError<[string, string]>(
  'SP_ERR_ADMIN_TARGET',
  'Not found: no %s is called "%s"; /status lists them',
  404
)
/** No route has the name whose options are asked for. */
export const AdminRoute = createError<[string]>(
  'SP_ERR_ADMIN_ROUTE',
  'Not found: no route of the config is called "%s"; /status lists them',
  404
)
/** No explained request has this id, or it is too old. */
export const AdminTrace = createError<[string]>(
  'SP_ERR_ADMIN_TRACE',
  'Not found: no explained request has the id "%s"; /explain lists the latest',
  404
)
/** The config has errors, so the current one stays. */
export const ReloadRefused = createError<[string]>(
  'SP_ERR_ADMIN_RELOAD',
  'Reload refused, keeping the current config: %s',
  422
)
/** No process of the gateway has responded in time. */
export const AdminSilent = createError(
  'SP_ERR_ADMIN_SILENT',
  'Service unavailable: no process of the gateway is responding',
  503
)

/** Too many requests to explain wait for each other. */
export const AdminBusy = createError(
  'SP_ERR_ADMIN_BUSY',
  'Service unavailable: too many requests are being explained',
  503
)

/** Makes the error where too many requests wait. */
export const adminBusy = (): Refusal => withHeaders(new AdminBusy(), { 'retry-after': '1' })

/** Makes the error where no process responds. */
export const adminSilent = (): Refusal => withHeaders(new AdminSilent(), { 'retry-after': '1' })

/** Sends all errors of the listener as problem documents (RFC 9457). */
export function sendProblems(app: FastifyInstance): void {
  app.setErrorHandler(function answerAdmin(error: FastifyError & Refusal, request, reply) {
    const status = error.statusCode ?? 500
    const known = error.code?.startsWith('SP_ERR_') === true
    return reply
      .code(status)
      .headers({ ...error.headers })
      .type('application/problem+json')
      .send({
        type: 'about:blank',
        title: STATUS_CODES[status] ?? 'Error',
        status,
        code: known ? error.code : status < 500 ? 'SP_ERR_REQUEST_REFUSED' : 'SP_ERR_INTERNAL',
        ...(known ? { detail: error.message } : {}),
        requestId: request.id,
        ...error.members
      })
  })
  app.setNotFoundHandler(async () => {
    throw new AdminPath()
  })
}
