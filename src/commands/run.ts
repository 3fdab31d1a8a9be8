import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { catalog } from '../catalog.ts'
import { ConfigError } from '../config/fault.ts'
import { loadPlan } from '../config/load.ts'
import type { Plan } from '../config/plan.ts'
import { buildGateway } from '../gateway.ts'
import { Keep } from '../keep.ts'
import { openLog } from '../log.ts'
import type { Command } from '../main.ts'
import { RestartNeeded, type Served, serve } from '../server.ts'
import { readSettings, type Settings, SettingsError } from '../settings.ts'
import { type Watch, watchFiles } from '../watch.ts'
import { CommandError, orBroken, orFaults } from './outcome.ts'

export const command: Command = {
  summary: 'runs the gateway; SIGHUP or --watch reloads its config',
  usage: 'sallyport [run] [-c FILE] [--watch]',
  options: { config: { type: 'string', short: 'c' }, watch: { type: 'boolean', short: 'w' } },
  words: 0,
  async run({ values }) {
    const settings = settingsOf(process.env, values['config'])
    const plan = await loadPlan(settings.config, catalog, process.env).catch(orFaults)
    const { log, flush } = await openLog(settings)
    process.on('exit', flush)
    const keep = new Keep()
    const app = await buildGateway(plan, keep, log).catch(orBroken)
    const served = await open(app, settings, log)
    const { address, port } = served.address
    log.info(
      { host: address, port, config: settings.config, routes: plan.routes.length },
      `listening on ${app.edge === null ? 'http' : 'https'}://${address.includes(':') ? `[${address}]` : address}:${port}`
    )
    live({ served, keep, log, flush, settings, plan, edge: app.edge, watch: values['watch'] === true })
    return undefined
  }
}

/** Reads the settings; what is wrong with them ends the command. */
export function settingsOf(env: NodeJS.ProcessEnv, config: unknown): Settings {
  try {
    const settings = readSettings(env)
    return typeof config === 'string' ? { ...settings, config } : settings
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    throw new CommandError(error.message)
  }
}

async function open(app: FastifyInstance, settings: Settings, log: Logger): Promise<Served> {
  try {
    return await serve(app, { ...settings, log })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    await app.close()
    if (code === 'EADDRINUSE')
      throw new CommandError(
        `The port ${settings.port} of ${settings.host} is taken; set PORT to another one, or 0 for any free one`
      )
    if (code === 'EACCES')
      throw new CommandError(
        `The port ${settings.port} needs rights that this process has not; a port from 1024 on would do`
      )
    throw new CommandError(`The gateway can't listen on ${settings.host}:${settings.port}: ${message}`)
  }
}

interface Living {
  readonly served: Served
  readonly keep: Keep
  readonly log: Logger
  readonly settings: Settings
  readonly watch: boolean
  plan: Plan
  edge: FastifyInstance['edge']
  flush(): void
}

/** Reloads and stops the process when it is told to. */
function live(living: Living): void {
  const { log, settings } = living
  let watching: Watch | undefined
  const watch = (): void => {
    watching?.close()
    // Certificates are renewed by others, who tell nobody.
    const files = living.watch ? living.plan.files : (living.edge?.files ?? [])
    if (files.length > 0) watching = watchFiles(files, () => reload('a file changed'))
  }
  // One reload at a time, in their order: the last one that was asked for is the one that holds.
  let line = Promise.resolve()
  const reload = (why: string): void => {
    line = line.then(async () => {
      if (stopping) return
      await reloaded(living, why)
      watch()
    })
  }
  let stopping = false
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) {
      log.warn({ signal }, 'told to stop once more: ending at once')
      living.flush()
      process.exit(1)
    }
    stopping = true
    watching?.close()
    log.info({ signal, delay: settings.drainDelay, timeout: settings.drainTimeout }, 'draining')
    void living.served.drain().then((clean) => {
      log.info({ clean }, 'stopped')
      living.flush()
      process.exit(0)
    })
  }
  process.on('SIGHUP', () => reload('SIGHUP'))
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  watch()
}

/** Builds the next generation and swaps it in; whatever is wrong with it, the current one goes on as it is. */
async function reloaded(living: Living, why: string): Promise<void> {
  const { keep, log, served, settings } = living
  try {
    const plan = await loadPlan(settings.config, catalog, process.env)
    const next = await buildGateway(plan, keep, log)
    try {
      served.swap(next)
    } catch (error) {
      await next.close()
      throw error
    }
    living.plan = plan
    living.edge = next.edge
    log.info({ why, routes: plan.routes.length }, 'reloaded')
  } catch (error) {
    const faults =
      error instanceof ConfigError || error instanceof RestartNeeded ? error.message.split('\n') : undefined
    log.error(
      faults === undefined ? { why, err: error } : { why, faults },
      'the reload was refused; the gateway goes on as it was'
    )
  }
}
