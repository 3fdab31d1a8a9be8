import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { junit, spec, tap } from 'node:test/reporters'
import type { ReporterEvent } from './events.ts'

/** The names of the reporters. */
export const REPORTERS = ['spec', 'tap', 'junit'] as const
export type ReporterName = (typeof REPORTERS)[number]

/** Writes events to a stream in the format of a reporter of Node.js. */
export async function report(
  events: AsyncIterable<ReporterEvent>,
  reporter: ReporterName,
  output: NodeJS.WritableStream
): Promise<void> {
  const source = Readable.from(reporter === 'junit' ? withoutQuotes(events) : events)
  const formatted = source.compose(reporter === 'spec' ? new spec() : reporter === 'tap' ? tap : junit)
  await pipeline(formatted, output, { end: false })
}

/** Replaces double quotes in names, which the JUnit reporter of Node.js 24 escapes twice. */
async function* withoutQuotes(events: AsyncIterable<ReporterEvent>): AsyncGenerator<ReporterEvent> {
  for await (const { type, data } of events) {
    const { name } = data as { name?: string }
    yield { type, data: name === undefined ? data : { ...data, name: name.replaceAll('"', "'") } }
  }
}
