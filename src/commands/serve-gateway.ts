import cluster from 'node:cluster'
import type { Logger } from 'pino'
import type { ReloadGateway } from '../admin/actions.ts'
import { openAdmin } from '../admin/listener.ts'
import { type AdminSource, adminSourceOf } from '../admin/report.ts'
import { descriptorShortage } from '../config/descriptors.ts'
import type { Plan } from '../config/plan-types.ts'
import { descriptorLimit } from '../lib/descriptors.ts'
import { catchEarlySignals, releaseEarlySignals } from '../lib/early-signals.ts'
import { logUncaughtErrors } from '../lib/uncaught-errors.ts'
import { workerNumber } from '../lib/worker-number.ts'
import { Engine } from '../process/engine.ts'
import { type Log, openLog } from '../process/log.ts'
import { WorkerPool } from '../process/primary.ts'
import type { Settings } from '../process/settings.ts'
import { StartFailed } from '../process/start-failed.ts'
import { workerLogVariables } from '../process/terminal.ts'
import { FileWatch } from '../process/watch.ts'
import { WorkerLink } from '../process/worker.ts'
import { CommandError, throwBuildError } from './outcome.ts'

/** A gateway to run. */
export interface GatewayRun {
  readonly settings: Settings
  readonly version: string
  /** Reads the config, at the start and for each reload; rejects with a ConfigError. */
  readonly readPlan: () => Promise<Plan>
  /** Turns the errors of the first config into a CommandError. */
  readonly onConfigError: (error: unknown) => never
  /** Whether a change of any file that the config names reloads it; one of a certificate always does. */
  readonly watchesAll: boolean
  /** Returns the log message of a gateway that accepts requests. */
  readonly listening?: (url: string) => string
}

/** Runs a gateway in this process, or in worker processes of it, until a signal stops it; throws a CommandError if it can't start. */
export async function serveGateway(run: GatewayRun): Promise<undefined> {
  const { settings, version, watchesAll } = run
  const worker = workerNumber(process.env)
  catchEarlySignals()
  // A worker of another program's cluster, such as PM2's, cannot fork.
  if (cluster.isPrimary && settings.workers > 1) return runWorkerPool(settings, version)
  const link = worker === undefined ? undefined : new WorkerLink()
  const start = (): Promise<{ engine: Engine; log: Log }> => startEngine(run, worker, link)
  const { engine, log } = await (link === undefined ? start() : link.start(start))
  logUncaughtErrors(log.log)
  logListening(engine, run, log.log)
  if (worker !== undefined && link !== undefined) {
    let draining = false
    const drain = (why: string): void => {
      if (draining) return
      draining = true
      log.log.info({ why, timeout: settings.drainTimeout }, 'draining')
      void exitAfter(engine.served.drain(), log)
    }
    link.serve(engine, worker, { watchesAll, drain })
    return undefined
  }
  if (settings.workers > 1)
    log.log.warn(
      { workers: settings.workers },
      'WORKERS is ignored: this process is a worker of another cluster'
    )
  await runUntilStopped(
    {
      filesToWatch: () => engine.filesToWatch(watchesAll),
      reload: (why) => engine.reload(why),
      drain: () => engine.served.drain(),
      kill: () => {}
    },
    adminSourceOf(engine),
    { settings, version, log }
  )
  return undefined
}

async function startEngine(
  { settings, readPlan, onConfigError }: GatewayRun,
  worker: number | undefined,
  link: WorkerLink | undefined
): Promise<{ engine: Engine; log: Log }> {
  const plan = await readPlan().catch(onConfigError)
  const log = await openLog(settings, worker)
  process.on('exit', log.close)
  const engine = await Engine.start(
    { settings, plan, readPlan },
    log.log,
    throwBuildError,
    link?.peers ?? null
  ).catch(throwListenError(settings))
  return { log, engine }
}

function logListening(engine: Engine, { settings, listening }: GatewayRun, log: Logger): void {
  const { address, port } = engine.served.address
  const descriptors = descriptorLimit()
  const url = `${engine.app.tls === null ? 'http' : 'https'}://${hostIn(address)}:${port}`
  log.info(
    { host: address, port, config: settings.config, routes: engine.plan.routes.length, descriptors },
    listening?.(url) ?? `listening on ${url}`
  )
  const shortage = descriptorShortage(engine.plan, descriptors)
  if (shortage !== undefined) log.warn(shortage.message)
}

