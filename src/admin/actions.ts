import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { storeUnavailable } from '../lib/contracts/store.ts'
import { isObject } from '../lib/schema.ts'
import type { Reloaded } from '../process/engine.ts'
import { LOG_LEVELS } from '../process/settings.ts'
import { ActionInvalid, AdminCache, AdminTarget, adminSilent, PurgeInvalid, ReloadRefused } from './errors.ts'
import type { AdminAccess } from './guard.ts'
import type { AdminSource } from './report.ts'
import { combineReports } from './status.ts'

/** Reads the config again; resolves once it is in use or refused. */
export type ReloadGateway = (why: string) => Promise<unknown>

const ACTION: AdminAccess = { access: 'action' }
const PURGE: AdminAccess = { access: 'purge' }

/** Adds the routes that change something: drains, reloads, the level of the log and purges. Each is logged with the address of the client. */
export function addActions(
  app: FastifyInstance,
  source: AdminSource,
  { reload, log }: { readonly reload?: ReloadGateway; readonly log?: Logger }
): void {
  const logAction = ({ ip }: FastifyRequest, action: string, details: object): void =>
    log?.info({ action, ...details, ip }, 'admin action')
  // A page of another origin can send text, but no JSON.
  app.removeContentTypeParser('text/plain')
  for (const [action, drained] of [
    ['drain', true],
    ['undrain', false]
  ] as const)
    app.post(`/${action}`, { config: ACTION }, async (request) => {
      const upstream = textIn(request.body, 'upstream')
      const target = textIn(request.body, 'target')
      const result = await source.drainTarget({ upstream, target, drained })
      if (result === 'silent') throw adminSilent()
      if (result === 'unknown upstream') throw new AdminTarget('upstream', upstream)
      if (result === 'unknown target') throw new AdminTarget(`target of ${upstream}`, target)
      logAction(request, action, { upstream, target })
      return { upstream, target, drained }
    })
  app.post('/log-level', { config: ACTION }, async (request) => {
    const level = textIn(request.body, 'level')
    if (!LOG_LEVELS.includes(level))
      throw new ActionInvalid(`expected a "level" of ${LOG_LEVELS.join(', ')}, got "${level}"`)
    await source.setLogLevel(level)
    logAction(request, 'log-level', { level })
    return { level }
  })
  if (reload !== undefined)
    app.post('/reload', { config: ACTION }, async (request) => {
      if (!isObject(request.body)) throw new ActionInvalid('expected a JSON object such as {}')
      logAction(request, 'reload', {})
      await reload('the admin listener')
      const last: Reloaded | null | undefined = combineReports(await source.reports(), '')?.lastReload
      if (last === undefined || last === null) throw adminSilent()
      const { outcome, faults } = last
      if (outcome === 'refused')
        throw Object.assign(new ReloadRefused(faults[0] ?? ''), { members: { faults } })
      return { outcome }
    })
  app.post('/purge', { config: PURGE }, async (request) => {
    const done = await source.purge(request.body)
    if ('purged' in done) {
      logAction(request, 'purge', { purged: done.purged })
      return done
    }
    if ('invalid' in done) throw new PurgeInvalid(done.invalid)
    if (done.failed === 'no cache') throw new AdminCache()
    throw done.failed === 'store' ? storeUnavailable() : adminSilent()
  })
}

const MAX_TEXT = 2000

function textIn(body: unknown, key: string): string {
  const text = isObject(body) ? body[key] : undefined
  if (typeof text !== 'string' || text === '' || text.length > MAX_TEXT)
    throw new ActionInvalid(`expected a JSON object with the text "${key}"`)
  return text
}
