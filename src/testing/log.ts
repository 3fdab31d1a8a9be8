import { type Logger, pino } from 'pino'

/** A line of the log, as an object; `msg` is its message, `level` a name. */
export type LogLine = Readonly<Record<string, unknown>>

/** The log of a gateway, as a test reads it. */
export interface TestLog {
  /** Its lines so far. */
  readonly lines: LogLine[]
  /** Waits for the first line that passes a test, be it there already. */
  line(test: (line: LogLine) => boolean): Promise<LogLine>
}

/** Opens a log that a test reads, and the logger that writes it. */
export function openLog(level = 'info'): TestLog & { readonly log: Logger } {
  const lines: LogLine[] = []
  const waiting = new Set<() => void>()
  const write = (text: string): void => {
    lines.push(JSON.parse(text) as LogLine)
    for (const look of waiting) look()
  }
  const log = pino({ level, base: null, formatters: { level: (label) => ({ level: label }) } }, { write })
  return { log, lines, line: (test) => firstOf(lines, waiting, test) }
}

/** Waits until one of some lines passes a test; `waiting` has what to call after each new line. */
export function firstOf<L>(
  lines: readonly L[],
  waiting: Set<() => void>,
  test: (line: L) => boolean
): Promise<L> {
  return new Promise((resolve) => {
    const look = (): void => {
      const found = lines.find(test)
      if (found === undefined) return
      waiting.delete(look)
      resolve(found)
    }
    waiting.add(look)
    look()
  })
}
