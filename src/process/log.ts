import { type DestinationStream, type Logger, pino } from 'pino'
import { wall } from '../lib/clock.ts'
import { LINES, type WriteLine } from '../lib/log-lines.ts'
import { Sink } from './log-destination.ts'
import type { Settings } from './settings.ts'

/** The log of a process. */
export interface Log {
  readonly log: Logger
  /** Writes lines that are formatted already. */
  pass(lines: string): void
  /** Resolves once all lines are written, or after 2 s. */
  flush(): Promise<void>
  /** Writes what can be written synchronously, when the process exits. */
  close(): void
}

/** Opens the log of a process: one JSON object a line on stdout, or text for a terminal with LOG_PRETTY. A worker's lines have its number. */
export async function openLog(
  { logLevel, logPretty }: Pick<Settings, 'logLevel' | 'logPretty'>,
  worker?: number
): Promise<Log> {
  const workerField = worker === undefined ? '' : `,"worker":${worker}`
  const options = {
    level: logLevel,
    base: worker === undefined ? null : { worker },
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
      pass: (lines) => void process.stdout.write(lines),
      flush: async () => {},
      close: () => {}
    }
  }
  const lineOf = (level: string, fields: string): string =>
    `{"level":"${level}"${timeField()}${workerField},${fields}}\n`
  const sink = new Sink(1, (lost) =>
    lineOf('warn', `"lost":${lost},"msg":"log lines lost: the log is not being read"`)
  )
  const log = pino(options, sink)
  // Access-log lines, most of all lines, skip pino's serialisation.
  const writeLine: WriteLine = (level, fields) => {
    if (log.isLevelEnabled(level)) sink.write(lineOf(level, fields))
  }
  return {
    log: Object.assign(log, { [LINES]: writeLine }),
    pass: (lines) => sink.write(lines),
    flush: () => sink.flush(),
    close: () => sink.close()
  }
}

let second = 0
let secondField = ''

/** Formats the time field (RFC 3339, in UTC); the part up to the second is cached. */
function timeField(): string {
  const now = wall()
  const millis = now % 1000
  if (now - millis !== second) {
    second = now - millis
    secondField = `,"time":"${new Date(second).toISOString().slice(0, -4)}`
  }
  return `${secondField}${millis < 10 ? '00' : millis < 100 ? '0' : ''}${millis}Z"`
}

function prettyLine(line: Record<string, unknown>, messageKey: string): string {
  if (line['method'] === undefined) return String(line[messageKey] ?? '')
  const { status, method, path, durationMs, upstream, ip } = line
  return `${String(status)} ${String(method)} ${String(path)} ${String(durationMs)} ms${upstream === undefined ? '' : ` by ${String(upstream)}`} for ${String(ip)}`
}
