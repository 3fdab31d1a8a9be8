import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { bodyOf, originOf, type Scope } from '../../helpers.ts'

/** A span as an OpenTelemetry receiver got it. */
export interface ReceivedSpan {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly events: readonly {
    readonly name: string
    readonly attributes: Readonly<Record<string, unknown>>
  }[]
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly status: { readonly code: number }
}

/** An OpenTelemetry receiver, and what it got. */
export interface Receiver {
  readonly url: string
  readonly spans: ReceivedSpan[]
  readonly requests: { readonly path: string; readonly headers: IncomingHttpHeaders; readonly text: string }[]
  readonly resources: Readonly<Record<string, unknown>>[]
}

interface Attribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

const plain = (attributes: readonly Attribute[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

/** The kinds of spans in OTLP. */
export const SERVER = 2
export const CLIENT = 3

/** Starts an OpenTelemetry receiver (OTLP, JSON over HTTP); it ends with the test. */
export async function receiver(t: Scope, answer: RequestListener = accept): Promise<Receiver> {
  const got: Omit<Receiver, 'url'> = { spans: [], requests: [], resources: [] }
  const take = (path: string, headers: IncomingHttpHeaders, text: string): void => {
    got.requests.push({ path, headers, text })
    for (const { resource, scopeSpans } of JSON.parse(text).resourceSpans) {
      got.resources.push(plain(resource.attributes))
      for (const span of scopeSpans.flatMap((scope: { spans: object[] }) => scope.spans))
        got.spans.push({
          ...span,
          attributes: plain(span.attributes),
          events: span.events.map((event: { attributes: Attribute[] }) => ({
            ...event,
            attributes: plain(event.attributes)
          }))
        })
    }
  }
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      take(request.url ?? '', request.headers, body.toString())
      answer(request, response)
    })
  })
  const url = await originOf(t, server)
  return { url, ...got }
}

const accept: RequestListener = (_request, response) => void response.end('{}')
