import { type ChildProcess, fork } from 'node:child_process'
import { pino } from 'pino'
import { FileWatch } from '../process/watch.ts'

/** Reports, to a process that reruns this one, the files that it has read. */
export function reportFiles(files: readonly string[]): void {
  process.send?.({ files })
}

/** Runs this command line in a process of its own, and again whenever a file that it has read has changed; resolves to 0 at SIGINT or SIGTERM. */
export function rerunOnChanges(): Promise<number> {
  // In a process of its own, each run imports modules anew.
  const [script = '', ...args] = process.argv.slice(1)
  const others = args.filter((arg) => arg !== '--watch' && arg !== '-w')
  let child: ChildProcess | undefined
  let changedMeanwhile = false
  const files = new Set<string>()
  const watch = new FileWatch(start, pino({ level: 'silent' }))

  function start(): void {
    changedMeanwhile = child !== undefined
    if (changedMeanwhile) return
    child = fork(script, others, { stdio: 'inherit' })
    child.on('message', (message: { files?: readonly string[] }) => {
      for (const file of message.files ?? []) files.add(file)
      watch.watch([...files])
    })
    child.once('exit', () => {
      child = undefined
      process.stdout.write('Waiting for changes; Ctrl-C ends.\n')
      if (changedMeanwhile) start()
    })
  }

  start()
  return new Promise((resolve) => {
    const stop = (): void => {
      watch.close()
      child?.kill()
      resolve(0)
    }
    process.once('SIGINT', stop)
    process.once('SIGTERM', stop)
  })
}
