/** A response as a client gets it. */
export interface ReceivedResponse {
  readonly status: number
  /** Lower-case names and values. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer
}

const END_OF_HEAD = Buffer.from('\r\n\r\n')

/** Reads the final response from all bytes of a connection that the server has closed; undefined where there is none. */
export function readResponse(bytes: Buffer): ReceivedResponse | undefined {
  const end = bytes.indexOf(END_OF_HEAD)
  if (end === -1) return undefined
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const status = Number(statusLine.split(' ')[1])
  const rest = bytes.subarray(end + END_OF_HEAD.length)
  // Informational responses precede the final one (RFC 9110 section 15.2).
  if (status < 200 && status !== 101) return readResponse(rest)
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  })
  const isChunked = headers.some(([name, value]) => name === 'transfer-encoding' && /chunked/i.test(value))
  return { status, headers, body: isChunked ? dechunk(rest) : Buffer.from(rest) }
}

const SWITCHED = Buffer.from('HTTP/1.1 101 ')

/** Returns whether the first response on a connection is a complete 101, after which it belongs to another protocol. */
export function isSwitched(chunks: readonly Buffer[]): boolean {
  const [first] = chunks
  if (first === undefined || !first.subarray(0, SWITCHED.length).equals(SWITCHED)) return false
  return Buffer.concat(chunks).includes(END_OF_HEAD)
}

/** Joins the chunks of a body (RFC 9112 section 7.1), up to its end or where it was cut. */
function dechunk(bytes: Buffer): Buffer {
  const chunks: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd === -1 ? at : lineEnd), 16)
    if (lineEnd === -1 || Number.isNaN(size) || size === 0) break
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
  return Buffer.concat(chunks)
}
