import { createHash, timingSafeEqual } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import helmet from '@fastify/helmet'
import fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import { createError } from '../kit/index.ts'
import { storeUnavailable } from '../lib/contracts/store.ts'
import { type Refusal, withHeaders } from '../lib/refusals.ts'
import { formatMetrics } from './metrics-format.ts'
import type { AdminSource } from './report.ts'
import { combineReports } from './status.ts'

/** Where the admin listener opens, and who may use it. */
export interface AdminOptions {
  readonly host: string
  readonly port: number
  /** A listening socket that is open already, by file descriptor, instead of `host` and `port`. */
  readonly fd?: number | undefined
  /** The bearer token that requests need; undefined for none. */
  readonly token: string | undefined
  /** A bearer token that may only purge; undefined for none. */
  readonly purgeToken?: string | undefined
  readonly version: string
}

/** The admin listener. */
export interface Admin {
  readonly address: AddressInfo
  close(): Promise<void>
}

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
/** The admin listener has no such path. */
export const AdminPath = createError(
  'SP_ERR_ADMIN_PATH',
  'Not found: the admin listener has /metrics, /status, /config and POST /purge',
  404
)
/** A request to purge is not what it should be. */
export const PurgeInvalid = createError<[string]>('SP_ERR_ADMIN_PURGE', 'Invalid purge: %s', 400)
/** There is nothing to purge. */
export const AdminCache = createError('SP_ERR_ADMIN_CACHE', 'Not found: no route has a "cache"', 404)
/** No process of the gateway has responded in time. */
export const AdminSilent = createError(
  'SP_ERR_ADMIN_SILENT',
  'Service unavailable: no process of the gateway is responding',
  503
)

const TIMEOUT_MS = 10_000

const PURGE = '/purge'

/** Opens the admin listener with /metrics, /status, /config and /purge; rejects where the port is in use. */
export async function openAdmin(source: AdminSource, options: AdminOptions): Promise<Admin> {
  const app = fastify({
    requestTimeout: TIMEOUT_MS,
    connectionTimeout: TIMEOUT_MS,
    forceCloseConnections: true
  })
  // The listener has no TLS: browsers must not upgrade requests to https.
  await app.register(helmet, {
    hsts: false,
    contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': null } }
  })
  guard(app, options)
  app.get('/', (_request, reply) => reply.send('/metrics\n/status\n/config\nPOST /purge\n'))
  app.get('/metrics', async ({ headers }, reply) => {
    const { type, text } = await formatMetrics(await source.metrics(), headers.accept)
    return reply.headers({ vary: 'accept' }).type(type).send(text)
  })
  app.get('/status', async () => {
    const status = combineReports(await source.reports(), options.version)
    if (status === undefined) throw withHeaders(new AdminSilent(), { 'retry-after': '1' })
    return status
  })
  app.get('/config', async () => source.config())
  // A page of another origin can send text, but no JSON.
  app.removeContentTypeParser('text/plain')
  app.post(PURGE, async ({ body }) => {
    const done = await source.purge(body)
    if ('purged' in done) return done
    if ('invalid' in done) throw new PurgeInvalid(done.invalid)
    if (done.failed === 'no cache') throw new AdminCache()
    throw done.failed === 'store'
      ? storeUnavailable()
      : withHeaders(new AdminSilent(), { 'retry-after': '1' })
  })
  app.setNotFoundHandler(async () => {
    throw new AdminPath()
  })
  const { host, port, fd } = options
  await app.listen(fd === undefined ? { host, port } : ({ fd } as never))
  return { address: app.server.address() as AddressInfo, close: () => app.close() }
}

/** Rejects requests without the token, or with an unknown Host where there is no token. */
function guard(app: FastifyInstance, { host, token, purgeToken }: AdminOptions): void {
  const everywhere = [token].flatMap(bearerDigest)
  const forPurges = [token, purgeToken].flatMap(bearerDigest)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { authorization = '', host: hostHeader = '' } = request.headers
    const expected = request.routeOptions.url === PURGE ? forPurges : everywhere
    if (expected.length > 0) {
      const given = digest(authorization)
      if (!expected.map((each) => timingSafeEqual(given, each)).includes(true))
        throw withHeaders(new AdminToken(), { 'www-authenticate': 'Bearer' })
      // A page that reaches this address by DNS rebinding does not have the token.
    } else if (!isOwnHost(hostHeader, host)) throw new AdminHost(hostHeader)
  })
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
        requestId: request.id
      })
  })
}

const bearerDigest = (token: string | undefined): Buffer[] =>
  token === undefined ? [] : [digest(`Bearer ${token}`)]

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Returns whether a Host header names this listener: by an IP address, which DNS can't rebind, or by its own name. */
function isOwnHost(hostHeader: string, host: string): boolean {
  const name = hostHeader.replace(/:\d+$/, '').toLowerCase()
  return name === 'localhost' || name === host.toLowerCase() || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0
}
