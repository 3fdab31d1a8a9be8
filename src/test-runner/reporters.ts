import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { junit, spec, tap } from 'node:test/reporters'
import { inspect } from 'node:util'
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
  const source = Readable.from(reporter === 'junit' ? forJunit(events) : events)
  const formatted = source.compose(reporter === 'spec' ? new spec() : reporter === 'tap' ? tap : junit)
  await pipeline(formatted, output, { end: false })
}

/** Fits events to the JUnit reporter of Node.js 24, which escapes double quotes in attributes twice, and "]]>" in a text not at all. */
async function* forJunit(events: AsyncIterable<ReporterEvent>): AsyncGenerator<ReporterEvent> {
  for await (const { type, data } of events) {
    const { name, file, details } = data as JunitData
    const fitted = {
      ...data,
      ...(name === undefined ? {} : { name: withoutQuotes(name) }),
      ...(file === undefined ? {} : { file: withoutQuotes(file) }),
      ...(details?.error === undefined ? {} : { details: { ...details, error: fitError(details.error) } })
    }
    yield { type, data: fitted }
  }
}

interface JunitData {
  readonly name?: string
  readonly file?: string
  readonly details?: { readonly error?: Error }
}

/** Returns an error like another one, whose message is an attribute, and which is printed as a text. */
const fitError = (error: Error): Error =>
  Object.defineProperties(Object.create(error) as Error, {
    message: { value: withoutQuotes(error.message), enumerable: false },
    [inspect.custom]: { value: () => inspect(error).replaceAll(']]>', ']] >') }
  })

const withoutQuotes = (text: string): string => text.replaceAll('"', "'")
