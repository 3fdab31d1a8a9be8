import type { AddressInfo } from 'node:net'
import helmet from '@fastify/helmet'
import fastify from 'fastify'
import type { Logger } from 'pino'
import { addActions, type ReloadGateway } from './actions.ts'
import { DashboardData } from './dashboard-data.ts'
import { AdminRoute, adminSilent, sendProblems } from './errors.ts'
import { addExplain } from './explain.ts'
import { guard } from './guard.ts'
import { formatMetrics } from './metrics-format.ts'
import { addPage, PAGE_POLICY } from './page.ts'
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
  /** Where actions are logged; undefined for nowhere. */
  readonly log?: Logger
  /** Reads the config again; undefined for no POST /reload. */
  readonly reload?: ReloadGateway
}

/** The admin listener. */
export interface Admin {
  readonly address: AddressInfo
  close(): Promise<void>
}

const TIMEOUT_MS = 10_000

/** Opens the admin listener with the dashboard, its data and its actions; rejects where the port is in use. */
export async function openAdmin(source: AdminSource, options: AdminOptions): Promise<Admin> {
  const app = fastify({
    requestTimeout: TIMEOUT_MS,
    connectionTimeout: TIMEOUT_MS,
    forceCloseConnections: true
  })
  // The listener has no TLS: browsers must not upgrade requests to https.
  await app.register(helmet, { hsts: false, contentSecurityPolicy: PAGE_POLICY })
  guard(app, options)
  sendProblems(app)
  addPage(app)
  app.get('/metrics', async ({ headers }, reply) => {
    const { type, text } = await formatMetrics(await source.metrics(), headers.accept)
    return reply.headers({ vary: 'accept' }).type(type).send(text)
  })
  app.get('/status', async () => {
    const status = combineReports(await source.reports(), options.version)
    if (status === undefined) throw adminSilent()
    return status
  })
  app.get('/config', async () => source.config())
  const view = async (of: Parameters<AdminSource['view']>[0]): Promise<unknown> => {
    const shown = await source.view(of)
    if (shown === undefined) throw adminSilent()
    return shown
  }
  app.get('/limits', async () => view({ kind: 'limits' }))
  app.get('/reloads', async () => view({ kind: 'reloads' }))
  app.get<{ Querystring: { route?: string } }>('/options', async ({ query: { route } }) => {
    const shown = (await view({ kind: 'options', route })) as readonly unknown[]
    if (shown.length === 0) throw new AdminRoute(String(route))
    return shown
  })
  const data = new DashboardData(() => source.figures(), {
    version: options.version,
    mayAct: options.token !== undefined
  })
  app.get<{ Querystring: { since?: string } }>('/figures', async ({ query: { since = '' } }, reply) => {
    const figures = await data.since(String(since))
    if (figures === undefined) throw adminSilent()
    return reply.type('application/json; charset=utf-8').send(figures)
  })
  addActions(app, source, options)
  addExplain(app, source)
  const { host, port, fd } = options
  await app.listen(fd === undefined ? { host, port } : ({ fd } as never))
  return { address: app.server.address() as AddressInfo, close: () => app.close() }
}
