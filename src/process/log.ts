import { type DestinationStream, type Logger, pino } from 'pino'
import { wall } from '../lib/clock.ts'
import { LINES, type WriteLine } from '../lib/log-lines.ts'
import { Sink } from './log-destination.ts'
import type { Settings } from './settings.ts'

/** The log of a process, and how to write out what it still holds. */
export interface Log {
  readonly log: Logger
  /** Takes lines that are written already. */
  pass(lines: string): void
  /** Settles once it is written, or a while later if nobody takes it. */
  flush(): Promise<void>
  /** Writes what can be written at once, at the very end. */
  close(): void
}

/** Opens the log of a process: one JSON object a line on stdout, or for a person with LOG_PRETTY; a worker's lines carry its number. */
export async function openLog(
  { logLevel, logPretty }: Pick<Settings, 'logLevel' | 'logPretty'>,
  worker?: number
): Promise<Log> {
  const name = worker === undefined ? '' : `,"worker":${worker}`
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
    `{"level":"${level}"${timeField()}${name},${fields}}\n`
  const sink = new Sink(1, (lost) =>
    lineOf('warn', `"lost":${lost},"msg":"lines of the log were lost: nobody took them"`)
  )
  const log = pino(options, sink)
  // A line an answer is most of what a log is: it is not taken apart by keys again.
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
let upToSecond = ''

/** Writes the field with the time (RFC 3339, in UTC); what is the same for a whole second is worked out once. */
function timeField(): string {
  const now = wall()
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