/** Runs the gateway in several worker processes; this one serves no requests itself. */
async function runWorkerPool(settings: Settings, version: string): Promise<undefined> {
  const log = await openLog(settings)
  process.on('exit', log.close)
  const pool = new WorkerPool(settings.workers, log.log, {
    pass: log.pass,
    variables: workerLogVariables(settings.logPretty)
  })
  await pool.start().catch((error: unknown) => {
    if (!(error instanceof StartFailed)) throw error
    // The worker has printed the reason.
    process.exit(error.exitCode)
  })
  logUncaughtErrors(log.log)
  await runUntilStopped(pool, pool, { settings, version, log })
}

const hostIn = (address: string): string => (address.includes(':') ? `[${address}]` : address)

const throwListenError =
  ({ host, port }: Settings) =>
  (error: unknown): never => {
    if (error instanceof CommandError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE')
      throw new CommandError(
        `The port ${port} of ${host} is in use; set PORT to another one, or 0 for any free one`
      )
    if (code === 'EACCES')
      throw new CommandError(`Permission denied for port ${port}; set PORT to one from 1024 on`)
    throw new CommandError(`The gateway can't listen on ${host}:${port}: ${message}`)
  }

/** Opens the admin listener if one is configured; the gateway also runs where that fails. */
async function startAdmin(
  source: AdminSource,
  reload: ReloadGateway,
  { settings, version, log: { log } }: RunOptions
): Promise<void> {
  const { adminHost: host, adminPort: port, adminToken: token, adminPurgeToken: purgeToken } = settings
  const { admin: fd } = settings.inherited
  if (port === undefined && fd === undefined) return
  try {
    const { address } = await openAdmin(source, {
      host,
      port: port ?? 0,
      fd,
      token,
      purgeToken,
      version,
      log,
      reload
    })
    log.info({ admin: `http://${hostIn(address.address)}:${address.port}` }, 'admin listener open')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    log.warn({ host, adminPort: port, code }, 'admin listener failed to open; set ADMIN_PORT to another port')
  }
}

/** A running gateway, in one process or several. */
interface RunningGateway {
  filesToWatch(): readonly string[]
  reload(why: string): Promise<unknown>
  drain(): Promise<boolean>
  /** Ends all worker processes immediately. */
  kill(): void
}

// Under "npm start" one Ctrl-C sends two signals, from the terminal and from npm, within this many ms.
const DUPLICATE_SIGNAL_MS = 500

/** What a gateway runs with. */
interface RunOptions {
  readonly settings: Settings
  readonly version: string
  readonly log: Log
}

/** Opens the admin listener, and reloads and stops the gateway by signals. */
async function runUntilStopped(
  gateway: RunningGateway,
  source: AdminSource,
  options: RunOptions
): Promise<void> {
  const { settings, log } = options
  const watching = new FileWatch(() => void reload('a file changed'), log.log)
  let stopping = false
  let stoppedAt = 0
  const watch = (): void => {
    if (!stopping) watching.watch(gateway.filesToWatch())
  }
  const reload = async (why: string): Promise<void> => {
    if (stopping) return
    await gateway.reload(why)
    watch()
  }
  await startAdmin(source, reload, options)
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) {
      if (performance.now() - stoppedAt < DUPLICATE_SIGNAL_MS) return
      log.log.warn({ signal }, 'second stop signal: exiting immediately')
      gateway.kill()
      process.exit(1)
    }
    stopping = true
    stoppedAt = performance.now()
    watching.close()
    log.log.info({ signal, delay: settings.drainDelay, timeout: settings.drainTimeout }, 'draining')
    void exitAfter(gateway.drain(), log)
  }
  process.on('SIGHUP', () => void reload('SIGHUP'))
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop)
  // A SIGHUP during the start may have come after the config was read.
  if (releaseEarlySignals()) void reload('SIGHUP')
  watch()
}

/** Exits the process once it has drained and its log is written. */
async function exitAfter(drained: Promise<boolean>, { log, flush }: Log): Promise<void> {
  const clean = await drained
  log.info({ clean }, 'stopped')
  await flush()
  process.exit(0)
}
