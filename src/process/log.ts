import { type Logger, pino } from 'pino'
import { wall } from '../lib/clock.ts'
import { LINES, type WriteLine } from '../lib/log-lines.ts'
import { Sink } from './log-destination.ts'
import type { Settings } from './settings.ts'
import { hasColors, isPretty } from './terminal.ts'

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

/** Opens the log of a process on stdout: text where LOG_PRETTY or a terminal asks for it, else one JSON object a line. A worker's lines have its number. */
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
  const format = isPretty(logPretty)
    ? (await import('./pretty-lines.ts')).prettyLines(hasColors(process.env))
    : undefined
  const lineOf = (level: string, fields: string): string =>
    `{"level":"${level}"${timeField()}${workerField},${fields}}\n`
  const sink = new Sink(1, (lost) => {
    const line = lineOf('warn', `"lost":${lost},"msg":"log lines lost: the log is not being read"`)
    return format === undefined ? line : format(line)
  })
  const log =
    format === undefined
      ? withLineWriter(pino(options, sink), (level, fields) => sink.write(lineOf(level, fields)))
      : pino(options, { write: (line: string) => sink.write(format(line)) })
  return {
    log,
    pass: (lines) => sink.write(lines),
    flush: () => sink.flush(),
    close: () => sink.close()
  }
}

/** Lets access-log lines, most of all lines, skip pino's serialisation. */
function withLineWriter(log: Logger, write: WriteLine): Logger {
  const writeLine: WriteLine = (level, fields) => {
    if (log.isLevelEnabled(level)) write(level, fields)
  }
  return Object.assign(log, { [LINES]: writeLine })
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
