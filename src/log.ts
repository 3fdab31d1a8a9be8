import { type DestinationStream, type Logger, pino } from 'pino'
import type { Settings } from './settings.ts'

/** The log of a process, and how to write out what it still holds. */
export interface Log {
  readonly log: Logger
  flush(): void
}

// Lines are gathered and written together: a write a line is the dearest part of a log.
const GATHERED = 4096
const FLUSH_EVERY = 200

/** Opens the log of a process: one JSON object a line on stdout, or for a person with LOG_PRETTY. */
export async function openLog({
  logLevel,
  logPretty
}: Pick<Settings, 'logLevel' | 'logPretty'>): Promise<Log> {
  const options = {
    level: logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
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
  const timer = setInterval(() => destination.flush(), FLUSH_EVERY)
  timer.unref()
  const log = pino(options, destination)
  return {
    log,
    flush() {
      try {
        destination.flushSync()
      } catch {
        // The log's reader is gone, or it was never opened: there is nobody left to tell.
      }
    }
  }
}

function prettyLine(line: Record<string, unknown>, messageKey: string): string {
  if (line['method'] === undefined) return String(line[messageKey] ?? '')
  const { status, method, path, durationMs, upstream, ip } = line
  return `${String(status)} ${String(method)} ${String(path)} ${String(durationMs)} ms${upstream === undefined ? '' : ` by ${String(upstream)}`} for ${String(ip)}`
}
