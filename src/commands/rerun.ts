import { fork } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { pino } from 'pino'
import { FileWatch } from '../process/watch.ts'

/** Reports, to a process that reruns this one, the files that it reads. */
export function reportFiles(files: readonly string[]): void {
  process.send?.({ files })
}

/** A run of a command that is under way. */
export interface Run {
  /** Resolves to its exit code; undefined if it was stopped. */
  readonly ended: Promise<number | undefined>
  stop(): void
}

/** What is run, and how it is watched. */
export interface RerunOptions {
  /** Starts a run, which reports the files that it reads. */
  readonly start: (onFiles: typeof reportFiles) => Run
  /** Resolves once no further run is wanted. */
  readonly stopped: Promise<unknown>
  /** Called after each run. */
  readonly onWaiting: () => void
}

/** Runs a command, and again whenever a file that it has read has changed; resolves to the exit code of the last complete run. */
export async function rerunOnChanges({ start, stopped, onWaiting }: RerunOptions): Promise<number> {
  const files = new Set<string>()
  let exitCode = 0
  let run: Run | undefined
  let isStopped = false
  let hasChangedMeanwhile = false
  const watch = new FileWatch(rerun, pino({ level: 'silent' }))

  function onFiles(added: readonly string[]): void {
    if (isStopped) return
    const before = files.size
    for (const file of added) files.add(file)
    if (files.size > before) watch.watch([...files])
  }

  function rerun(): void {
    hasChangedMeanwhile = run !== undefined
    if (hasChangedMeanwhile) return
    const started = start(onFiles)
    run = started
    void started.ended.then((code) => {
      run = undefined
      exitCode = code ?? exitCode
      if (isStopped) return
      if (hasChangedMeanwhile) rerun()
      else onWaiting()
    })
  }

  rerun()
  await stopped
  isStopped = true
  watch.close()
  const last = run as Run | undefined
  last?.stop()
  await last?.ended
  return exitCode
}

/** Runs this command line in processes of its own, until SIGINT or SIGTERM. */
export function rerunThisCommand(): Promise<number> {
  return rerunOnChanges({
    start: forkThisCommand,
    stopped: Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]),
    // The results may be read by a program.
    onWaiting: () => void process.stderr.write('Waiting for changes; Ctrl-C ends.\n')
  })
}

// The environment tells a run that another process watches for it: its arguments are the same.
const RUN = 'SALLYPORT_WATCHED_RUN'

/** Returns whether this process is one of the runs of a process that watches. */
export const isWatchedRun = (): boolean => process.env[RUN] !== undefined

// In a process of its own, each run imports modules anew.
function forkThisCommand(onFiles: typeof reportFiles): Run {
  const [script = '', ...args] = process.argv.slice(1)
  const child = fork(script, args, { stdio: 'inherit', env: { ...process.env, [RUN]: '1' } })
  let isStopped = false
  child.on('message', (message: { files?: readonly string[] }) => onFiles(message.files ?? []))
  return {
    ended: once(child, 'exit').then(
      ([code, signal]: (number | string | null)[]) =>
        typeof code === 'number' ? code : isStopped ? undefined : codeOf(String(signal)),
      (error: Error) => {
        process.stderr.write(`The command can't be run: ${error.message}\n`)
        return 1
      }
    ),
    stop() {
      isStopped = true
      child.kill()
    }
  }
}

/** Returns the exit code that shells give a process that a signal has ended. */
const codeOf = (signal: string): number => 128 + (constants.signals[signal as NodeJS.Signals] ?? 0)
