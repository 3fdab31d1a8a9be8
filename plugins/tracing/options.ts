import { type OptionFault, Type } from '../../src/kit/index.ts'
import type { Static } from '../../src/lib/schema.ts'
import { EXPECTED, Share } from '../../src/lib/units.ts'

export const key = 'tracing'

export const options = Type.Object(
  {
    endpoint: Type.String({
      pattern: '^https?://[^\\s]+$',
      [EXPECTED]: 'a URL such as "http://otel-collector:4318"',
      default: 'http://localhost:4318',
      description:
        'The URL of the OTLP/HTTP receiver, without /v1/traces; OTEL_EXPORTER_OTLP_ENDPOINT by default.'
    }),
    headers: Type.Record(
      Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" }),
      Type.String({ pattern: '^[\\t\\x20-\\x7e]*$', description: 'The value of the header.' }),
      {
        additionalProperties: false,
        default: {},
        description: 'Headers for the receiver, such as an API key; OTEL_EXPORTER_OTLP_HEADERS by default.',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
        examples: [{ 'x-api-key': '${TRACING_KEY}' }]
      }
    ),
    service: Type.String({
      minLength: 1,
      default: 'sallyport',
      description: 'The name of the gateway in traces (service.name); OTEL_SERVICE_NAME by default.'
    }),
    sample: Share({
      default: '100%',
      description: 'The share of traces that begin here, or come from a peer that is not trusted, to export.'
    }),
    errors: Type.Boolean({
      default: false,
      description:
        "Whether the gateway's own spans of 5xx responses are exported where the trace is not sampled."
    }),
    restart: Type.Boolean({
      default: false,
      description: 'Whether every request begins a new trace, with a link to the one that it came with.'
    }),
    propagate: Type.Array(
      Type.Unsafe<'w3c' | 'b3' | 'b3multi'>({ type: 'string', enum: ['w3c', 'b3', 'b3multi'] }),
      {
        minItems: 1,
        uniqueItems: true,
        default: ['w3c'],
        description:
          'The headers that carry the trace: "w3c" (traceparent), "b3" (one header), "b3multi" (X-B3-…); the first that a request has is read, all are sent.'
      }
    )
  },
  {
    additionalProperties: false,
    description: 'Distributed tracing: spans for an OpenTelemetry receiver.',
    examples: [{ endpoint: 'http://localhost:4318', sample: '10%' }]
  }
)

export const override = false
export const rootOnly = true
export type TracingOptions = Static<typeof options>

type Environment = Readonly<Record<string, string | undefined>>

export const variables = {
  endpoint: 'OTEL_EXPORTER_OTLP_ENDPOINT',
  headers: 'OTEL_EXPORTER_OTLP_HEADERS',
  service: 'OTEL_SERVICE_NAME'
}

export function given({
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_HEADERS: headers,
  OTEL_SERVICE_NAME: service
}: Environment): Readonly<Record<string, unknown>> | undefined {
  const found = {
    ...(endpoint ? { endpoint } : {}),
    ...(headers ? { headers: parseHeaders(headers) } : {}),
    ...(service ? { service } : {})
  }
  return Object.keys(found).length === 0 ? undefined : found
}

/** Reads headers such as "api-key=secret,tenant=a%20b" (OpenTelemetry, "Specifying headers via environment variables"). */
function parseHeaders(text: string): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const pair of text.split(',')) {
    const equals = pair.indexOf('=')
    if (equals > 0) headers[pair.slice(0, equals).trim()] = decode(pair.slice(equals + 1).trim())
  }
  return headers
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

/** Checks what a pattern cannot: that the endpoint is a URL. */
export function faults({ endpoint }: TracingOptions): OptionFault[] {
  return URL.canParse(endpoint)
    ? []
    : [{ path: ['endpoint'], message: 'expected a URL such as "http://otel-collector:4318"' }]
}
