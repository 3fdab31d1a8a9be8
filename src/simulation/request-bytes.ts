/** A request as a client writes it. */
export interface WrittenRequest {
  readonly method: string
  /** An absolute URL, or a path and query; it goes into the request line as it is. */
  readonly url: string
  /** Names and values. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer | undefined
}

/** The host of a request whose URL and headers name none. */
export const DEFAULT_HOST = 'localhost'

// What a client sends with each request for a WebSocket; the key is the example of RFC 6455 section 1.3.
const HANDSHAKE = [
  ['sec-websocket-version', '13'],
  ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ==']
] as const

/** Returns the bytes of an HTTP/1.1 request, exactly as written: nothing is normalized. */
export function requestBytes(request: WrittenRequest): Buffer {
  const { method, url, headers, body } = request
  const { host, target } = splitUrl(url)
  const names = namesOf(request)
  const fields = [
    ...(names.has('host') ? [] : [['host', host] as const]),
    ...headers,
    ...(names.has('connection') ? [] : [['connection', names.has('upgrade') ? 'Upgrade' : 'close'] as const]),
    ...addedFields(request)
  ]
  const head = `${method} ${target} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
  return Buffer.concat([Buffer.from(head, 'utf8'), body ?? Buffer.alloc(0)])
}

/** Lists the headers for the upstream that a client adds to those that are written: the length of the body, and the handshake of a WebSocket. */
export function addedFields(request: WrittenRequest): (readonly [name: string, value: string])[] {
  const { headers, body } = request
  const names = namesOf(request)
  const isWebSocket = headers.some(
    ([name, value]) => name.toLowerCase() === 'upgrade' && value.toLowerCase() === 'websocket'
  )
  return [
    ...(body === undefined || names.has('content-length') || names.has('transfer-encoding')
      ? []
      : [['content-length', String(body.length)] as const]),
    ...(isWebSocket ? HANDSHAKE.filter(([name]) => !names.has(name)) : [])
  ]
}

const namesOf = ({ headers }: WrittenRequest): ReadonlySet<string> =>
  new Set(headers.map(([name]) => name.toLowerCase()))

/** Splits a URL, without decoding anything. */
export function splitUrl(url: string): {
  scheme: 'http' | 'https' | undefined
  host: string
  target: string
} {
  const found = /^(https?):\/\/([^/?#]*)([^#]*)/i.exec(url)
  if (found === null) return { scheme: undefined, host: DEFAULT_HOST, target: url }
  const [, scheme = 'http', host = '', rest = ''] = found
  return {
    scheme: scheme.toLowerCase() === 'https' ? 'https' : 'http',
    host: host === '' ? DEFAULT_HOST : host,
    target: rest.startsWith('/') ? rest : `/${rest}`
  }
}
