import { createHash, timingSafeEqual } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import helmet from '@fastify/helmet'
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify'
import { createError } from '../kit/index.ts'
import type { MetricFamily } from '../lib/contracts/metrics.ts'
import { type Refusal, withHeaders } from '../lib/refusals.ts'
import type { AdminSource } from './report.ts'
import { statusOf } from './status.ts'

/** Where those who run the gateway look into it. */
export interface AdminOptions {
  readonly host: string
  readonly port: number
  /** A socket that is open already, by file descriptor. */
  readonly fd?: number | undefined
  /** What they have to bring; undefined for nothing. */
  readonly token: string | undefined
  readonly version: string
}

/** The admin listener. */
export interface Admin {
  readonly address: AddressInfo
  close(): Promise<void>
}

/** A page of somebody else that a browser shows could read what this listener says (DNS rebinding). */
export const AdminHost = createError<[string]>(
  'SP_ERR_ADMIN_HOST',
  'The admin listener is not known as "%s"; an address, "localhost" or what ADMIN_HOST says would do',
  403
)
/** The listener wants a token, and the request has none or another. */
export const AdminToken = createError(
  'SP_ERR_ADMIN_TOKEN',
  'The admin listener wants its token: Authorization: Bearer …',
  401
)
/** Nothing is told at this path. */
export const AdminPath = createError(
  'SP_ERR_ADMIN_PATH',
  'Nothing is told here; /metrics, /status and /config are there',
  404
)
/** No process of the gateway has answered. */
export const AdminSilent = createError('SP_ERR_ADMIN_SILENT', 'No process of the gateway answers now', 503)

// Who looks into a gateway does so in one go.
const TIMEOUT = 10_000

/** Opens the admin listener: /metrics, /status and /config, for those who run the gateway; rejects where the port is taken. */
export async function openAdmin(insight: AdminSource, options: AdminOptions): Promise<Admin> {
  const app = fastify({ requestTimeout: TIMEOUT, connectionTimeout: TIMEOUT, forceCloseConnections: true })
  // The listener speaks plain HTTP: nothing is to be upgraded.
  await app.register(helmet, {
    hsts: false,
    contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': null } }
  })
  guard(app, options)
  app.get('/', (_request, reply) => reply.send('/metrics\n/status\n/config\n'))
  app.get('/metrics', (_request, reply) => sendMetrics(insight, reply))
  app.get('/status', async () => {
    const status = statusOf(await insight.reports(), options.version)
    if (status === undefined) throw withHeaders(new AdminSilent(), { 'retry-after': '1' })
    return status
  })
  app.get('/config', async () => insight.config())
  app.setNotFoundHandler(async () => {
    throw new AdminPath()
  })
  const { host, port, fd } = options
  await app.listen(fd === undefined ? { host, port } : ({ fd } as never))
  return { address: app.server.address() as AddressInfo, close: () => app.close() }
}

/** Refuses who comes by a name that is not this listener's, or without the token. */
function guard(app: FastifyInstance, { host, token }: AdminOptions): void {
  const wanted = token === undefined ? undefined : digest(`Bearer ${token}`)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const { authorization = '', host: said = '' } = request.headers
    if (wanted !== undefined) {
      if (!timingSafeEqual(digest(authorization), wanted))
        throw withHeaders(new AdminToken(), { 'www-authenticate': 'Bearer' })
      // A page that was rebound to this address has no token.
    } else if (!isOurs(said, host)) throw new AdminHost(said)
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
        code: known ? error.code : 'SP_ERR_INTERNAL',
        ...(known ? { detail: error.message } : {}),
        requestId: request.id
      })
  })
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Tells whether a Host header names this listener: by an address, which no name server can rebind, or by a name of its own. */
function isOurs(said: string, host: string): boolean {
  const name = said.replace(/:\d+$/, '').toLowerCase()
  return name === 'localhost' || name === host.toLowerCase() || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0
}

async function sendMetrics(insight: AdminSource, reply: FastifyReply): Promise<FastifyReply> {
  const { AggregatorRegistry } = await import('prom-client')
  const each = (await insight.metrics()).map((families) => families.map(summed))
  const registry = AggregatorRegistry.aggregate(each)
  return reply.type(registry.contentType).send(await registry.metrics())
}

// What one process says alone is added up, too: to itself.
const summed = (family: MetricFamily): object => ({ ...family, aggregator: family.aggregator ?? 'sum' })
