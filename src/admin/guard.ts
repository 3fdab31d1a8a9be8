import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { withHeaders } from '../lib/refusals.ts'
import { AdminHost, AdminOrigin, AdminReadOnly, AdminToken } from './errors.ts'

/** Who may use a route of the admin listener. */
export interface AdminAccess {
  /** `page`: everybody, since it has no data. `action`: only with ADMIN_TOKEN, even on the loopback interface. `purge`: also with ADMIN_PURGE_TOKEN. Without a value: with ADMIN_TOKEN where there is one. */
  readonly access?: 'page' | 'action' | 'purge'
}

/** The tokens of the admin listener, and its own name. */
interface GuardOptions {
  readonly host: string
  readonly token: string | undefined
  readonly purgeToken?: string | undefined
}

/** Rejects requests without the token, with an unknown Host where there is no token, and actions from pages of other origins. */
export function guard(app: FastifyInstance, { host, token, purgeToken }: GuardOptions): void {
  const everywhere = [token].flatMap(bearerDigest)
  const forPurges = [token, purgeToken].flatMap(bearerDigest)
  app.addHook('onRequest', async function restrictAccess(request, reply) {
    reply.header('cache-control', 'no-store')
    const { authorization = '' } = request.headers
    const { access } = request.routeOptions.config as AdminAccess
    const expected = access === 'purge' ? forPurges : everywhere
    if (expected.length === 0) {
      // With a token, a page that reaches this address by DNS rebinding does not have it.
      const foreign = hostsOf(request).find((each) => !isOwnHost(each, host))
      if (foreign !== undefined) throw new AdminHost(foreign)
    } else if (access !== 'page') {
      const given = digest(authorization)
      if (!expected.map((each) => timingSafeEqual(given, each)).includes(true))
        throw withHeaders(new AdminToken(), { 'www-authenticate': 'Bearer' })
    }
    if (access === 'action' && token === undefined) throw new AdminReadOnly()
    if (request.method === 'POST' && !isSameOrigin(request)) throw new AdminOrigin()
  })
}

const bearerDigest = (token: string | undefined): Buffer[] =>
  token === undefined ? [] : [digest(`Bearer ${token}`)]

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Lists the hosts that a request names: those of its Host headers, and that of a URL as a client sends it to a proxy. */
function hostsOf({ raw: { rawHeaders, url = '' } }: FastifyRequest): string[] {
  const sent = rawHeaders.filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === 'host')
  const inUrl = URL.parse(url)?.host
  return [...(sent.length === 0 ? [''] : sent), ...(inUrl === undefined ? [] : [inUrl])]
}

/** Returns whether a Host header names this listener: by an IP address, which DNS can't rebind, or by its own name. */
function isOwnHost(hostHeader: string, host: string): boolean {
  const name = hostHeader.replace(/:\d+$/, '').toLowerCase()
  return name === 'localhost' || name === host.toLowerCase() || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0
}

/** Returns whether a request comes from a page of this listener, or from no page at all, such as one of curl. */
function isSameOrigin({ headers }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site']
  // Browsers send it to HTTPS and to the loopback interface only.
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  const { origin, host } = headers
  // The scheme is not compared: TLS may end in front of the listener.
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)
}
