import cluster from 'node:cluster'
import type { Logger } from 'pino'
import { openAdmin } from '../admin/listener.ts'
import { type AdminSource, adminSourceOf } from '../admin/report.ts'
import { descriptorShortage } from '../config/descriptors.ts'
import { loadPlan } from '../config/load.ts'
import { catalog } from '../gateway/catalog.ts'
import { descriptorLimit } from '../lib/descriptors.ts'
import { catchEarlySignals, releaseEarlySignals } from '../lib/early-signals.ts'
import { logUncaughtErrors } from '../lib/uncaught-errors.ts'
import { workerNumber } from '../lib/worker-number.ts'
import type { Command } from '../main.ts'
import { Engine } from '../process/engine.ts'
import { type Log, openLog } from '../process/log.ts'
import { StartFailed, WorkerPool } from '../process/primary.ts'
import { readSettings, type Settings, SettingsError } from '../process/settings.ts'
import { FileWatch } from '../process/watch.ts'
import { WorkerLink } from '../process/worker.ts'
import { CommandError, orBroken, orFaults } from './outcome.ts'

export const command: Command = {
  summary: 'runs the gateway; SIGHUP or --watch reloads its config',
  usage: 'sallyport [run] [-c FILE] [--watch]',
  options: { config: { type: 'string', short: 'c' }, watch: { type: 'boolean', short: 'w' } },
  words: 0,
  async run({ values, version }) {
    const settings = settingsOf(process.env, values['config'])
    const worker = workerNumber(process.env)
    const watchesAll = values['watch'] === true
    catchEarlySignals()
    // A worker of another program's cluster (PM2) can't fork.
    if (cluster.isPrimary && settings.workers > 1) return runFleet(settings, version)
    const membership = worker === undefined ? undefined : new WorkerLink()
    const start = async (): Promise<{ engine: Engine; log: Log }> => {
      const plan = await loadPlan(settings.config, catalog, process.env).catch(orFaults)
      const log = await openLog(settings, worker)
      process.on('exit', log.close)
      const peers = membership?.peers ?? null
      const engine = await Engine.start(settings, plan, log.log, orBroken, peers).catch(orTaken(settings))
      return { log, engine }
    }
    const { engine, log } = await (membership === undefined ? start() : membership.start(start))
    logUncaughtErrors(log.log)
    const { address, port } = engine.served.address
    const descriptors = descriptorLimit()
    log.log.info(
      { host: address, port, config: settings.config, routes: engine.plan.routes.length, descriptors },
      `listening on ${engine.app.tls === null ? 'http' : 'https'}://${hostIn(address)}:${port}`
    )
    const shortage = descriptorShortage(engine.plan, descriptors)
    if (shortage !== undefined) log.log.warn(shortage.message)
    if (worker !== undefined && membership !== undefined) {
      let draining = false
      const drain = (why: string): void => {
        if (draining) return
        draining = true
        log.log.info({ why, timeout: settings.drainTimeout }, 'draining')
        void end(engine.served.drain(), log)
      }
      membership.serve(engine, worker, { watchesAll, drain })
      return undefined
    }
    if (settings.workers > 1)
      log.log.warn(
        { workers: settings.workers },
        'WORKERS is ignored: this process is a worker of another cluster already'
      )
    await look(adminSourceOf(engine), settings, version, log.log)
    live(
      {
        filesToWatch: () => engine.filesToWatch(watchesAll),
        reload: (why) => engine.reload(why),
        drain: () => engine.served.drain(),
        kill: () => {}
      },
      settings,
      log
    )
    return undefined
  }
}

/** Runs the gateway in several processes; this one takes no requests itself. */
async function runFleet(settings: Settings, version: string): Promise<undefined> {
  const log = await openLog(settings)
  process.on('exit', log.close)
  const fleet = new WorkerPool(settings.workers, log.log, log.pass)
  await fleet.start().catch((error: unknown) => {
    if (!(error instanceof StartFailed)) throw error
    // The worker has said why.
    process.exit(error.exitCode)
  })
  logUncaughtErrors(log.log)
  await look(fleet, settings, version, log.log)
  live(fleet, settings, log)
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

const hostIn = (address: string): string => (address.includes(':') ? `[${address}]` : address)

const orTaken =
  ({ host, port }: Settings) =>
  (error: unknown): never => {
    if (error instanceof CommandError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE')
      throw new CommandError(
        `The port ${port} of ${host} is taken; set PORT to another one, or 0 for any free one`
      )
    if (code === 'EACCES')
      throw new CommandError(
        `The port ${port} needs rights that this process has not; a port from 1024 on would do`
      )
    throw new CommandError(`The gateway can't listen on ${host}:${port}: ${message}`)
  }

/** Opens the admin listener, where one is wanted; one that can't open is no reason not to serve. */
async function look(
  insight: AdminSource,
  { adminHost: host, adminPort: port, adminToken: token, inherited: { admin: fd } }: Settings,
  version: string,
  log: Logger
): Promise<void> {
  if (port === undefined && fd === undefined) return
  try {
    const { address } = await openAdmin(insight, { host, port: port ?? 0, fd, token, version })
    log.info({ admin: `http://${hostIn(address.address)}:${address.port}` }, 'the admin listener is open')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    log.warn({ host, adminPort: port, code }, "the admin listener can't open; set ADMIN_PORT to another port")
  }
}

/** A gateway, in one process or several. */
interface Running {
  filesToWatch(): readonly string[]
  reload(why: string): Promise<unknown>
  drain(): Promise<boolean>
  /** Ends what drains at once. */
  kill(): void
}

// One Ctrl-C under "npm start" comes twice: from the terminal, and once more from npm.
const SAME_STOP = 500

/** Reloads and stops the gateway by signals. */
function live(gateway: Running, settings: Settings, log: Log): void {
  const watching = new FileWatch(() => reload('a file changed'), log.log)
  let stopping = false
  let stoppedAt = 0
  const watch = (): void => {
    if (!stopping) watching.watch(gateway.filesToWatch())
  }
  const reload = (why: string): void => {
    if (!stopping) void gateway.reload(why).then(watch)
  }
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) {
      if (performance.now() - stoppedAt < SAME_STOP) return
      log.log.warn({ signal }, 'told to stop once more: ending at once')
      gateway.kill()
      process.exit(1)
    }
    stopping = true
    stoppedAt = performance.now()
    watching.close()
    log.log.info({ signal, delay: settings.drainDelay, timeout: settings.drainTimeout }, 'draining')
    void end(gateway.drain(), log)
  }
  process.on('SIGHUP', () => reload('SIGHUP'))
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop)
  // The config may have been read before that signal came.
  if (releaseEarlySignals()) reload('SIGHUP')
  watch()
}

/** Ends the process once it has drained and its log is written. */
async function end(drained: Promise<boolean>, { log, flush }: Log): Promise<void> {
  const clean = await drained
  log.info({ clean }, 'stopped')
  await flush()
  process.exit(0)
}
