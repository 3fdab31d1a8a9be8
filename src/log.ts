import { type DestinationStream, type Logger, pino } from 'pino'
import { LINES, type WriteLine } from './kit/index.ts'
import type { Settings } from './settings.ts'

/** The log of a process, and how to write out what it still holds. */
export interface Log {
  readonly log: Logger
  flush(): void
}

// Lines are gathered and written together: a write a line is the dearest part of a log.
const GATHERED = 8192
const FLUSH_EVERY = 200

/** Opens the log of a process: one JSON object a line on stdout, or for a person with LOG_PRETTY. */
export async function openLog({
  logLevel,
  logPretty
}: Pick<Settings, 'logLevel' | 'logPretty'>): Promise<Log> {
  const options = {
    level: logLevel,
    base: null,
    timestamp: timeField,
    formatters: { level: (label: string) => ({ level: label }) }
  }
  if (logPretty) {
    const { default: pretty } = await import('pino-pretty')
    return {
      log: pino(
        options,
        pretty({
          sync: true,
          messageFormat: prettyLine,
          ignore:
            'requestId,method,path,route,status,durationMs,upstream,target,upstreamMs,bytesIn,bytesOut,ip'
        }) as DestinationStream
      ),
      flush: () => {}
    }
  }
  const destination = pino.destination({ dest: 1, sync: false, minLength: GATHERED })
  // The destination measures what it holds at every write, so it gets many lines at once.
  let held = ''
  const write = (line: string): void => {
    held += line
    if (held.length >= GATHERED) handOver()
  }
  const handOver = (): void => {
    const lines = held
    held = ''
    if (lines !== '') destination.write(lines)
  }
  const timer = setInterval(() => {
    handOver()
    destination.flush()
  }, FLUSH_EVERY)
  timer.unref()
  const log = pino(options, { write })
  // A line an answer is most of what a log is: it is not taken apart by keys again.
  const writeLine: WriteLine = (level, fields) => {
    if (log.isLevelEnabled(level)) write(`{"level":"${level}"${timeField()},${fields}}\n`)
  }
  return {
    log: Object.assign(log, { [LINES]: writeLine }),
    flush() {
      try {
        handOver()
        destination.flushSync()
      } catch {
        // The log's reader is gone, or it was never opened: there is nobody left to tell.
      }
    }
  }
}

let second = 0
let upToSecond = ''

/** Writes the field with the time (RFC 3339, in UTC); what is the same for a whole second is worked out once. */
function timeField(): string {
  const now = Date.now()
  const millis = now % 1000
  if (now - millis !== second) {
    second = now - millis
    upToSecond = `,"time":"${new Date(second).toISOString().slice(0, -4)}`
  }
  return `${upToSecond}${millis < 10 ? '00' : millis < 100 ? '0' : ''}${millis}Z"`
}

function prettyLine(line: Record<string, unknown>, messageKey: string): string {
  if (line['method'] === undefined) return String(line[messageKey] ?? '')
  const { status, method, path, durationMs, upstream, ip } = line
  return `${String(status)} ${String(method)} ${String(path)} ${String(durationMs)} ms${upstream === undefined ? '' : ` by ${String(upstream)}`} for ${String(ip)}`
}
